"""The motion of recorded frames, gathered into few lines of the session log.

Knows nothing of files; whoever records gives it somewhere to note.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deepbid_rt.frame import Frame, Motion

LINE_FRAMES = 32
"""Frames in one line of the log: about a second. A kill costs at most so many frames of the trace."""
_DECIMALS = 3  # a thousandth of a pixel


class MotionTrace:
    """Gathers motions and hands them on, `LINE_FRAMES` at a time.

    Parameters
    ----------
    note : callable
        Called with the fields of a line: ``frames``, ``dy``, ``dx``, ``confidence`` and ``status``, lists of one
        length; shifts in lines and pixels.
    """

    def __init__(self, note: Callable[[dict[str, Any]], None]) -> None:
        self._note = note
        self._motions: list[tuple[int, Motion]] = []

    def add(self, frame: Frame) -> None:
        """Take the motion of one frame, if it has any."""
        if frame.motion is None:
            return
        self._motions.append((frame.index, frame.motion))
        if len(self._motions) == LINE_FRAMES:
            self.flush()

    def flush(self) -> None:
        """Hand on what is left."""
        motions, self._motions = self._motions, []
        if not motions:
            return
        self._note(
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
            for index, dy, dx, confidence, verdict, *bend in zip(*columns, strict=True):
                motions[index] = Motion(dy, dx, confidence, verdict, *(tuple(part) for part in bend))
    return motions
