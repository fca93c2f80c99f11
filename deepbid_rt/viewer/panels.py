"""What is drawn: which pictures stand in which panels, and what lies over them. Plain values, no card, no window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.viewer.camera import Camera
from deepbid_rt.viewer.roi import Point

Source = Literal["raw", "average", "denoised"]
Layer = Literal["raw", "average", "denoised", "difference"]
"""A coloured picture: of one source, or of two."""
Mode = Literal["side", "swipe", "blink", "difference"]
Mix = Literal["first", "swipe", "difference"]
BLINK_S = 0.5
"""Seconds that each picture stands in ``blink``."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel."""

    title: str
    first: Source
    second: Source | None = None
    mix: Mix = "first"
    """``swipe``: `first` left of the dividing line, `second` right; ``difference``: `second` minus `first`."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """What must be there for it."""
        return (self.first,) if self.second is None else (self.first, self.second)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The pictures in it, from left to right."""
        return ("difference",) if self.mix == "difference" else self.sources


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a canvas needs."""

    panels: Sequence[Panel]
    camera: Camera
    image: tuple[int, int]
    """Lines and pixels of the frame."""
    pictures: Mapping[Layer, NDArray[np.uint8]] = field(default_factory=dict)
    """(Y, X, 4), of the whole frame, thinned out where it is large; a panel stays empty where one is missing. The same
    array is the same picture."""
    split: float = 0.5
    """Where the dividing line of ``swipe`` stands, 0 left to 1 right."""
    outlines: Sequence[tuple[Sequence[Point], tuple[float, float, float]]] = field(default=())
    """Lines in image pixels, and their colours."""


def panels_of(mode: Mode, average: int, now_s: float) -> list[Panel]:
    """Return the panels of a mode from left to right; `average` > 1 adds the running average of so many raw frames."""
    baseline: Source = "average" if average > 1 else "raw"
    names: dict[Source, str] = {"raw": "raw", "average": f"average of {average} raw", "denoised": "denoised"}
    match mode:
        case "side":
            sources: tuple[Source, ...] = ("raw", "average", "denoised") if average > 1 else ("raw", "denoised")
            return [Panel(names[source], source) for source in sources]
        case "swipe":
            return [Panel(f"{names[baseline]}  |  denoised", baseline, "denoised", "swipe")]
        case "blink":
            source = baseline if int(now_s / BLINK_S) % 2 else "denoised"
            return [Panel(f"blink: {names[source]}", source)]
        case "difference":
            title = f"denoised minus {names[baseline]}; mid-gray is equal"
            return [Panel(title, baseline, "denoised", "difference")]
