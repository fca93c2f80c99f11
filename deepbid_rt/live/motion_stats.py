"""Counts of motion statuses and the last shift of a session, in constant memory."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

from deepbid_rt.frame import Motion, MotionStatus


class MotionStats:
    """Counts the motions of denoised frames. One thread adds; any thread may read."""

    def __init__(self) -> None:
        self._counts: Counter[MotionStatus] = Counter()
        self._last: Motion | None = None

    def add(self, motion: Motion) -> None:
        """Count the motion of one frame."""
        self._counts[motion.status] += 1
        self._last = motion

    @property
    def counts(self) -> dict[str, int]:
        """Frames so far by motion status; every status is a key."""
        return {status: self._counts[status] for status in get_args(MotionStatus)}

    @property
    def last(self) -> Motion | None:
        """Motion of the last frame; None before the first."""
        return self._last

    def summary(self) -> dict[str, Any] | None:
        """Return the counts and the last shift in lines and pixels; None when no motion was estimated."""
        last = self._last
        if last is None:
            return None
        return {**self.counts, "last_dy_px": round(last.dy, 3), "last_dx_px": round(last.dx, 3)}
