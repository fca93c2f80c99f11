"""What is known of a plan beside its bytes: what it was made from, for which GPU, and what it should answer.

Knows nothing of TensorRT, and of no file.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard

SIDECAR_VERSION = 1
"""Of the facts written here, the only one that is read."""
GOLDEN_VALUES = 256
_TEXTS = ("plan_sha256", "onnx", "onnx_sha256", "tensorrt", "gpu", "capability", "driver", "precision", "built_utc")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output of a network."""

    name: str
    mode: str
    """``input`` or ``output``."""
    shape: tuple[int, ...]
    dtype: str
    """A numpy name: ``float32``."""


@dataclass(frozen=True, slots=True)
class Golden:
    """What the plan answered to known noise on the machine that built it."""

    seed: int
    values: tuple[float, ...]
    """Evenly spaced values of the answer, at most `GOLDEN_VALUES`."""
    tolerance: float
    """Largest difference of a value that is accepted."""


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """All that is known of a plan."""

    plan_sha256: str
    onnx: str
    """Name of the ONNX file."""
    onnx_sha256: str
    tensorrt: str
    """``tensorrt.__version__`` of the builder."""
    gpu: str
    capability: str
    """Compute capability, ``9.0``."""
    driver: str
    precision: str
    tensors: tuple[Tensor, ...]
    card: ModelCard
    golden: Golden
    states: tuple[str, ...] = ()
    """Tensors that a network hands from one frame to the next; the networks of this version keep none."""
    parity: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """How far the plan was from the ONNX file when it was built."""
    layers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """How many layers compute in each type, from TensorRT's inspector."""
    built_utc: str = ""
    version: int = SIDECAR_VERSION

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, Y, X) of the input that the plan takes."""
        given = next(tensor for tensor in self.tensors if tensor.mode == "input")
        depth, rows, columns = given.shape[-3:]
        return depth, rows, columns

    def to_json(self) -> str:
        """Return the facts as JSON; `from_dict` reads it back."""
        data = dataclasses.asdict(self) | {"card": self.card.to_dict()}
        return json.dumps(data, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PlanFacts:
        """Read the facts from plain data.

        Raises
        ------
        TypeError, KeyError, ValueError, OverflowError, EngineError
            Where they are none; nothing here is worth more than one refusal of the whole.
        """
        fields = dict(data)
        if fields.get("version") != SIDECAR_VERSION:
            raise ValueError(f"version {fields.get('version')}")
        fields["tensors"] = tuple(Tensor(**t | {"shape": tuple(t["shape"])}) for t in fields["tensors"])
        fields["golden"] = Golden(**fields["golden"] | {"values": tuple(fields["golden"]["values"])})
        fields["card"] = ModelCard.from_dict(fields["card"])
        fields["states"] = tuple(fields.get("states", ()))
        facts = cls(**fields)
        named = [getattr(facts, name) for name in _TEXTS]
        named += [text for tensor in facts.tensors for text in (tensor.name, tensor.mode, tensor.dtype)]
        if not all(isinstance(text, str) for text in named):
            raise TypeError("a name that is not text")
        modes = sorted(tensor.mode for tensor in facts.tensors)
        if modes != ["input", "output"] or not all(_is_shape(tensor.shape) for tensor in facts.tensors):
            raise ValueError(f"tensors {facts.tensors}")
        golden = facts.golden
        numbers = (*golden.values, golden.tolerance)
        if not (_is_count(golden.seed) and all(map(math.isfinite, numbers))):
            raise ValueError("a golden answer that is not made of numbers")
        return facts


def golden_input(seed: int, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return the noise of shape (K, Y, X) that a plan's golden answer belongs to."""
    noise: NDArray[np.float32] = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return noise


def golden_values(answer: NDArray[np.float32]) -> tuple[float, ...]:
    """Return the evenly spaced values of an answer that a sidecar keeps."""
    flat = answer.ravel()
    step = max(flat.size // GOLDEN_VALUES, 1)
    return tuple(float(value) for value in flat[::step][:GOLDEN_VALUES])


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_shape(shape: tuple[int, ...]) -> bool:
    return len(shape) in (4, 5) and all(_is_count(side) and side for side in shape)
