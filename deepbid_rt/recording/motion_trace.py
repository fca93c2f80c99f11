"""The motion of recorded frames in the session log: one line for many frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deepbid_rt.frame import Frame, Motion

LINE_FRAMES = 32
"""Frames in one line of the log, about one second. A killed process loses the motion of at most so many frames."""
_DECIMALS = 3  # a thousandth of a pixel


class MotionTrace:
    """Collects motions and writes them in groups of `LINE_FRAMES`.

    Parameters
    ----------
    write : callable
        Called with the fields of a line: ``frames``, ``dy``, ``dx``, ``confidence``, ``verdict``, ``bend_dy`` and
        ``bend_dx``, lists of equal length. Shifts are in lines and pixels; ``verdict`` is `Motion.status`, and the
        ``bend_`` lists hold one list of strips per frame.
    """

    def __init__(self, write: Callable[[dict[str, Any]], None]) -> None:
        self._write = write
        self._motions: list[tuple[int, Motion]] = []

    def add(self, frame: Frame) -> None:
        """Add the motion of a frame; a frame without motion is ignored."""
        if frame.motion is None:
            return
        self._motions.append((frame.index, frame.motion))
        if len(self._motions) == LINE_FRAMES:
            self.flush()

    def flush(self) -> None:
        """Write the motions collected since the last line."""
        motions, self._motions = self._motions, []
        if not motions:
            return
        self._write(
            {
                "frames": [index for index, _ in motions],
                "dy": [round(motion.dy, _DECIMALS) for _, motion in motions],
                "dx": [round(motion.dx, _DECIMALS) for _, motion in motions],
                "confidence": [round(motion.confidence, 1) for _, motion in motions],
                "verdict": [motion.status for _, motion in motions],
                "bend_dy": [[round(px, _DECIMALS) for px in motion.strip_dy] for _, motion in motions],
                "bend_dx": [[round(px, _DECIMALS) for px in motion.strip_dx] for _, motion in motions],
            }
        )


def read_motions(lines: list[dict[str, Any]]) -> dict[int, Motion]:
    """Return the motion of each recorded frame by its number, from the lines of a session log (`read_sidecar`)."""
    motions: dict[int, Motion] = {}
    for line in lines:
        if line["kind"] == "motion":
            columns = (line[key] for key in ("frames", "dy", "dx", "confidence", "verdict", "bend_dy", "bend_dx"))
            for index, dy, dx, confidence, verdict, *strips in zip(*columns, strict=True):
                motions[index] = Motion(dy, dx, confidence, verdict, *(tuple(part) for part in strips))
    return motions
