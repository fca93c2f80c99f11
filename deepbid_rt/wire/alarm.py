"""An alarm: one thing that is wrong now, in words. Beats carry alarms to viewers and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from deepbid_rt.wire.received_text import received_text

AlarmKind = Literal["behind", "safe-mode", "sink", "source", "disk", "picture", "clock"]
"""``behind``: frames are skipped because denoising is too slow. ``safe-mode``: the engine has failed, raw pixels pass
through. ``sink``: a recorder or another sink has failed or hangs. ``source``: frames are lost or refused. ``disk``:
there is little room. ``picture``: the pixels look wrong. ``clock``: the clocks of the two computers differ."""

MAX_ALARMS = 16
"""Alarms that a reader accepts from one beat."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that is wrong now."""

    kind: AlarmKind
    text: str
    """One sentence: what is wrong, and what to do about it."""

    def to_map(self) -> dict[str, str]:
        """Return the alarm as a map for the wire."""
        return {"kind": self.kind, "text": self.text}

    @classmethod
    def from_map(cls, values: object) -> Alarm | None:
        """Read a received map; None when it is not an alarm. Characters that are not printable become ``?``."""
        if not isinstance(values, Mapping):
            return None
        kind, text = values.get("kind"), values.get("text")
        if kind not in get_args(AlarmKind) or not isinstance(text, str):
            return None
        return cls(cast("AlarmKind", kind), received_text(text))


def read_alarms(values: Any) -> tuple[Alarm, ...]:
    """Read a received list of alarms; what is not an alarm is left out."""
    read = (Alarm.from_map(item) for item in values[:MAX_ALARMS]) if isinstance(values, list) else ()
    return tuple(alarm for alarm in read if alarm)
