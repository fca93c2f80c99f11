"""A sink of raw frames that watches the line phase of a session, and speaks up when it is large.

A branch of its own: what it costs delays no frame. Knows nothing of files, sockets or denoising.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from deepbid_rt.frame import Frame, FrameFlag, Gap, StreamEnd, StreamInfo
from deepbid_rt.line_phase import LinePhase
from deepbid_rt.session_report import LARGE_PHASE_PX

log = logging.getLogger(__name__)

CHANGED_PX = 0.1
"""A smaller change is not worth a note."""
_NOT_SEEN = FrameFlag.FLYBACK | FrameFlag.INCOMPLETE


class PhaseWatch:
    """Measures the line phase of each series.

    Parameters
    ----------
    changed : callable
        Called with the series and its line phase, pixels, when it is first known and when it has changed by more than
        `CHANGED_PX` since; in the thread that puts frames.
    """

    def __init__(self, changed: Callable[[StreamInfo, float], None]) -> None:
        self._changed = changed
        self._series: tuple[StreamInfo, LinePhase] | None = None
        self._told_px: float | None = None
        self._warned = False

    @property
    def px(self) -> float | None:
        """Line phase of the latest series, see `LinePhase.px`; from any thread."""
        series = self._series
        px = None if series is None else series[1].px
        return None if px is None else round(px, 3)

    def start(self, info: StreamInfo) -> None:
        """Begin anew: the scan may be another one."""
        self._series = info, LinePhase(info)
        self._told_px = None

    def put(self, frame: Frame) -> None:
        """Look at one frame."""
        if self._series is None or frame.flags & _NOT_SEEN:
            return
        info, phase = self._series
        phase.add(frame.pixels)
        px = self.px
        if px is None or (self._told_px is not None and abs(px - self._told_px) <= CHANGED_PX):
            return
        self._told_px = px
        self._changed(info, px)
        if abs(px) <= LARGE_PHASE_PX:
            self._warned = False
        elif not self._warned:
            self._warned = True
            log.warning(
                "backward lines lie %.2f px to the %s of forward lines, which blurs or frays every edge and is not "
                "corrected here: adjust the line phase (bidirectional offset) at the microscope until it is 0",
                abs(px),
                "right" if px > 0 else "left",
            )

    def skip(self, gap: Gap) -> None:
        """Nothing to do: a missing frame says nothing."""

    def end(self, end: StreamEnd) -> None:
        """Keep what was measured."""

    def close(self) -> None:
        """Nothing to release."""
