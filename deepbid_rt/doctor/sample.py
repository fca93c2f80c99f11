"""The frames that are looked at, with their numbers and times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import StreamInfo
from deepbid_rt.scan.missing_pixels import unmeasured
from deepbid_rt.scan.normalizer import LARGEST_COUNT

Runs = Sequence[NDArray[Any]]
"""Frames of one plane and channel: arrays (T, Y, X) of frames that follow each other without a gap."""


@dataclass(frozen=True, slots=True, eq=False)
class Stamps:
    """Numbers and times of all frames that came, also of those whose pixels were not kept."""

    indices: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,) frame numbers."""
    sent_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,) time at which each was sent, on the sender's clock; 0 if unknown."""
    arrived_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,) time of arrival; 0 for frames from a file."""
    acquired_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """(N,) time on the acquisition's own clock; NaN if unknown."""
    missing: int = 0
    """Frames that were announced or counted and did not come."""
    duplicates: int = 0
    """Frames whose number had come before."""
    refused: int = 0
    """Frames and messages that arrived and could not be used."""
    repeated: int = 0
    """Frames with exactly the pixels of the frame before."""
    numbered: bool = True
    """False when a recording does not number its frames."""
    live: bool = False
    """True for a stream, False for a recording."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Some frames of one series."""

    info: StreamInfo
    """The series as the stream or the recording states it, completed by what the user says."""
    frames: NDArray[Any]
    """(T, C, Y, X) raw counts. Of very large frames only lines from the middle."""
    indices: NDArray[np.int64]
    """(T,) frame numbers."""
    planes: NDArray[np.int64]
    """(T,) plane of each frame."""
    stamps: Stamps
    rate_known: bool = True
    """False when the recording states no frame rate."""
    notes: tuple[str, ...] = ()
    """What the reader of the recording warns of."""
    first_line: int = 0
    """Line of the frame that is line 0 here."""
    _runs: dict[tuple[int, int], list[NDArray[Any]]] = field(default_factory=dict, repr=False)

    @property
    def places(self) -> list[tuple[int, int]]:
        """All (channel, plane) of which there are frames."""
        planes = sorted({int(plane) for plane in self.planes})
        return [(channel, plane) for channel in range(self.frames.shape[1]) for plane in planes]

    def runs(self, channel: int, plane: int) -> list[NDArray[Any]]:
        """Return the frames of a channel and plane, split where frames are missing."""
        place = channel, plane
        if place not in self._runs:
            self._runs[place] = list(self._split(channel, plane))
        return self._runs[place]

    def _split(self, channel: int, plane: int) -> Iterator[NDArray[Any]]:
        chosen = np.flatnonzero(self.planes == plane)
        steps = np.diff(self.indices[chosen])
        # With fly-back frames the step of a plane is longer than the number of planes; it is the usual one.
        usual = int(np.median(steps)) if steps.size else 1
        for part in np.split(chosen, np.flatnonzero(steps != usual) + 1):
            yield self.frames[part, channel]


def as_floats(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return a frame (Y, X) as float32; NaN, infinity and sentinels get the mean of the other pixels."""
    values = image.astype(np.float32)
    bad = ~(np.abs(values) <= LARGEST_COUNT) if image.dtype.kind == "f" else unmeasured(image)
    if bad is not None and bad.any():
        values[bad] = 0.0 if bad.all() else values[~bad].mean(dtype=np.float64)
    return values


def frame_count(runs: Runs) -> int:
    """Return the number of frames in all runs."""
    return sum(len(run) for run in runs)
