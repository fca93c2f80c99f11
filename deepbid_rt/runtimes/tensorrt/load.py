"""`load_plan`: checks a plan and loads it onto the GPU.

The checks in order: sidecar, trust, digest, header, TensorRT and its version, GPU, deserialisation, inputs and outputs.
The last check, the golden answer, runs the engine (`deepbid_rt.runtimes.tensorrt.engine`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.open_memory import open_memory
from deepbid_rt.runtimes.gpu.probe import Gpu, find_gpu
from deepbid_rt.runtimes.gpu.protocols import DeviceMemory
from deepbid_rt.runtimes.tensorrt.api import CudaEngine, TensorRt, import_tensorrt
from deepbid_rt.runtimes.tensorrt.header import read_header, strip_prefix
from deepbid_rt.runtimes.tensorrt.log import Messages, create_with_logger, make_logger
from deepbid_rt.runtimes.tensorrt.plan_facts import PlanFacts, TensorFacts
from deepbid_rt.runtimes.tensorrt.sidecar import read_facts, read_plan, rebuild_command

FOLDER_VARIABLE = "DEEPBID_RT_ENGINES"
"""Environment variable that names the folder whose plans are trusted."""


@dataclass(frozen=True)
class GpuHost:
    """Sources of TensorRT, the GPU and its memory on this computer; tests replace them by simulated ones."""

    tensorrt: Callable[[], TensorRt] = import_tensorrt
    gpu: Callable[[], Gpu] = find_gpu
    memory: Callable[[], DeviceMemory] = open_memory


@dataclass(frozen=True)
class LoadedPlan:
    """A plan on the GPU, and everything that must exist as long as it does."""

    facts: PlanFacts
    tensorrt: str
    gpu: Gpu
    memory: DeviceMemory
    engine: CudaEngine
    messages: Messages
    rebuild: str
    json: Any
    """TensorRT's constant for the inspector's JSON format."""
    kept: tuple[Any, ...]


def engines_folder() -> Path:
    """Return the folder whose plans are trusted: ``DEEPBID_RT_ENGINES``, or ``.deepbid-rt/engines`` at home."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else Path.home() / ".deepbid-rt" / "engines"


def load_plan(path: Path, *, trust: bool = False, host: GpuHost | None = None) -> LoadedPlan:
    """Load a plan onto the GPU.

    Parameters
    ----------
    path : Path
        The plan, with its sidecar beside it.
    trust : bool
        Accept a plan from any folder. Deserialising a plan runs code that is in it on this computer.
    host : GpuHost, optional
        Source of TensorRT, the GPU and its memory.

    Raises
    ------
    EngineError
        At the first check that fails; the message ends with the command that builds the plan again.
    """
    host = host or GpuHost()
    facts = read_facts(path)
    rebuild = rebuild_command(path, facts)
    _check_trust(path, trust)
    data = strip_prefix(read_plan(path, facts))
    header = read_header(data, str(path), rebuild)
    trt = host.tensorrt()
    if not header.matches(trt.__version__) or facts.tensorrt != trt.__version__:
        raise EngineError(
            f"{path} was built by TensorRT {facts.tensorrt} (its header says {header})",
            expected=f"TensorRT {trt.__version__}, which is installed here",
            todo=f"build it again: {rebuild}",
        )
    gpu = host.gpu()
    if gpu.capability != facts.capability:
        raise EngineError(
            f"{path} was built for {facts.gpu} (compute capability {facts.capability})",
            expected=f"a plan for {gpu.name} (compute capability {gpu.capability})",
            todo=f"build it again on this computer: {rebuild}",
        )
    memory = host.memory()
    try:
        return _deserialize(path, data, facts, trt, gpu, memory)
    except BaseException:
        memory.close()
        raise


def _deserialize(
    path: Path, data: bytes, facts: PlanFacts, trt: TensorRt, gpu: Gpu, memory: DeviceMemory
) -> LoadedPlan:
    rebuild = rebuild_command(path, facts)
    messages = Messages()
    logger = make_logger(trt, messages)
    with memory.current():
        runtime = create_with_logger(trt.Runtime, logger, messages)
        engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise messages.refuse(
            f"TensorRT {trt.__version__} does not take {path}",
            expected="a plan built by this TensorRT on this GPU",
            todo=f"build it again: {rebuild}",
        )
    _check_tensors(trt, engine, facts.tensors, f"{path}", rebuild)
    return LoadedPlan(
        facts,
        trt.__version__,
        gpu,
        memory,
        engine,
        messages,
        rebuild,
        trt.LayerInformationFormat.JSON,
        (logger, runtime),
    )


def _check_trust(path: Path, trust: bool) -> None:
    folder = engines_folder()
    if trust or path.resolve().is_relative_to(folder.resolve()):
        return
    raise EngineError(
        f"the plan {path} lies outside the engines folder, and a plan is a program",
        expected=f"a plan in {folder}",
        todo=f"move it there if you built it (or set {FOLDER_VARIABLE}), or say trust (--trust, trust=True)",
    )


def _check_tensors(trt: TensorRt, engine: CudaEngine, expected: Sequence[TensorFacts], name: str, rebuild: str) -> None:
    modes = {trt.TensorIOMode.INPUT: "input", trt.TensorIOMode.OUTPUT: "output"}
    found = []
    for index in range(engine.num_io_tensors):
        tensor = engine.get_tensor_name(index)
        dtype = "float32" if engine.get_tensor_dtype(tensor) == trt.DataType.FLOAT else "other"
        mode = modes.get(engine.get_tensor_mode(tensor), "other")
        found.append(TensorFacts(tensor, mode, tuple(engine.get_tensor_shape(tensor)), dtype))
        plain = engine.get_tensor_format(tensor) == trt.TensorFormat.LINEAR
        if not plain or engine.get_tensor_location(tensor) != trt.TensorLocation.DEVICE:
            raise EngineError(
                f"{name} needs its tensor {tensor!r} in another layout or place",
                expected="plain arrays on the GPU",
                todo=f"build it again: {rebuild}",
            )
    if sorted(found, key=str) != sorted(expected, key=str):
        raise EngineError(
            f"{name} has {_described(found)}",
            expected=f"{_described(expected)}, as its sidecar says",
            todo=f"build it again: {rebuild}",
        )


def _described(tensors: Sequence[TensorFacts]) -> str:
    return " and ".join(f"{t.mode} {t.name!r} {t.dtype} {t.shape}" for t in tensors) or "no tensors"
