"""What one question about a stream or a recording has shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

Level = Literal["ok", "note", "attention", "not known"]
Confidence = Literal["high", "low", "none"]
OptionValue = str | bool | int | float
Panel = tuple[str, NDArray[Any]]
"""Label and picture (Y, X)."""


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """The answer to one question."""

    question: str
    """Short name of the question, such as ``mirrored``; a key of reports."""
    level: Level
    """``ok``; ``note``: worth knowing, and taken care of; ``attention``: something to mend, or an option to set;
    ``not known``: the data cannot show it."""
    answer: str
    """The answer in words, and for ``not known`` the reason."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """The evidence; names carry units."""
    confidence: Confidence = "high"
    """``high``: the evidence is twice as strong as needed, or was counted. ``low``: it is just strong enough.
    ``none``: not known."""
    todo: str = ""
    """What to do; empty when there is nothing to do."""
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    """Options of ``denoise``, ``train`` and, where it has them, ``serve``, without dashes, that state the answer."""
    panels: tuple[Panel, ...] = ()
    """Small pictures that show the evidence."""

    def summary(self) -> dict[str, Any]:
        """Return plain data without pictures; figures have four digits, and those that are not finite are left out."""
        figures = {name: float(f"{value:.4g}") for name, value in self.figures.items() if abs(value) < float("inf")}
        return {
            "question": self.question,
            "level": self.level,
            "answer": self.answer,
            "figures": figures,
            "confidence": self.confidence,
            "todo": self.todo,
            "options": dict(self.options),
        }


def not_known(question: str, reason: str, **figures: float) -> Finding:
    """Return the finding that the data cannot answer a question."""
    return Finding(question, "not known", f"not known: {reason}", figures, "none")


def how_sure(evidence: float, needed: float) -> Confidence:
    """Return the confidence of an answer whose evidence has reached what is needed."""
    return "high" if evidence >= 2 * needed else "low"
