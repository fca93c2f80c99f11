from __future__ import annotations

from pathlib import Path

import pytest

from deepbid_rt.errors import FileError
from deepbid_rt.recording.disk_room import DiskRoom, judge_room

GB, TB = 1e9, 1e12


@pytest.mark.parametrize(
    ("free", "total", "rate", "stopped", "level", "seconds"),
    [
        (100 * GB, TB, 0.0, False, "enough", None),
        (100 * GB, TB, 0.1 * GB, False, "enough", 995),
        (50 * GB, TB, 0.1 * GB, False, "low", 495),
        (4.9 * GB, TB, 1e6, False, "low", 4400),
        (4.9 * GB, TB, 0.0, False, "low", None),
        (0.6 * GB, TB, 1e6, False, "low", 100),
        (0.4 * GB, TB, 1e6, False, "used up", 0),
        (0.4 * GB, TB, 0.0, False, "used up", None),
        (0.9 * GB, TB, 1e6, True, "used up", 0),
        (1.1 * GB, TB, 1e6, True, "low", 600),
        (2.9 * GB, TB, 1 * GB, False, "used up", 0),
        (0.05 * GB, 0.1 * GB, 1e4, False, "enough", 4800),
        (0.001 * GB, 0.1 * GB, 1e4, False, "used up", 0),
    ],
)
def test_room_is_low_before_recording_stops(
    free: float, total: float, rate: float, stopped: bool, level: str, seconds: float | None
) -> None:
    room = judge_room(free, total, rate, stopped=stopped)
    assert room.level == level
    assert room.seconds == (None if seconds is None else pytest.approx(seconds, rel=0.01))


def test_the_sentence_says_how_much_is_free_and_for_how_long(tmp_path: Path) -> None:
    free = [100 * GB]
    room = DiskRoom(tmp_path, usage=lambda _: (int(TB), 0, int(free[0])))
    room.require()
    assert room.look(1e6) is None
    room.require()
    free[0] = 4 * GB
    assert room.look(10e6) == (
        f"4.0 GB are free in {tmp_path}, enough for 6 min; recording stops before the disk is full; free some space"
    )
    room.require()
    free[0] = 0.2 * GB
    assert room.look(10e6) == (
        f"200 MB are free in {tmp_path}: recording has stopped and goes on when there is room; free some space"
    )
    with pytest.raises(FileError, match=r"only 200 MB are free in .*; recording goes on by itself then"):
        room.require()
    free[0] = 0.6 * GB  # not yet: it would stop again at once
    assert room.look(10e6) is not None
    with pytest.raises(FileError):
        room.require()
    free[0] = 10 * GB
    assert room.look(10e6) is None
    room.require()


def test_a_disk_that_does_not_answer_stops_nothing(tmp_path: Path) -> None:
    room = DiskRoom(tmp_path / "none")
    assert room.look(1e6) is None
    assert room.room is None
    room.require()
