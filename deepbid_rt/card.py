"""The model card: what an engine file is, and what it needs to be fed.

It travels inside the ONNX file as JSON (metadata key `METADATA_KEY`) and stands beside the engine as ``card.toml``.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from deepbid_rt.errors import EngineError
from deepbid_rt.frame import Layout

CARD_VERSION = 1
METADATA_KEY = "deepbid_rt.card"

Kind = Literal["window", "stream", "average", "echo"]
Views = Literal["each", "mean"]
STREAMING: tuple[Kind, ...] = ("stream", "average")
"""Kinds that see one frame and what is remembered of all frames before it."""
OffsetRule = Literal["calibrate", "mean", "minimum", "fixed"]


@dataclass(frozen=True, slots=True)
class Normalization:
    """How raw counts become network units: ``(counts - offset) / scale``, constant for a whole series."""

    rule: OffsetRule = "calibrate"
    """``calibrate``: offset (the mean) and scale (the noise) are measured once on the first frames. ``mean`` and
    ``minimum``: the offset alone is, the scale stands in the card. ``fixed``: both stand in the card."""
    frames: int = 16
    """Frames of one plane that calibration looks at. Up to ``delay + 1`` frames it delays no answer."""
    offset: float = 0.0
    """Counts, for ``fixed``."""
    scale: float = 1.0
    """Counts per network unit, for all rules but ``calibrate``."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What an engine is. Checked on construction, then frozen."""

    name: str
    kind: Kind
    scan: tuple[Layout, ...] = ("collinear", "ordinary")
    """Layouts the engine was trained for."""
    window: int = 1
    """Frames of one inference (T)."""
    hop: int = 1
    """Frames between two inferences, and frames answered by each."""
    look_ahead: int = 0
    """Frames after the answered ones that the network sees; kind stream: each in the place of the answered one."""
    memories: tuple[float, ...] = ()
    """For `STREAMING` kinds: weight of the newest frame in each exponential average that the engine is given."""
    views: Views = "each"
    """For `STREAMING` kinds: what one inference sees of a frame. ``each``: the lines of one scan direction; there are
    two inferences. ``mean``: both directions, averaged where they see the same place; half the time, nearly as good."""
    grid: int = 1
    """Lines and pixels are padded to a multiple of this."""
    normalization: Normalization = field(default_factory=Normalization)
    training: Mapping[str, Any] = field(default_factory=dict)
    """Where the weights come from: recipe digest, recordings, steps, held-out loss."""
    version: int = CARD_VERSION

    def __post_init__(self) -> None:
        off_grid = self.grid > 0 and (self.window % self.grid or self.hop % self.grid)
        problems = [
            (self.version != CARD_VERSION, f"version {self.version}", f"version {CARD_VERSION}"),
            (self.kind not in get_args(Kind), f"kind {self.kind!r}", f"one of {', '.join(get_args(Kind))}"),
            (not self.name, "no name", "a name"),
            (
                not self.scan or any(s not in get_args(Layout) for s in self.scan),
                f"scan {self.scan}",
                f"some of {', '.join(get_args(Layout))}",
            ),
            (
                any(not isinstance(n, int) for n in (self.window, self.hop, self.look_ahead, self.grid)),
                f"window {self.window}, hop {self.hop}, look-ahead {self.look_ahead}, grid {self.grid}",
                "whole numbers",
            ),
            (self.grid < 1, f"grid {self.grid}", "at least 1"),
            (
                (self.kind not in STREAMING and not 1 <= self.hop <= self.window - self.look_ahead)
                or self.look_ahead < 0,
                f"window {self.window}, hop {self.hop}, look-ahead {self.look_ahead}",
                "1 <= hop <= window - look-ahead",
            ),
            (
                self.kind == "window" and (off_grid or self.look_ahead < 8),
                f"window {self.window}, hop {self.hop}, look-ahead {self.look_ahead} on grid {self.grid}",
                "window and hop to be multiples of the grid and a look-ahead of at least 8 frames",
            ),
            (
                (self.kind in STREAMING and (self.window, self.hop) != (1, 1))
                or (self.kind == "average" and self.look_ahead > 0),
                f"window {self.window}, hop {self.hop}, look-ahead {self.look_ahead} for kind {self.kind!r}",
                "window 1 and hop 1, and for an average look-ahead 0",
            ),
            (
                bool(self.memories) != (self.kind in STREAMING)
                or not all(isinstance(gain, float) and 0 < gain < 1 for gain in self.memories),
                f"memories {self.memories} for kind {self.kind!r}",
                "weights between 0 and 1, which kinds stream and average have and others have not",
            ),
            (self.views not in get_args(Views), f"views {self.views!r}", f"one of {', '.join(get_args(Views))}"),
            (
                self.normalization.rule not in get_args(OffsetRule),
                f"offset rule {self.normalization.rule!r}",
                f"one of {', '.join(get_args(OffsetRule))}",
            ),
            (
                not 0 < self.normalization.scale < math.inf or self.normalization.frames < 1,
                f"scale {self.normalization.scale} and {self.normalization.frames} calibration frames",
                "a positive scale and at least 1 frame",
            ),
        ]
        for wrong, came, expected in problems:
            if wrong:
                raise EngineError(
                    f"the model card of {self.name!r} says {came}",
                    expected=expected,
                    todo="export the engine again with this version of deepbid-rt",
                )

    @property
    def delay(self) -> int:
        """Frames of one plane that come after a frame before its answer is ready, at most (once calibrated)."""
        return self.hop + self.look_ahead - 1

    @property
    def depth(self) -> int:
        """Arrays of one inference: the frames of a window; of a stream as of `deepbid_rt.denoising.network_inputs.network_inputs`."""
        return self.window if self.kind not in STREAMING else 3 + len(self.memories) + self.look_ahead

    @property
    def bridge(self) -> int:
        """Missing frames of one plane from which on nothing before them is of use."""
        return self.window if self.kind not in STREAMING else math.ceil(1 / min(self.memories))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON and TOML; `from_dict` is the exact inverse."""
        data = dataclasses.asdict(self)
        data["scan"] = list(self.scan)
        data["memories"] = list(self.memories)
        return data

    def to_json(self) -> str:
        """Return the card as it stands in an ONNX file."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelCard:
        """Read a card from plain data. Raises `EngineError` naming the first wrong key or value."""
        try:
            fields = dict(data)
            fields["scan"] = tuple(fields.get("scan", ("collinear", "ordinary")))
            fields["memories"] = tuple(fields.get("memories", ()))
            fields["normalization"] = Normalization(**fields.get("normalization", {}))
            return cls(**fields)
        except TypeError as error:
            raise EngineError(
                f"a model card that cannot be read ({error})",
                expected=f"the fields of card version {CARD_VERSION}",
                todo="export the engine again with this version of deepbid-rt",
            ) from error

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card from an ONNX file's metadata. Raises `EngineError` when it is not a card."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise EngineError(
                f"a model card that is not JSON ({error})",
                expected="the JSON object that deepbid-rt export writes",
                todo="export the engine again",
            ) from error
        if not isinstance(data, dict):
            raise EngineError(
                f"a model card that is a JSON {type(data).__name__}",
                expected="the JSON object that deepbid-rt export writes",
                todo="export the engine again",
            )
        return cls.from_dict(data)
