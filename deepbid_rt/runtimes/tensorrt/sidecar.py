"""What stands beside a plan (``m.plan.json``): what it was made from, for which GPU, and what it should answer.

A plan has no room for such facts, and running a plan means running code: nothing in it is looked at before its digest
is the one written here. Knows nothing of TensorRT.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.errors import EngineError, FileError

SIDECAR_VERSION = 1
GOLDEN_VALUES = 256


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
    """All that is known of a plan. Checked on construction, then frozen."""

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
        """Return the text of the sidecar; `read_facts` is the inverse."""
        data = dataclasses.asdict(self) | {"card": self.card.to_dict()}
        return json.dumps(data, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PlanFacts:
        """Read the facts from plain data. Raises TypeError, KeyError or ValueError where they are none."""
        fields = dict(data)
        if fields.get("version") != SIDECAR_VERSION:
            raise ValueError(f"version {fields.get('version')}")
        fields["tensors"] = tuple(Tensor(**t | {"shape": tuple(t["shape"])}) for t in fields["tensors"])
        fields["golden"] = Golden(**fields["golden"] | {"values": tuple(fields["golden"]["values"])})
        fields["card"] = ModelCard.from_dict(fields["card"])
        fields["states"] = tuple(fields.get("states", ()))
        facts = cls(**fields)
        modes = sorted(tensor.mode for tensor in facts.tensors)
        if modes != ["input", "output"] or any(len(tensor.shape) not in (4, 5) for tensor in facts.tensors):
            raise ValueError(f"tensors {facts.tensors}")
        return facts


def sidecar_path(plan: Path) -> Path:
    """Return where the facts of a plan stand."""
    return plan.with_name(plan.name + ".json")


def rebuild_command(plan: Path, facts: PlanFacts | None = None) -> str:
    """Return the command that makes a plan anew."""
    if facts is None:
        return f"deepbid-rt build ENGINE.onnx -o {shlex.quote(str(plan))} --size LINESxPIXELS"
    _, rows, columns = facts.shape
    return (
        f"deepbid-rt build {shlex.quote(facts.onnx)} -o {shlex.quote(str(plan))} --size {rows}x{columns} "
        f"--precision {facts.precision}"
    )


def read_facts(plan: Path) -> PlanFacts:
    """Read the sidecar of a plan.

    Raises
    ------
    EngineError
        When the plan or its sidecar is missing, or the sidecar is not one of this version.
    """
    path = sidecar_path(plan)
    todo = f"build the plan again: {rebuild_command(plan)}"
    if not plan.is_file():
        raise EngineError(f"no plan at {plan}", expected="a plan written by deepbid-rt build", todo=todo)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "is not text" if isinstance(error, UnicodeDecodeError) else f"cannot be read ({error.strerror})"
        raise EngineError(
            f"{path}, the sidecar of the plan, {why}", expected="the file that deepbid-rt build wrote", todo=todo
        ) from error
    try:
        data = json.loads(text)
        if not isinstance(data, dict):
            raise TypeError(f"a JSON {type(data).__name__}")  # noqa: TRY301  # one refusal for all that is wrong
        return PlanFacts.from_dict(data)
    except (ValueError, TypeError, KeyError, AttributeError, EngineError) as error:
        raise EngineError(
            f"{path} is no sidecar of a plan ({_one_line(error)})",
            expected=f"the facts that deepbid-rt build writes, version {SIDECAR_VERSION}",
            todo=todo,
        ) from error


def read_plan(plan: Path, facts: PlanFacts) -> bytes:
    """Read a plan whose digest is the one that its sidecar names.

    Raises
    ------
    EngineError
        When the plan cannot be read, or is another than the one described.
    """
    todo = f"build it again: {rebuild_command(plan, facts)}"
    try:
        data = plan.read_bytes()
    except OSError as error:
        raise EngineError(
            f"the plan {plan} cannot be read ({error.strerror})", expected="a readable file", todo=todo
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != facts.plan_sha256:
        raise EngineError(
            f"the plan {plan} has SHA-256 {digest[:12]}…",
            expected=f"{facts.plan_sha256[:12]}… as its sidecar says: plan or sidecar was changed, cut or exchanged",
            todo=todo,
        )
    return data


def write_plan(plan: Path, data: bytes, facts: PlanFacts) -> None:
    """Write a plan and its sidecar; both are whole or the old ones stay.

    Raises
    ------
    FileError
        When they cannot be written.
    """
    parts = [(plan, data), (sidecar_path(plan), facts.to_json().encode())]
    temporary = [path.with_name(path.name + ".part") for path, _ in parts]
    try:
        for part, (_, content) in zip(temporary, parts, strict=True):
            part.write_bytes(content)
        for part, (path, _) in zip(temporary, parts, strict=True):
            part.replace(path)
    except OSError as error:
        raise FileError(
            f"the plan {plan} cannot be written ({error.strerror})",
            expected="an existing folder with room for it",
            todo="choose another path",
        ) from error
    finally:
        for part in temporary:
            part.unlink(missing_ok=True)


def golden_input(seed: int, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return the noise of shape (K, Y, X) that a plan's golden answer belongs to."""
    noise: NDArray[np.float32] = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return noise


def golden_values(answer: NDArray[np.float32]) -> tuple[float, ...]:
    """Return the evenly spaced values of an answer that a sidecar keeps."""
    flat = answer.ravel()
    step = max(flat.size // GOLDEN_VALUES, 1)
    return tuple(float(value) for value in flat[::step][:GOLDEN_VALUES])


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
