"""`PlanFacts`: what a plan was built from, for which GPU, and what it should answer; the content of its sidecar."""

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
"""Version of the facts; no other version is read."""
GOLDEN_VALUES = 256
"""Most values of the golden answer that are kept."""
_TEXTS = ("plan_sha256", "onnx", "onnx_sha256", "tensorrt", "gpu", "capability", "driver", "precision", "built_utc")


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """One input or output of a network."""

    name: str
    mode: str
    """``input`` or ``output``."""
    shape: tuple[int, ...]
    dtype: str
    """A numpy name: ``float32``."""


@dataclass(frozen=True, slots=True)
class GoldenAnswer:
    """The plan's answer to known noise on the machine that built it."""

    seed: int
    values: tuple[float, ...]
    """Evenly spaced values of the answer, at most `GOLDEN_VALUES`."""
    tolerance: float
    """Largest accepted difference of a value."""


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """Facts about a plan."""

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
    tensors: tuple[TensorFacts, ...]
    card: ModelCard
    golden: GoldenAnswer
    states: tuple[str, ...] = ()
    """Tensors that a network passes from one frame to the next; networks of this version have none."""
    parity: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Difference of the plan from the ONNX file when it was built, from `tensorrt.check.compare_engines`."""
    layers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Number of layers that compute in each type, from TensorRT's inspector."""
    built_utc: str = ""
    version: int = SIDECAR_VERSION

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, Y, X) of the input that the plan takes."""
        inputs = next(tensor for tensor in self.tensors if tensor.mode == "input")
        depth, rows, columns = inputs.shape[-3:]
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
            When the data are no facts of a plan.
        """
        fields = dict(data)
        if fields.get("version") != SIDECAR_VERSION:
            raise ValueError(f"version {fields.get('version')}")
        fields["tensors"] = tuple(TensorFacts(**t | {"shape": tuple(t["shape"])}) for t in fields["tensors"])
        fields["golden"] = GoldenAnswer(**fields["golden"] | {"values": tuple(fields["golden"]["values"])})
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
    """Return the noise (K, Y, X) whose answer is the golden answer."""
    noise: NDArray[np.float32] = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return noise


def golden_values(answer: NDArray[np.float32]) -> tuple[float, ...]:
    """Return evenly spaced values of an answer, at most `GOLDEN_VALUES`, for the sidecar."""
    flat = answer.ravel()
    step = max(flat.size // GOLDEN_VALUES, 1)
    return tuple(float(value) for value in flat[::step][:GOLDEN_VALUES])


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_shape(shape: tuple[int, ...]) -> bool:
    return len(shape) in (4, 5) and all(_is_count(side) and side for side in shape)
