"""A sink of denoised frames that watches the line phase of a session, and speaks up when it is large.

A branch of its own: what it costs delays no frame. Knows nothing of files, sockets or denoising.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.live.session_report import LARGE_PHASE_PX

log = logging.getLogger(__name__)

CHANGED_PX = 0.1
"""A smaller change is not worth a note."""


@dataclass(frozen=True, slots=True)
class LinePhaseReading:
    """What was found and done up to one frame."""

    px: float | None = None
    """As of `Frame.line_phase_px`."""
    aligned_px: float = 0.0
    """As of `Frame.aligned_px`."""

    @property
    def left_px(self) -> float:
        """What is left of the offset in the denoised frames; 0 while it is not known."""
        return 0.0 if self.px is None else self.px - self.aligned_px


NO_LINE_PHASE = LinePhaseReading()


class LinePhaseMonitor:
    """Follows the line phase of each series.

    Parameters
    ----------
    changed : callable
        Called with the denoised series, the reading and the number of its frame when the line phase is first known,
        when it has changed by more than `CHANGED_PX` since, and when lines are moved otherwise; in the thread that puts
        frames.
    """

    def __init__(self, changed: Callable[[StreamInfo, LinePhaseReading, int], None]) -> None:
        self._changed = changed
        self._info: StreamInfo | None = None
        self._told = NO_LINE_PHASE
        self._warned = False
        self.reading = NO_LINE_PHASE
        """Of the latest frame of the latest series; from any thread."""

    def start(self, info: StreamInfo) -> None:
        """Begin anew: the scan may be another one."""
        self._info = info
        self._told = self.reading = NO_LINE_PHASE

    def put(self, frame: Frame) -> None:
        """Look at what a frame says of its lines."""
        if self._info is None:
            return
        self.reading = now = LinePhaseReading(frame.line_phase_px, frame.aligned_px)
        if not _worth_telling(self._told, now):
            return
        moved = now.aligned_px != self._told.aligned_px
        self._told = now
        self._changed(self._info, now, frame.index)
        if moved:
            log.info("backward lines are moved by %+.2f px along x from frame %d on", -now.aligned_px, frame.index)
        if abs(now.left_px) <= LARGE_PHASE_PX:
            self._warned = False
        elif not self._warned:
            self._warned = True
            log.warning(
                "backward lines lie %.2f px to the %s of forward lines, which blurs or frays every edge and is not "
                "corrected here: adjust the line phase (bidirectional offset) at the microscope until it is 0, or let "
                "--line-phase auto move them",
                abs(now.left_px),
                "right" if now.left_px > 0 else "left",
            )

    def skip(self, gap: Gap) -> None:
        """Nothing to do: a missing frame says nothing."""

    def end(self, end: StreamEnd) -> None:
        """Keep what was measured."""

    def close(self) -> None:
        """Nothing to release."""


def _worth_telling(told: LinePhaseReading, now: LinePhaseReading) -> bool:
    if now.aligned_px != told.aligned_px:
        return True
    return now.px is not None and (told.px is None or abs(now.px - told.px) > CHANGED_PX)
