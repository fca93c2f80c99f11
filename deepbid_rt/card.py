"""The model card: what an engine file is, what input it needs, and what it returns.

The card is stored as JSON inside the ONNX file (metadata key `METADATA_KEY`) and beside the engine as ``card.toml``.
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

# A card comes with a file that anybody may have made. It says how much memory a series takes, so it has bounds.
MAX_TEXT = 2**18
"""Characters of a card; those of the shipped engines have 700."""
MAX_DEPTH = 8
"""Levels of what is within `ModelCard.training`; lists of recordings have one."""
MAX_NAME = 100
"""Characters of a name, which stands in every table and message."""
MAX_WINDOW = 1024
"""Frames of a window: several times the longest window of published networks, 150 to 300 frames."""
MAX_LOOK_AHEAD = 64
"""Later frames of a stream engine: two seconds at 30 Hz, and each one is aligned for every frame."""
MAX_MEMORIES = 16
"""Temporal averages. Each is updated and read for every frame; the shipped engines have three."""
MIN_GAIN = 1e-4
"""Least weight of the newest frame: an average over ten thousand frames, more than five minutes."""
MAX_GRID = 256
"""Frames are padded to multiples of this: at most to 256 lines and pixels more."""
MAX_CALIBRATION_FRAMES = 1024
"""Frames that wait in memory until the calibration is complete; half a minute at 30 Hz."""
MAX_COUNT = 1e9
"""Largest offset and scale, counts, and the inverse of the least scale: 16-bit counts, and floats of any sane unit."""

EngineKind = Literal["window", "stream", "average", "echo"]
"""``window``: a network over a window of frames, as in the papers. ``stream``: a network over one frame and temporal
averages. ``average``: no network, the mean of the frame and its temporal averages. ``echo``: returns its input."""
ViewInput = Literal["each", "mean"]
"""What one inference of a stream engine gets of a frame, see `ModelCard.views`."""
STREAMING: tuple[EngineKind, ...] = ("stream", "average")
"""Kinds whose input is one frame with motion-compensated averages of all frames before it."""
OffsetRule = Literal["calibrate", "mean", "minimum", "fixed"]
"""How offset and scale are found, see `Normalization.rule`."""


@dataclass(frozen=True, slots=True)
class Normalization:
    """How raw counts become network units: ``(counts - offset) / scale``, with constants for a whole series."""

    rule: OffsetRule = "calibrate"
    """``calibrate``: offset (the mean) and scale (the noise) are measured once, on the first frames. ``mean``,
    ``minimum``: only the offset is measured, and the scale comes from the card. ``fixed``: both come from the card."""
    frames: int = 16
    """Frames of one plane that the calibration uses. With up to ``delay + 1`` frames it delays no output."""
    offset: float = 0.0
    """Counts, for ``fixed``."""
    scale: float = 1.0
    """Counts per network unit, for all rules but ``calibrate``."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Description of an engine. The constructor checks it and raises `EngineError` naming the first wrong field."""

    name: str
    kind: EngineKind
    scan: tuple[Layout, ...] = ("collinear", "ordinary")
    """Scan layouts that the engine was trained for."""
    window: int = 1
    """Frames in one inference (T)."""
    hop: int = 1
    """Frames between two inferences; also the number of frames that each inference denoises."""
    look_ahead: int = 0
    """Later frames that the network sees with the frames it denoises. Kind stream: they are aligned to the denoised
    frame."""
    memories: tuple[float, ...] = ()
    """For `STREAMING` kinds: weight of the newest frame in each of the temporal averages in the engine's input."""
    views: ViewInput = "each"
    """For `STREAMING` kinds: what one inference sees of a frame. ``each``: the lines of one scan direction, so that a
    frame takes two inferences. ``mean``: both directions, averaged where they scan the same tissue; this takes half the
    time and is nearly as good."""
    grid: int = 1
    """Height and width of the input are padded to multiples of this number."""
    normalization: Normalization = field(default_factory=Normalization)
    training: Mapping[str, Any] = field(default_factory=dict)
    """How the weights were trained: recipe digest, recordings, steps, held-out loss."""
    version: int = CARD_VERSION

    def __post_init__(self) -> None:
        off_grid = self.grid > 0 and (self.window % self.grid or self.hop % self.grid)
        problems = [
            (self.version != CARD_VERSION, f"version {self.version}", f"version {CARD_VERSION}"),
            (
                self.kind not in get_args(EngineKind),
                f"kind {self.kind!r}",
                f"one of {', '.join(get_args(EngineKind))}",
            ),
            (not self.name, "no name", "a name"),
            (
                not isinstance(self.name, str) or len(self.name) > MAX_NAME or not self.name.isprintable(),
                "a name that is too long or no text",
                f"up to {MAX_NAME} printable characters",
            ),
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
            (self.grid > MAX_GRID, f"grid {self.grid}", f"at most {MAX_GRID}"),
            (
                self.window > MAX_WINDOW or self.look_ahead > MAX_WINDOW,
                f"window {self.window} and look-ahead {self.look_ahead}",
                f"at most {MAX_WINDOW} frames",
            ),
            (
                self.kind in STREAMING and self.look_ahead > MAX_LOOK_AHEAD,
                f"look-ahead {self.look_ahead} for kind {self.kind!r}",
                f"at most {MAX_LOOK_AHEAD} frames",
            ),
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
                "weights between 0 and 1 for kinds stream and average, and none for the other kinds",
            ),
            (
                len(self.memories) > MAX_MEMORIES or any(gain < MIN_GAIN for gain in self.memories),
                f"{len(self.memories)} memories, the least of them {min(self.memories, default=1.0)}",
                f"up to {MAX_MEMORIES} memories of at least {MIN_GAIN}",
            ),
            (
                self.views not in get_args(ViewInput),
                f"views {self.views!r}",
                f"one of {', '.join(get_args(ViewInput))}",
            ),
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
            (
                not isinstance(self.normalization.frames, int) or self.normalization.frames > MAX_CALIBRATION_FRAMES,
                f"{self.normalization.frames} calibration frames",
                f"a whole number, at most {MAX_CALIBRATION_FRAMES}, because these frames wait in memory",
            ),
            (
                not 1 / MAX_COUNT <= self.normalization.scale <= MAX_COUNT
                or not -MAX_COUNT <= self.normalization.offset <= MAX_COUNT,  # False for NaN
                f"offset {self.normalization.offset} and scale {self.normalization.scale}",
                f"an offset and a scale of at most {MAX_COUNT:g} counts",
            ),
            (
                not isinstance(self.training, Mapping) or _depth(self.training) > MAX_DEPTH,
                "facts about its training that are no table, or nested deep",
                f"a table of up to {MAX_DEPTH} levels",
            ),
        ]
        for wrong, came, expected in problems:
            if wrong:
                raise EngineError(
                    f"the model card of {_short(repr(self.name))} says {_short(came)}",
                    expected=expected,
                    todo="export the engine again with this version of deepbid-rt",
                )

    @property
    def delay(self) -> int:
        """Largest number of later frames of the plane that must arrive before a frame is ready (once calibrated)."""
        return self.hop + self.look_ahead - 1

    @property
    def depth(self) -> int:
        """K, the number of images in one input of the engine.

        For `STREAMING` kinds these are the images that `deepbid_rt.denoising.network_inputs.network_inputs` stacks.
        """
        return self.window if self.kind not in STREAMING else 3 + len(self.memories) + self.look_ahead

    @property
    def reset_gap(self) -> int:
        """Length of the shortest gap, in frames of one plane, that the temporal state is not held over.

        A gap as long as the window leaves nothing of it. One of ``1 / gain`` frames leaves 37 % of the weight of the
        slowest temporal average.
        """
        return self.window if self.kind not in STREAMING else math.ceil(1 / min(self.memories))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON and TOML; `from_dict` is the exact inverse."""
        data = dataclasses.asdict(self)
        data["scan"] = list(self.scan)
        data["memories"] = list(self.memories)
        return data

    def to_json(self) -> str:
        """Return the JSON text that is stored in an ONNX file."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelCard:
        """Read a card from plain data. Raises `EngineError` for unknown fields and wrong values."""
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
        """Read a card from the metadata of an ONNX file. Raises `EngineError` when the text is not a card."""
        if len(text) > MAX_TEXT:
            raise EngineError(
                f"a model card of {len(text)} characters",
                expected=f"at most {MAX_TEXT}",
                todo="export the engine again",
            )
        try:
            data = json.loads(text)
        except RecursionError as error:
            raise EngineError(
                "a model card that is nested too deep to be read",
                expected=f"up to {MAX_DEPTH} levels",
                todo="export the engine again",
            ) from error
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


def _depth(value: object) -> int:
    """Return the number of levels of tables and lists in a value; it stops counting beyond `MAX_DEPTH`."""
    level, depth = [value], 0
    while depth <= MAX_DEPTH:
        inner = [item for item in level if isinstance(item, Mapping | list | tuple)]
        if not inner:
            break
        depth += 1
        level = [each for item in inner for each in (item.values() if isinstance(item, Mapping) else item)]
    return depth


def _short(text: str) -> str:
    """Cut a text from a file that anybody may have made to what fits in a message."""
    return text if len(text) <= MAX_NAME + 50 else f"{text[: MAX_NAME + 47]}..."
