"""What is drawn: the panels, the pictures in them and the outlines over them, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.viewer.camera import Camera
from deepbid_rt.viewer.roi import Vertex

ImageSource = Literal["raw", "average", "denoised"]
Layer = Literal["raw", "average", "denoised", "difference"]
"""A coloured picture of one image source, or of the difference of two."""
DisplayMode = Literal["side", "swipe", "blink", "difference"]
Mix = Literal["first", "swipe", "difference"]
NOT_DENOISED = "NOT DENOISED: raw"
"""The words on a frame that holds raw pixels because the session's engine had failed."""
NOT_LIVE = "NOT LIVE"
"""The words on the pictures when no new one has come for a while."""
BLINK_S = 0.5
"""Seconds for which each picture is shown in the mode ``blink``."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: an image source, or two of them combined."""

    title: str
    first: ImageSource
    second: ImageSource | None = None
    mix: Mix = "first"
    """``swipe``: `first` left of the dividing line and `second` right of it; ``difference``: `second` minus `first`."""

    @property
    def sources(self) -> tuple[ImageSource, ...]:
        """The image sources that it needs."""
        return (self.first,) if self.second is None else (self.first, self.second)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The pictures in it, from left to right."""
        return ("difference",) if self.mix == "difference" else self.sources


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a canvas needs in order to draw."""

    panels: Sequence[Panel]
    camera: Camera
    image: tuple[int, int]
    """Lines and pixels of the frame."""
    pictures: Mapping[Layer, NDArray[np.uint8]] = field(default_factory=dict)
    """Pictures (Y, X, 4) of the whole frame, with fewer pixels where the frame is large. A panel stays empty if one of
    its pictures is missing. Arrays are compared by identity: the same array is the same picture."""
    split: float = 0.5
    """Position of the dividing line of ``swipe``, from 0 (left) to 1 (right)."""
    marks: Mapping[Layer, str] = field(default_factory=dict)
    """Words on a picture, which gets a frame as well: `NOT_DENOISED` or `NOT_LIVE`."""
    outlines: Sequence[tuple[Sequence[Vertex], tuple[float, float, float]]] = field(default=())
    """Closed lines in image pixels, each with its colour."""


def panels_of(mode: DisplayMode, average: int, now_s: float) -> list[Panel]:
    """Return the panels of a display mode, from left to right.

    Parameters
    ----------
    mode : DisplayMode
    average : int
        Raw frames in the running average. With 1 there is none; otherwise it is shown as well, or instead of the raw
        frame where only two images can be compared.
    now_s : float
        Monotonic seconds; decides which picture ``blink`` shows.
    """
    baseline: ImageSource = "average" if average > 1 else "raw"
    names: dict[ImageSource, str] = {"raw": "raw", "average": f"average of {average} raw", "denoised": "denoised"}
    match mode:
        case "side":
            sources: tuple[ImageSource, ...] = ("raw", "average", "denoised") if average > 1 else ("raw", "denoised")
            return [Panel(names[source], source) for source in sources]
        case "swipe":
            return [Panel(f"{names[baseline]}  |  denoised", baseline, "denoised", "swipe")]
        case "blink":
            source = baseline if int(now_s / BLINK_S) % 2 else "denoised"
            return [Panel(f"blink: {names[source]}", source)]
        case "difference":
            title = f"denoised minus {names[baseline]}; mid-gray is equal"
            return [Panel(title, baseline, "denoised", "difference")]
