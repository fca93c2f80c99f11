"""The alarms of a session: every part raises and clears its own; log, page, viewer and beats show them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from deepbid_rt.wire.alarm import Alarm, AlarmKind
from deepbid_rt.wire.quiet_log import QuietLog

log = QuietLog(__name__)


class Alarms:
    """What is wrong now. Thread-safe; a call takes one lock for a few operations.

    Parameters
    ----------
    changed : callable, optional
        Called with the part's name and its alarm when one is raised or has another kind, and with None when it is
        cleared. Called without the lock, in the thread of the caller.
    """

    def __init__(self, changed: Callable[[str, Alarm | None], None] | None = None) -> None:
        self._changed = changed
        self._lock = threading.Lock()
        self._raised: dict[str, Alarm] = {}

    def set(self, part: str, kind: AlarmKind, text: str, *, logged: bool = False) -> None:
        """Raise the alarm of a part, or renew its text. A part has one alarm at a time.

        Parameters
        ----------
        part : str
            What raises it, such as ``the raw recorder``; unique within the session.
        kind : AlarmKind
        text : str
            One sentence: what is wrong, and what to do about it.
        logged : bool
            True when the part has logged it itself.
        """
        alarm = Alarm(kind, text)
        with self._lock:
            before = self._raised.get(part)
            self._raised[part] = alarm
        if before is None or before.kind != kind:
            if not logged:
                log.warning("%s", text)
            self._report(part, alarm)

    def clear(self, part: str, *, logged: bool = False) -> None:
        """Clear the alarm of a part; does nothing when none is raised."""
        with self._lock:
            before = self._raised.pop(part, None)
        if before is not None:
            if not logged:
                log.warning("over: %s", before.text)
            self._report(part, None)

    def current(self) -> tuple[Alarm, ...]:
        """Return the alarms raised now, the oldest first."""
        with self._lock:
            return tuple(self._raised.values())

    def _report(self, part: str, alarm: Alarm | None) -> None:
        if self._changed:
            self._changed(part, alarm)
