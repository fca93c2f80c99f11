"""The line-phase monitor: what it reports, and when it warns."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import numpy as np
import pytest

from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.live.line_phase_monitor import CHANGED_PX, LinePhaseMonitor, LinePhaseReading
from tests.fakes import stream

INFO = stream((1, 8, 8))
PIXELS = np.zeros((1, 4, 8), np.int16)


class Monitored:
    """A monitor, and its reports."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, LinePhaseReading, int]] = []
        self.monitor = LinePhaseMonitor(lambda info, reading, frame: self.reports.append((info.series, reading, frame)))
        self._index = 0

    def put(self, *offsets_px: float | None, aligned: float = 0.0) -> Monitored:
        for px in offsets_px:
            self.monitor.put(Frame(self._index, PIXELS, line_phase_px=px, aligned_px=aligned))
            self._index += 1
        return self

    def start(self, info: StreamInfo = INFO) -> Monitored:
        self.monitor.start(info)
        return self


@pytest.fixture
def monitored() -> Monitored:
    return Monitored()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_it_reports_the_first_measurement_and_then_only_changes(monitored: Monitored) -> None:
    monitored.start().put(None, 0.2, 0.25, 0.19 + CHANGED_PX, 0.31, 0.31)
    assert monitored.reports == [(INFO.series, LinePhaseReading(0.2), 1), (INFO.series, LinePhaseReading(0.31), 4)]
    assert monitored.monitor.reading == LinePhaseReading(0.31)


def test_it_reports_when_the_correction_changes(monitored: Monitored, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        monitored.start().put(None, 0.7).put(0.7, 0.7, aligned=0.7).put(0.69)
    assert [(reading.aligned_px, frame) for _, reading, frame in monitored.reports] == [(0.0, 1), (0.7, 2), (0.0, 4)]
    assert "backward lines are moved by -0.70 px along x, starting with frame 2" in caplog.text


def test_a_fixed_correction_is_reported_before_the_first_measurement(monitored: Monitored) -> None:
    monitored.start().put(None, aligned=1.5)
    assert monitored.reports == [(INFO.series, LinePhaseReading(None, 1.5), 0)]


def test_a_new_series_starts_afresh_and_the_end_of_one_keeps_its_reading(monitored: Monitored) -> None:
    monitored.start().put(0.2)
    monitored.monitor.skip(Gap(1, 3, "source"))
    monitored.monitor.end(StreamEnd("done"))
    monitored.monitor.close()
    assert monitored.monitor.reading.px == 0.2
    monitored.start(replace(INFO, series="second"))
    assert monitored.monitor.reading == LinePhaseReading()
    monitored.put(0.2)
    assert [series for series, _, _ in monitored.reports] == [INFO.series, "second"]


def test_a_large_offset_gives_one_warning_until_it_was_corrected(
    monitored: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    monitored.start().put(-1.0, -1.3)
    monitored.start(replace(INFO, series="second")).put(-1.0)  # as when each trial is a series
    (text,) = warnings(caplog)
    assert re.match(r"backward lines are displaced by 1\.00 px to the left of forward lines", text)
    assert "set the line phase (bidirectional offset) at the microscope" in text
    monitored.put(0.3, 1.0)
    assert len(warnings(caplog)) == 2
    assert "px to the right of forward lines" in warnings(caplog)[1]


def test_the_warning_is_about_the_remaining_offset(monitored: Monitored, caplog: pytest.LogCaptureFixture) -> None:
    monitored.start().put(0.45)
    monitored.put(1.5, aligned=1.4)
    monitored.put(None, aligned=3.0)
    assert warnings(caplog) == []
    monitored.put(1.5, aligned=-1.5)
    (text,) = warnings(caplog)
    assert "displaced by 3.00 px to the right" in text


def test_frames_before_the_first_series_are_ignored(monitored: Monitored) -> None:
    monitored.put(0.2)
    assert monitored.monitor.reading == LinePhaseReading()
    assert monitored.reports == []
