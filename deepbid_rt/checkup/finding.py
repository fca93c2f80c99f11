"""A finding: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]
"""``ok``: nothing to do. ``warning``: sessions run, with a limit. ``problem``: sessions do not run as asked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a check-up."""

    part: str
    """What was looked at, in a word or two."""
    level: Level
    text: str
    """How it is."""
    todo: str = ""
    """What to do about it; empty for ``ok``."""
