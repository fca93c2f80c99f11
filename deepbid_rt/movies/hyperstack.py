"""Stacks with axes time, slice and channel, and what to do when a stack has slices but no time points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Hyperstack:
    """Lengths of the axes of a stack."""

    channels: int
    slices: int
    frames: int
    """Time points."""

    @property
    def count(self) -> int:
        """Pages."""
        return self.channels * self.slices * self.frames


def hyperstack_pages(stack: Hyperstack, order: str) -> NDArray[np.int64]:
    """Return (T, Z, C) int64, the page of each place.

    Parameters
    ----------
    stack : Hyperstack
    order : str
        The axes C, Z and T from the fastest to the slowest, such as ``CZT``.
    """
    lengths = {"C": stack.channels, "Z": stack.slices, "T": stack.frames}
    stored = np.arange(stack.count).reshape([lengths[axis] for axis in reversed(order)])
    return stored.transpose([order[::-1].index(axis) for axis in "TZC"])


def slices_as_planes(stack: Hyperstack, planes: int | None) -> tuple[int, str | None]:
    """Return the number of planes, and a warning when slices without time points are taken as time.

    A stack of slices at one time point is a z-stack, or a movie that was saved with the wrong axis; both are common.

    Parameters
    ----------
    stack : Hyperstack
    planes : int, optional
        What the user says.
    """
    if stack.slices > 1 and stack.frames == 1 and planes != stack.slices:
        return 1, (
            f"the file has {stack.slices} slices and one time point, and its slices are taken as time points; when "
            f"they are planes, give --planes {stack.slices}"
        )
    return stack.slices, None


def whole_time_points(table: NDArray[np.int64]) -> tuple[int, bool]:
    """Count the complete time points at the beginning.

    Parameters
    ----------
    table : ndarray
        (T, Z, C) int64, the page of each place, -1 where there is none.

    Returns
    -------
    int
        Time points before the first incomplete one.
    bool
        True when complete ones come behind that one too.
    """
    lacking = np.flatnonzero((table < 0).reshape(len(table), -1).any(axis=1))
    number = int(lacking[0]) if len(lacking) else len(table)
    return number, len(lacking) < len(table) - number
