"""Room on the disk of a recording: when to warn, and when recording stops while there is room for its end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepbid_rt.errors import FileError

WARN_S = 600.0
"""Recording time left at which a session warns: long enough to end the experiment, or to make room."""
WARN_BYTES = 5_000_000_000
"""Free bytes at which a session warns whatever the rate; on disks below 50 GB a tenth of the disk."""
RESERVE_BYTES = 500_000_000
"""Free bytes at which recording stops; on disks below 25 GB a fiftieth of the disk. Session logs, the summary and other
programs still find room then, and file systems are slow when they are full."""
RESERVE_S = 3.0
"""The same in seconds of recording, for high rates: the room is looked at once a second."""
RESUME_FACTOR = 2.0
"""Recording goes on when so many times the reserve is free, so that it does not stop and start all the time."""


@dataclass(frozen=True)
class Room:
    """The room on a disk at one moment."""

    level: Literal["enough", "low", "used up"]
    free_bytes: float
    seconds: float | None
    """Recording time until recording stops, at the present rate; None without a rate."""


def judge_room(free_bytes: float, total_bytes: float, bytes_per_s: float, *, stopped: bool = False) -> Room:
    """Return whether there is room to record.

    Parameters
    ----------
    free_bytes, total_bytes : float
        Free bytes and size of the disk.
    bytes_per_s : float
        Bytes recorded per second; 0 when unknown.
    stopped : bool
        Whether recording has stopped for lack of room. It then goes on only at `RESUME_FACTOR` times the reserve.
    """
    reserve = max(min(RESERVE_BYTES, total_bytes / 50), RESERVE_S * bytes_per_s)
    seconds = max(0.0, free_bytes - reserve) / bytes_per_s if bytes_per_s > 0 else None
    if free_bytes < reserve * (RESUME_FACTOR if stopped else 1.0):
        return Room("used up", free_bytes, 0.0 if seconds is not None else None)
    short = seconds is not None and seconds < WARN_S
    low = short or free_bytes < min(WARN_BYTES, total_bytes / 10)
    return Room("low" if low else "enough", free_bytes, seconds)


class DiskRoom:
    """Watches the room in the folder of a recording. `look` is for one thread; recorders ask `require` from theirs.

    Parameters
    ----------
    folder : Path
    usage : callable, optional
        Returns total, used and free bytes of the disk of a folder; by default it asks the system.
    """

    def __init__(self, folder: Path, *, usage: Callable[[Path], tuple[int, int, int]] | None = None) -> None:
        self._folder = folder
        self._usage = usage or shutil.disk_usage
        self._room: Room | None = None

    @property
    def room(self) -> Room | None:
        """What the last `look` has found; None before, and when the disk did not answer."""
        return self._room

    def look(self, bytes_per_s: float) -> str | None:
        """Look at the disk; return one sentence when the room is low or used up, else None. Call it once a second.

        Parameters
        ----------
        bytes_per_s : float
            Bytes recorded per second; 0 when unknown.
        """
        try:
            total, _, free = self._usage(self._folder)
        except OSError:  # a folder that is gone or a disk that does not answer: the recorder itself will say so
            self._room = None
            return None
        stopped = self._room is not None and self._room.level == "used up"
        self._room = room = judge_room(free, total, bytes_per_s, stopped=stopped)
        left = f"{_size(free)} are free in {self._folder}"
        if room.level == "used up":
            return f"{left}: recording has stopped and goes on when there is room; free some space"
        if room.level == "low":
            lasts = "" if room.seconds is None else f", enough for {_duration(room.seconds)}"
            return f"{left}{lasts}; recording stops before the disk is full; free some space"
        return None

    def require(self) -> None:
        """Raise `FileError` when the last `look` has found no room to record."""
        if self._room is not None and self._room.level == "used up":
            raise FileError(
                f"only {_size(self._room.free_bytes)} are free in {self._folder}",
                expected="room for the recording, its log and other programs",
                todo="free some space; recording goes on by itself then",
            )


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
