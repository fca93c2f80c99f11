"""A sink of denoised frames that follows the line phase of a session and warns when it is large.

It has a queue and a thread of its own, as every sink has, so that it delays no frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.wire.quiet_log import QuietLog

log = QuietLog(__name__)

LARGE_PHASE_PX = 0.5
"""A remaining line phase beyond this is worth a warning: it visibly blurs edges."""
CHANGED_PX = 0.1
"""A smaller change is not reported. The estimate itself fluctuates by less than this."""


@dataclass(frozen=True, slots=True)
class LinePhaseReading:
    """The line phase that was measured and corrected, up to one frame."""

    px: float | None = None
    """Measured line phase in pixels, see `Frame.line_phase_px`; None while it is unknown."""
    aligned_px: float = 0.0
    """Correction in pixels, see `Frame.aligned_px`."""

    @property
    def remaining_px(self) -> float:
        """Line phase that remains in the denoised frames, pixels; 0 while it is unknown."""
        return 0.0 if self.px is None else self.px - self.aligned_px


NO_LINE_PHASE = LinePhaseReading()
"""The reading before the first measurement."""


class LinePhaseMonitor:
    """Follows the line phase of each series.

    Parameters
    ----------
    changed : callable
        Called with the denoised series, the reading and the frame number, in the thread that puts frames: when the
        line phase is first known, when it has changed by more than `CHANGED_PX` since the last call, and when the
        correction changes.
    """

    def __init__(self, changed: Callable[[StreamInfo, LinePhaseReading, int], None]) -> None:
        self._changed = changed
        self._info: StreamInfo | None = None
        self._reported = NO_LINE_PHASE
        self._warned = False
        self.reading = NO_LINE_PHASE
        """The reading at the latest frame of the latest series; from any thread."""

    def start(self, info: StreamInfo) -> None:
        """Begin a series. Earlier readings are dropped: the scan may be a different one."""
        self._info = info
        self._reported = self.reading = NO_LINE_PHASE

    def put(self, frame: Frame) -> None:
        """Read the line phase of a frame; report it and warn where it is worth it."""
        if self._info is None:
            return
        self.reading = now = LinePhaseReading(frame.line_phase_px, frame.aligned_px)
        if not _differs(self._reported, now):
            return
        moved = now.aligned_px != self._reported.aligned_px
        self._reported = now
        self._changed(self._info, now, frame.index)
        if moved:
            log.info(
                "backward lines are moved by %+.2f px along x, starting with frame %d", -now.aligned_px, frame.index
            )
        if abs(now.remaining_px) <= LARGE_PHASE_PX:
            self._warned = False
        elif not self._warned:
            self._warned = True
            log.warning(
                "backward lines are displaced by %.2f px to the %s of forward lines, which blurs edges and is not "
                "corrected here: set the line phase (bidirectional offset) at the microscope so that this becomes 0, "
                "or use --line-phase auto",
                abs(now.remaining_px),
                "right" if now.remaining_px > 0 else "left",
            )

    def skip(self, gap: Gap) -> None:
        """Do nothing: a missing frame has no line phase."""

    def end(self, end: StreamEnd) -> None:
        """Keep the last reading."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _differs(reported: LinePhaseReading, now: LinePhaseReading) -> bool:
    if now.aligned_px != reported.aligned_px:
        return True
    return now.px is not None and (reported.px is None or abs(now.px - reported.px) > CHANGED_PX)
