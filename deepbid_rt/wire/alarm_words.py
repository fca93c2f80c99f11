"""The words for each kind of alarm, for displays, and which of them is the worst."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from deepbid_rt.wire.alarm import AlarmKind

Severity = Literal["warn", "bad"]

ALARM_WORDS: dict[AlarmKind, tuple[str, Severity]] = {
    "safe-mode": ("safe mode: not denoised", "bad"),
    "sink": ("output failed", "bad"),
    "source": ("source alarm", "bad"),
    "behind": ("behind", "bad"),
    "disk": ("little disk room", "warn"),
    "picture": ("check the picture", "warn"),
    "clock": ("clocks differ", "warn"),
}
"""The words and the severity of each kind, the worst first."""


def worst_alarm(kinds: Iterable[AlarmKind]) -> tuple[str, Severity] | None:
    """Return the words and the severity of the worst kind, with the number of the others; None without any."""
    raised = sorted(kinds, key=list(ALARM_WORDS).index)
    if not raised:
        return None
    (text, severity), others = ALARM_WORDS[raised[0]], len(raised) - 1
    return (text if not others else f"{text}, {others} more alarm{'s' if others > 1 else ''}"), severity
