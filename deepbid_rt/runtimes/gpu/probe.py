"""`find_gpu`: name, compute capability and driver of the GPU, asked of the driver without torch or pycuda."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.driver import Loader, driver_library

_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_CPU = "or use the .onnx file of the engine, which needs no GPU"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as its driver describes it."""

    name: str
    capability: str
    """Compute capability: ``9.0``."""
    driver: str
    """Version of the driver and of CUDA that it supports."""


def find_gpu(load: Loader = ctypes.CDLL) -> Gpu:
    """Return the first GPU that is visible to this process (``CUDA_VISIBLE_DEVICES``).

    Raises
    ------
    EngineError
        When the driver is missing or does not answer, or there is no GPU.
    """
    try:
        cuda = driver_library(load)
    except OSError as error:
        raise EngineError(
            "no NVIDIA driver on this computer",
            expected="its library libcuda",
            todo=f"install the driver, {_CPU}",
        ) from error
    code = cuda.cuInit(0)
    count, device = ctypes.c_int(), ctypes.c_int()
    if code == 0:
        code = cuda.cuDeviceGetCount(ctypes.byref(count))
    if code == _NO_DEVICE or (code == 0 and count.value == 0):
        raise EngineError(
            "an NVIDIA driver but no GPU",
            expected="a GPU that this process may see",
            todo=f"check nvidia-smi and CUDA_VISIBLE_DEVICES, {_CPU}",
        )
    numbers = [ctypes.c_int() for _ in range(3)]
    name = ctypes.create_string_buffer(256)
    code = code or cuda.cuDeviceGet(ctypes.byref(device), 0)
    code = code or cuda.cuDeviceGetName(name, len(name), device)
    for number, attribute in zip(numbers, (_CAPABILITY_MAJOR, _CAPABILITY_MINOR), strict=False):
        code = code or cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
    code = code or cuda.cuDriverGetVersion(ctypes.byref(numbers[2]))
    if code:
        raise EngineError(
            f"an NVIDIA driver that answers with CUDA error {code}",
            expected="a working GPU",
            todo=f"check nvidia-smi, {_CPU}",
        )
    major, minor, version = (number.value for number in numbers)
    driver = f"{_driver_version(load)} (CUDA {version // 1000}.{version % 1000 // 10})"
    return Gpu(name.value.decode(), f"{major}.{minor}", driver)


def _driver_version(load: Loader) -> str:
    text = ctypes.create_string_buffer(96)
    try:
        nvml = load("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        if nvml.nvmlInit_v2() == 0 and nvml.nvmlSystemGetDriverVersion(text, len(text)) == 0:
            return text.value.decode()
    except (OSError, AttributeError):
        pass  # the version is for reports only
    return "driver of unknown version"
