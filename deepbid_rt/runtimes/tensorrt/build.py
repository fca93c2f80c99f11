"""The whole way from an ONNX engine file to a checked plan: specialise, build, run, compare, write."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.errors import FileError
from deepbid_rt.runtimes.openvino import OpenVinoEngine
from deepbid_rt.runtimes.tensorrt.builder import Built, Effort, build_plan, count_layers
from deepbid_rt.runtimes.tensorrt.check import compare, inputs_from
from deepbid_rt.runtimes.tensorrt.engine import TensorRtEngine
from deepbid_rt.runtimes.tensorrt.facts import Golden, PlanFacts, Tensor, golden_input, golden_values
from deepbid_rt.runtimes.tensorrt.load import Host
from deepbid_rt.runtimes.tensorrt.onnx_specialize import PlanPrecision, read_onnx, specialize
from deepbid_rt.runtimes.tensorrt.progress import BuildProgress
from deepbid_rt.runtimes.tensorrt.sidecar import write_plan
from deepbid_rt.runtimes.tensorrt.trtexec import trtexec_commands

__all__ = ["BuildProgress", "BuildSpec", "Effort", "build", "network_of", "read_onnx", "trtexec_commands"]

GOLDEN_SEED = 0
GOLDEN_TOLERANCE = 0.05
"""Standard deviations of the noise; the same plan on the same GPU answers the same, within the order of its sums."""


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """What to build."""

    onnx: Path
    plan: Path
    shape: tuple[int, int, int]
    """(K, Y, X) of the input."""
    precision: PlanPrecision
    effort: Effort
    timing_cache: Path | None = None
    """Beside the plan when None."""


def network_of(order: BuildSpec, master: onnx.ModelProto, card: ModelCard) -> bytes:
    """Return the ONNX that TensorRT is given. Raises `EngineError` when the size or precision is impossible."""
    network: bytes = specialize(master, _input_shape(order, card), order.precision).SerializeToString()
    return network


def build(
    order: BuildSpec,
    master: onnx.ModelProto,
    card: ModelCard,
    movie: Iterable[NDArray[Any]],
    progress: BuildProgress,
    host: Host | None = None,
) -> PlanFacts:
    """Build a plan, compare it with the ONNX file, and write it with its sidecar.

    Parameters
    ----------
    order : BuildSpec
        What to build.
    master, card
        The engine file, as `read_onnx` gives it.
    movie : iterable of ndarray
        Frames (Y, X) in counts to compare on.
    progress : BuildProgress
        Told about every step; stops the build.
    host : Host, optional
        Where TensorRT, the GPU and its memory come from.

    Raises
    ------
    EngineError
        When TensorRT, GPU or driver is missing, the network cannot be built, or the plan answers otherwise.
    FileError
        When a file cannot be written.
    StageError
        When the build was stopped.
    """
    host = host or Host()
    network = network_of(order, master, card)
    trt = host.tensorrt()
    gpu = host.gpu()
    cache = order.timing_cache or order.plan.with_suffix(".cache")
    built = build_plan(
        trt,
        network,
        order.effort,
        cache.read_bytes() if cache.is_file() else b"",
        progress,
        tf32=order.precision != "fp32",
    )
    shape = _input_shape(order, card)
    names = master.graph.input[0].name, master.graph.output[0].name
    facts = PlanFacts(
        plan_sha256=hashlib.sha256(built.plan).hexdigest(),
        onnx=str(order.onnx),
        onnx_sha256=hashlib.sha256(order.onnx.read_bytes()).hexdigest(),
        tensorrt=trt.__version__,
        gpu=gpu.name,
        capability=gpu.capability,
        driver=gpu.driver,
        precision=order.precision,
        tensors=(
            Tensor(names[0], "input", shape, "float32"),
            Tensor(names[1], "output", (1, 1, *shape[2:]), "float32"),
        ),
        card=card,
        golden=Golden(GOLDEN_SEED, (), 0.0),
        built_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    facts = _checked(order, built, facts, movie, host)
    _write_cache(cache, built.timing_cache)
    write_plan(order.plan, built.plan, facts)
    return facts


def _checked(order: BuildSpec, built: Built, facts: PlanFacts, movie: Iterable[NDArray[Any]], host: Host) -> PlanFacts:
    """Run the plan from a private folder, so that nothing unchecked ever stands under its name."""
    reference = OpenVinoEngine(order.onnx, precision="f32")
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / order.plan.name
        write_plan(trial, built.plan, facts)
        engine = TensorRtEngine(trial, trust=True, host=host, golden=False)
        try:
            inputs = inputs_from(reference, movie, facts.shape[1:])
            parity = compare(engine, reference, inputs)
            answer = engine.infer(golden_input(GOLDEN_SEED, facts.shape)).copy()
            layers = count_layers(engine.inspect())
        finally:
            engine.close()
            reference.close()
    golden = Golden(GOLDEN_SEED, golden_values(answer), GOLDEN_TOLERANCE * max(float(np.std(answer)), 0.01))
    return dataclasses.replace(facts, golden=golden, parity=parity, layers=layers)


def _input_shape(order: BuildSpec, card: ModelCard) -> tuple[int, ...]:
    return (1, *order.shape) if card.kind == "stream" else (1, 1, *order.shape)


def _write_cache(path: Path, data: bytes) -> None:
    if not data:
        return
    try:
        path.write_bytes(data)
    except OSError as error:
        raise FileError(
            f"the timing cache {path} cannot be written ({error.strerror})",
            expected="a folder with room for it",
            todo="name another file with --timing-cache",
        ) from error
