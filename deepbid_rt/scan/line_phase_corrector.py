"""Decides by how much the backward lines of each frame are moved: not at all, by a given number, or as measured.

The decision for a frame depends on that frame and the frames before it only, so live and offline results are equal.
"""

from __future__ import annotations

from typing import Literal

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Frame, FrameFlag, StreamInfo
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.line_phase import LinePhaseEstimator, max_offset_px

LinePhasePolicy = float | Literal["auto", "off"]
"""A number: pixels by which backward lines lie too far to the right. ``auto``: as measured. ``off``: no correction."""

MIN_CORRECTION_PX = 0.25
"""Smaller offsets are not corrected. They cause no measurable blur, and in low light the measurement itself is only
accurate to 0.1 px."""
MIN_CHANGE_PX = 0.1
"""Smaller changes of the measurement are not applied, so that the geometry stays constant between real changes."""
_NOT_MEASURED = FrameFlag.FLYBACK | FrameFlag.INCOMPLETE
"""Frames with these flags do not show the tissue, or only part of it."""


class LinePhaseCorrector:
    """Measures the line phase of a series and decides which `LineOffset` corrects it.

    Parameters
    ----------
    info : StreamInfo
        The raw series.
    policy : float, "auto" or "off"
        The correction. The line phase is measured in any case.

    Raises
    ------
    StreamError
        When a number is given for a unidirectional scan, or a number beyond the range of the measurement.
    """

    def __init__(self, info: StreamInfo, policy: LinePhasePolicy) -> None:
        self._info, self._policy = info, policy
        self._estimator = LinePhaseEstimator(info)
        self.line_offset: LineOffset | None = None
        """Correction for the backward lines of the last frame pushed; None for no correction."""
        if isinstance(policy, str):
            return
        limit = max_offset_px(info.shape[2])
        if not info.scan.bidirectional or not abs(policy) <= limit:  # "not <=" also refuses NaN
            directions = "two directions" if info.scan.bidirectional else "one direction"
            raise StreamError(
                f"a line phase of {policy} px for lines of {info.shape[2]} px, scanned in {directions}",
                expected=f"a bidirectional scan, and at most {limit} px",
                todo="give the number that the viewer shows, or use --line-phase auto",
            )
        if policy:
            self.line_offset = self._offset_by(policy)

    @property
    def measured_px(self) -> float | None:
        """Line phase of the raw frames, rounded to 0.001 px; see `LinePhaseEstimator.px`. Any thread may read it."""
        px = self._estimator.px
        return None if px is None else round(px, 3)

    @property
    def aligned_px(self) -> float:
        """Pixels by which backward lines are moved to the left."""
        return self.line_offset.px if self.line_offset else 0.0

    def push(self, frame: Frame) -> None:
        """Measure the next frame of the series, given as scanned, and update `line_offset` for it."""
        if frame.flags & _NOT_MEASURED:
            return
        self._estimator.push(frame.pixels)
        px = self._estimator.px
        if self._policy != "auto" or px is None:
            return
        wanted = correction_px(px)
        if abs(wanted - self.aligned_px) > MIN_CHANGE_PX:
            self.line_offset = self._offset_by(wanted) if wanted else None

    def _offset_by(self, px: float) -> LineOffset:
        return LineOffset(self._info.scan, self._info.shape[2], px)


def correction_px(measured_px: float | None) -> float:
    """Return the correction in px for a measured line phase, rounded to 0.01 px; 0 when it is too small to matter."""
    return 0.0 if measured_px is None or abs(measured_px) <= MIN_CORRECTION_PX else round(measured_px, 2)
