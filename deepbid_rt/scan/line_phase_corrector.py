"""Who decides how far backward lines are moved: off, a number that is known, or what is measured while frames come.

Knows nothing of views, engines or clocks.
"""

from __future__ import annotations

from typing import Literal

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Frame, FrameFlag, StreamInfo
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.line_phase import LinePhaseEstimator, reach_px

LinePhasePolicy = float | Literal["auto", "off"]
"""Pixels by which backward lines lie too far right; ``auto``: as measured; ``off``: lines stay where they are."""

LEAST_PX = 0.25
"""Smaller offsets are let be: they blur nothing that was measured, and in little light they are found to 0.1 px."""
FOLLOW_PX = 0.1
"""Smaller changes are let be: between two of them the geometry stands still."""
_NOT_SEEN = FrameFlag.FLYBACK | FrameFlag.INCOMPLETE


class LinePhaseCorrector:
    """Keeps backward lines on forward lines through a series.

    Parameters
    ----------
    info : StreamInfo
        The raw series.
    policy : float, "auto" or "off"
        What is done about the line phase; it is measured in any case.

    Raises
    ------
    StreamError
        When a number is given for a scan of one direction, or one that is larger than is looked for.

    Notes
    -----
    The offset that a frame is moved by follows from that frame and those before it alone, so live and offline agree.
    """

    def __init__(self, info: StreamInfo, policy: LinePhasePolicy) -> None:
        self._info, self._policy = info, policy
        self._estimator = LinePhaseEstimator(info)
        self.line_offset: LineOffset | None = None
        """What backward lines go through; None while they stay where they are."""
        if isinstance(policy, str):
            return
        reach = reach_px(info.shape[2])
        if not info.scan.bidirectional or not abs(policy) <= reach:
            directions = "two directions" if info.scan.bidirectional else "one direction"
            raise StreamError(
                f"a line phase of {policy} px to be taken out of lines of {info.shape[2]} px, scanned in {directions}",
                expected=f"a bidirectional scan, and {reach} px at most",
                todo="give what the viewer shows, or --line-phase auto",
            )
        if policy:
            self.line_offset = self._by(policy)

    @property
    def measured_px(self) -> float | None:
        """`LinePhaseEstimator.px` of the frames as they came, whatever is done about it, to a thousandth; from any thread."""
        px = self._estimator.px
        return None if px is None else round(px, 3)

    @property
    def aligned_px(self) -> float:
        """Pixels by which backward lines are moved to the left."""
        return self.line_offset.px if self.line_offset else 0.0

    def push(self, frame: Frame) -> None:
        """Take the next frame of the series, before its lines are moved."""
        if frame.flags & _NOT_SEEN:
            return
        self._estimator.push(frame.pixels)
        px = self._estimator.px
        if self._policy != "auto" or px is None:
            return
        wanted = offset_of(px)
        if abs(wanted - self.aligned_px) > FOLLOW_PX:
            self.line_offset = self._by(wanted) if wanted else None

    def _by(self, px: float) -> LineOffset:
        return LineOffset(self._info.scan, self._info.shape[2], px)


def offset_of(measured_px: float | None) -> float:
    """Return what is worth taking out of lines that were measured to lie off so far, pixels; 0 for nothing."""
    return 0.0 if measured_px is None or abs(measured_px) <= LEAST_PX else round(measured_px, 2)
