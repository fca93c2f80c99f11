"""The watch on the line phase: what it tells, and when it warns."""

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


class Watched:
    """A watch, and what it told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, LinePhaseReading, int]] = []
        self.watch = LinePhaseMonitor(lambda info, found, frame: self.told.append((info.series, found, frame)))
        self._index = 0

    def see(self, *offsets_px: float | None, aligned: float = 0.0) -> Watched:
        for px in offsets_px:
            self.watch.put(Frame(self._index, PIXELS, line_phase_px=px, aligned_px=aligned))
            self._index += 1
        return self

    def start(self, info: StreamInfo = INFO) -> Watched:
        self.watch.start(info)
        return self


@pytest.fixture
def watched() -> Watched:
    return Watched()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_it_tells_what_was_found_and_then_only_what_changed(watched: Watched) -> None:
    watched.start().see(None, 0.2, 0.25, 0.19 + CHANGED_PX, 0.31, 0.31)
    assert watched.told == [(INFO.series, LinePhaseReading(0.2), 1), (INFO.series, LinePhaseReading(0.31), 4)]
    assert watched.watch.reading == LinePhaseReading(0.31)


def test_it_tells_when_lines_are_moved_otherwise(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        watched.start().see(None, 0.7).see(0.7, 0.7, aligned=0.7).see(0.69)
    assert [(found.aligned_px, frame) for _, found, frame in watched.told] == [(0.0, 1), (0.7, 2), (0.0, 4)]
    assert "backward lines are moved by -0.70 px along x from frame 2 on" in caplog.text


def test_a_number_that_lines_are_moved_by_is_told_before_anything_was_measured(watched: Watched) -> None:
    watched.start().see(None, aligned=1.5)
    assert watched.told == [(INFO.series, LinePhaseReading(None, 1.5), 0)]


def test_a_new_series_begins_anew_and_the_end_of_one_forgets_nothing(watched: Watched) -> None:
    watched.start().see(0.2)
    watched.watch.skip(Gap(1, 3, "source"))
    watched.watch.end(StreamEnd("done"))
    watched.watch.close()
    assert watched.watch.reading.px == 0.2
    watched.start(replace(INFO, series="second"))
    assert watched.watch.reading == LinePhaseReading()
    watched.see(0.2)
    assert [series for series, _, _ in watched.told] == [INFO.series, "second"]


def test_a_large_offset_is_warned_of_once_until_it_was_mended(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.start().see(-1.0, -1.3)
    watched.start(replace(INFO, series="second")).see(-1.0)  # each trial is a series
    (text,) = warnings(caplog)
    assert re.match(r"backward lines lie 1\.00 px to the left of forward lines", text)
    assert "adjust the line phase (bidirectional offset) at the microscope" in text
    watched.see(0.3, 1.0)
    assert len(warnings(caplog)) == 2
    assert "px to the right of forward lines" in warnings(caplog)[1]


def test_what_is_left_is_warned_of_and_not_what_was_moved(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.start().see(0.45)
    watched.see(1.5, aligned=1.4)
    watched.see(None, aligned=3.0)
    assert warnings(caplog) == []
    watched.see(1.5, aligned=-1.5)
    (text,) = warnings(caplog)
    assert "lie 3.00 px to the right" in text


def test_frames_of_no_series_are_let_go(watched: Watched) -> None:
    watched.see(0.2)
    assert watched.watch.reading == LinePhaseReading()
    assert watched.told == []
