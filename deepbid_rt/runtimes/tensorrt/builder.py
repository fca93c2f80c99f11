"""`build_plan`: builds a plan from a specialised network, strongly typed, with TensorRT 10 or 11."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

from deepbid_rt.errors import EngineError, StageError
from deepbid_rt.runtimes.tensorrt.api import BuilderConfig, TensorRt
from deepbid_rt.runtimes.tensorrt.log import Messages, create_with_logger, make_logger
from deepbid_rt.runtimes.tensorrt.progress import BuildProgress, make_monitor

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuildEffort:
    """Time and memory that TensorRT may use to find fast layers."""

    level: int = 5
    """Optimisation level, 0 (quick) to 5 (slow to build)."""
    workspace_bytes: int = 1 << 30
    """Most memory that one layer may use at run time."""


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """Result of a build."""

    plan: bytes
    timing_cache: bytes


def build_plan(
    trt: TensorRt, network: bytes, effort: BuildEffort, timing_cache: bytes, progress: BuildProgress, *, tf32: bool
) -> BuiltPlan:
    """Build a plan.

    Parameters
    ----------
    trt : TensorRt
        The module.
    network : bytes
        ONNX with fixed sizes, from `deepbid_rt.runtimes.tensorrt.onnx_specialize.specialize`.
    effort : BuildEffort
        Level and workspace.
    timing_cache : bytes
        From an earlier build on this GPU; empty for none. One that does not fit is ignored.
    progress : BuildProgress
        Gets every step, and can stop the build.
    tf32 : bool
        Whether float32 convolutions may use TF32, which rounds their factors to 10 bits.

    Raises
    ------
    EngineError
        When TensorRT cannot parse or build the network; the message quotes TensorRT.
    StageError
        When the build was stopped.
    """
    messages = Messages()
    logger = make_logger(trt, messages)
    builder = create_with_logger(trt.Builder, logger, messages)
    typed = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(typed, logger)
    if not parser.parse(network):
        reasons = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise EngineError(
            f"TensorRT {trt.__version__} cannot read the network ({reasons or messages.explain()})",
            expected="a network of layers that it knows",
            todo="export the engine again, or report this with the TensorRT version",
        )
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, effort.workspace_bytes)
    config.builder_optimization_level = effort.level
    config.max_aux_streams = 0  # one stream, for predictable latency and for capture as a CUDA graph
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.progress_monitor = monitor = make_monitor(trt, progress)
    if not tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    _use_cache(config, timing_cache, messages)
    plan = builder.build_serialized_network(typed, config)
    if plan is None:
        if progress.stopped:
            raise StageError(
                "the build was stopped", expected="a plan", todo="run the command again; nothing was written"
            )
        raise messages.refuse(
            f"TensorRT {trt.__version__} cannot build the network",
            expected="a plan",
            todo="give it more memory with --workspace, or another --precision",
        )
    del monitor
    cache = config.get_timing_cache()
    data = bytes(plan)
    return BuiltPlan(data, bytes(cache.serialize()) if cache is not None else b"")


def _use_cache(config: BuilderConfig, data: bytes, messages: Messages) -> None:
    fits = config.set_timing_cache(config.create_timing_cache(data), False)
    if not fits:
        log.warning("the timing cache does not fit this GPU and TensorRT; a new one is begun (%s)", messages.explain())
        config.set_timing_cache(config.create_timing_cache(b""), False)
    messages.reset()


def count_layers(text: str) -> dict[str, int]:
    """Count the layers of an inspector's JSON by the types of their first outputs.

    Parameters
    ----------
    text : str
        From ``EngineInspector.get_engine_information``; 10 writes type and order as one word, 11 as two.
    """
    try:
        layers = json.loads(text).get("Layers", [])
    except (ValueError, AttributeError):
        return {}
    return dict(Counter(_type_of(layer) for layer in layers))


def _type_of(layer: Any) -> str:
    outputs = layer.get("Outputs", []) if isinstance(layer, dict) else []
    if not outputs or not isinstance(outputs[0], dict):
        return "not told"
    return str(outputs[0].get("DataType") or outputs[0].get("Format/Datatype") or outputs[0].get("Format", "not told"))
