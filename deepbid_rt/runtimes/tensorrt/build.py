"""`build`: makes a checked plan of an ONNX engine file: specialise, build, run, compare, write."""

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
from deepbid_rt.runtimes.tensorrt.builder import BuildEffort, BuiltPlan, build_plan, count_layers
from deepbid_rt.runtimes.tensorrt.engine import TensorRtEngine
from deepbid_rt.runtimes.tensorrt.load import GpuHost
from deepbid_rt.runtimes.tensorrt.onnx_specialize import PlanPrecision, read_onnx, specialize
from deepbid_rt.runtimes.tensorrt.parity import compare_engines, inputs_from
from deepbid_rt.runtimes.tensorrt.plan_facts import GoldenAnswer, PlanFacts, TensorFacts, golden_input, golden_values
from deepbid_rt.runtimes.tensorrt.progress import BuildProgress
from deepbid_rt.runtimes.tensorrt.sidecar import write_plan
from deepbid_rt.runtimes.tensorrt.trtexec import trtexec_commands

__all__ = ["BuildEffort", "BuildProgress", "BuildSpec", "build", "read_onnx", "specialized_network", "trtexec_commands"]

GOLDEN_SEED = 0
GOLDEN_TOLERANCE = 0.05
"""Accepted difference from the golden answer, standard deviations of that answer. The same plan on the same GPU differs
only by the order of its sums."""


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """What to build."""

    onnx: Path
    plan: Path
    shape: tuple[int, int, int]
    """(K, Y, X) of the input."""
    precision: PlanPrecision
    effort: BuildEffort
    timing_cache: Path | None = None
    """None: a file beside the plan."""


def specialized_network(spec: BuildSpec, model: onnx.ModelProto, card: ModelCard) -> bytes:
    """Return the ONNX for TensorRT. Raises `EngineError` when the size or precision is impossible."""
    network: bytes = specialize(model, _input_shape(spec, card), spec.precision).SerializeToString()
    return network


def build(
    spec: BuildSpec,
    model: onnx.ModelProto,
    card: ModelCard,
    movie: Iterable[NDArray[Any]],
    progress: BuildProgress,
    host: GpuHost | None = None,
) -> PlanFacts:
    """Build a plan, compare it with the ONNX file, and write it with its sidecar.

    Parameters
    ----------
    spec : BuildSpec
        What to build.
    model, card
        The engine file, from `read_onnx`.
    movie : iterable of ndarray
        Frames (Y, X) in counts to compare on.
    progress : BuildProgress
        Gets every step, and can stop the build.
    host : GpuHost, optional
        Source of TensorRT, the GPU and its memory.

    Raises
    ------
    EngineError
        When TensorRT, GPU or driver is missing, the network cannot be built, or the plan's answers differ from
        those of the ONNX file.
    FileError
        When a file cannot be written.
    StageError
        When the build was stopped.
    """
    host = host or GpuHost()
    network = specialized_network(spec, model, card)
    trt = host.tensorrt()
    gpu = host.gpu()
    cache = spec.timing_cache or spec.plan.with_suffix(".cache")
    built = build_plan(
        trt,
        network,
        spec.effort,
        cache.read_bytes() if cache.is_file() else b"",
        progress,
        tf32=spec.precision != "fp32",
    )
    shape = _input_shape(spec, card)
    names = model.graph.input[0].name, model.graph.output[0].name
    facts = PlanFacts(
        plan_sha256=hashlib.sha256(built.plan).hexdigest(),
        onnx=str(spec.onnx),
        onnx_sha256=hashlib.sha256(spec.onnx.read_bytes()).hexdigest(),
        tensorrt=trt.__version__,
        gpu=gpu.name,
        capability=gpu.capability,
        driver=gpu.driver,
        precision=spec.precision,
        tensors=(
            TensorFacts(names[0], "input", shape, "float32"),
            TensorFacts(names[1], "output", (1, 1, *shape[2:]), "float32"),
        ),
        card=card,
        golden=GoldenAnswer(GOLDEN_SEED, (), 0.0),
        built_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    facts = _checked(spec, built, facts, movie, host)
    _write_cache(cache, built.timing_cache)
    write_plan(spec.plan, built.plan, facts)
    return facts


def _checked(
    spec: BuildSpec, built: BuiltPlan, facts: PlanFacts, movie: Iterable[NDArray[Any]], host: GpuHost
) -> PlanFacts:
    """Return the facts with golden answer, parity and layers. The unchecked plan runs from a private folder."""
    reference = OpenVinoEngine(spec.onnx, precision="f32")
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / spec.plan.name
        write_plan(trial, built.plan, facts)
        engine = TensorRtEngine(trial, trust=True, host=host, golden=False)
        try:
            inputs = inputs_from(reference, movie, facts.shape[1:])
            parity = compare_engines(engine, reference, inputs)
            answer = engine.infer(golden_input(GOLDEN_SEED, facts.shape)).copy()
            layers = count_layers(engine.inspect())
        finally:
            engine.close()
            reference.close()
    golden = GoldenAnswer(GOLDEN_SEED, golden_values(answer), GOLDEN_TOLERANCE * max(float(np.std(answer)), 0.01))
    return dataclasses.replace(facts, golden=golden, parity=parity, layers=layers)


def _input_shape(spec: BuildSpec, card: ModelCard) -> tuple[int, ...]:
    return (1, *spec.shape) if card.kind == "stream" else (1, 1, *spec.shape)


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
