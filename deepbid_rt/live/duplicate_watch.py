"""Notices a sender whose frame numbers stand still: all its frames but the first are duplicates."""

from __future__ import annotations

from deepbid_rt.live.alarms import Alarms
from deepbid_rt.wire.source_status import SourceStatus

PART = "the frame numbers"
MANY = 5
"""Duplicates, beyond the number of other frames that arrived meanwhile, that are worth an alarm. A network that repeats
messages repeats fewer of them than it delivers."""


class DuplicateWatch:
    """Compares the counters of a source from one check to the next. Used by one thread, once or twice a second.

    Parameters
    ----------
    alarms : Alarms
    """

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._duplicates = self._used = self._excess = 0

    def check(self, status: SourceStatus, frames_in: int) -> None:
        """Raise the alarm when most of the frames that arrive have a number that is known; clear it when few have.

        Parameters
        ----------
        status : SourceStatus
            Counters of the source.
        frames_in : int
            Frames that the session has read so far.
        """
        duplicates, used = status.duplicates - self._duplicates, frames_in - self._used
        self._duplicates, self._used = status.duplicates, frames_in
        self._excess = min(max(self._excess + duplicates - used, 0), 2 * MANY)
        if self._excess >= MANY:
            self._alarms.set(
                PART,
                "source",
                "the frame numbers stand still: most frames that arrive have a number that was there before, and only "
                f"the first frame of a number is used ({status.duplicates} were not so far); mend the sender, which "
                "must count its frames",
            )
        elif not self._excess:
            self._alarms.clear(PART)
