"""The watch on the line phase: what it tells, when it warns, and what it does not look at."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import numpy as np
import pytest

from deepbid_rt.frame import Frame, FrameFlag, Gap, StreamEnd, StreamInfo
from deepbid_rt.phase_watch import CHANGED_PX, PhaseWatch
from tests.jagged import frames, info_of


class Watched:
    """A watch, and what it told."""

    def __init__(self) -> None:
        self.told: list[tuple[StreamInfo, float]] = []
        self.watch = PhaseWatch(lambda info, px: self.told.append((info, px)))
        self._index = 0

    def see(self, info: StreamInfo, *offsets_px: float, flags: FrameFlag = FrameFlag.NONE) -> Watched:
        for px in offsets_px:
            for pixels in frames(info, px, 1):
                self.watch.put(Frame(self._index, pixels, flags=flags))
                self._index += 1
        return self


@pytest.fixture
def watched() -> Watched:
    return Watched()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_it_tells_what_it_found_and_then_only_what_changed(watched: Watched) -> None:
    info = info_of()
    watched.watch.start(info)
    assert watched.watch.px is None
    watched.see(info, 0.2, 0.2, 0.2)
    assert [series for series, _ in watched.told] == [info]
    assert watched.told[0][1] == watched.watch.px == pytest.approx(0.2, abs=0.02)
    watched.see(info, *[0.4] * 20)
    assert len(watched.told) == 2
    assert CHANGED_PX < watched.told[1][1] - watched.told[0][1] < 0.15
    assert watched.watch.px == pytest.approx(0.4, abs=0.05)
    assert watched.watch.px == round(watched.watch.px, 3)


def test_a_new_series_begins_anew_and_the_end_of_one_forgets_nothing(watched: Watched) -> None:
    info = info_of()
    watched.watch.start(info)
    watched.see(info, 0.2)
    watched.watch.skip(Gap(1, 3, "source"))
    watched.watch.end(StreamEnd("done"))
    watched.watch.close()
    assert watched.watch.px == pytest.approx(0.2, abs=0.02)
    second = replace(info, series="second")
    watched.watch.start(second)
    assert watched.watch.px is None
    watched.see(second, 0.2)
    assert [series.series for series, _ in watched.told] == [info.series, "second"]


def test_a_large_offset_is_warned_of_once_until_it_was_mended(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    info = info_of()
    watched.watch.start(info)
    watched.see(info, *[-1.0] * 5)
    watched.watch.start(replace(info, series="second"))  # each trial is a series
    watched.see(info, -1.0)
    (text,) = warnings(caplog)
    assert re.match(r"backward lines lie (0\.9|1\.0)\d px to the left of forward lines", text)
    assert "adjust the line phase (bidirectional offset) at the microscope" in text
    watched.see(info, 0.3, 0.3, 1.0, 1.0)
    assert len(warnings(caplog)) == 2
    assert "px to the right of forward lines" in warnings(caplog)[1]


def test_small_offsets_are_not_warned_of(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    info = info_of()
    watched.watch.start(info)
    watched.see(info, 0.45, 0.45)
    assert watched.watch.px is not None
    assert warnings(caplog) == []


@pytest.mark.parametrize("flag", [FrameFlag.FLYBACK, FrameFlag.INCOMPLETE])
def test_frames_that_are_no_picture_are_not_looked_at(watched: Watched, flag: FrameFlag) -> None:
    info = info_of()
    watched.watch.start(info)
    watched.see(info, 1.0, flags=flag)
    assert watched.watch.px is None
    watched.see(info, 1.0, flags=FrameFlag.TTL_HIGH)
    assert watched.watch.px is not None


def test_frames_of_no_series_are_let_go(watched: Watched) -> None:
    watched.watch.put(Frame(0, np.zeros((1, 8, 64), np.int16)))
    assert watched.watch.px is None
    assert watched.told == []
