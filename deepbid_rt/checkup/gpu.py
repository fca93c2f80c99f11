"""The GPU and TensorRT."""

from __future__ import annotations

from collections.abc import Callable

from deepbid_rt.checkup.finding import Finding
from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.open_memory import open_memory
from deepbid_rt.runtimes.gpu.probe import Gpu, find_gpu
from deepbid_rt.runtimes.gpu.protocols import DeviceMemory
from deepbid_rt.runtimes.tensorrt.api import TensorRt, import_tensorrt


def check_gpu(
    find: Callable[[], Gpu] = find_gpu,
    tensorrt: Callable[[], TensorRt] = import_tensorrt,
    memory: Callable[[], DeviceMemory] = open_memory,
) -> list[Finding]:
    """Look at driver, GPU, TensorRT and the package that hands it memory. Without a GPU the rest is not looked at.

    Sessions run without all of these, on the processor: what is missing is a warning.
    """
    try:
        gpu = find()
    except EngineError as error:
        return [Finding("GPU", "warning", f"{error.came}: engines run on the processor", error.todo)]
    found = [Finding("GPU", "ok", f"{gpu.name}, compute capability {gpu.capability}, {gpu.driver}")]
    try:
        found.append(Finding("TensorRT", "ok", f"version {tensorrt().__version__}"))
    except EngineError as error:
        came = error.came.removeprefix("a plan, but ")
        return [*found, Finding("TensorRT", "warning", f"{came}: .plan files do not run", error.todo)]
    try:
        memory()
        found.append(Finding("GPU memory", "ok", "can be used from Python"))
    except EngineError as error:
        found.append(Finding("GPU memory", "warning", error.came, error.todo))
    return found
