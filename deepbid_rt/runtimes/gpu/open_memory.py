"""`open_memory`: the memory of the GPU, through the library that is installed."""

from __future__ import annotations

import importlib.util
from typing import Literal

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.protocols import DeviceMemory

MemoryOwner = Literal["auto", "torch", "pycuda"]


def open_memory(owner: MemoryOwner = "auto") -> DeviceMemory:
    """Open the memory of the GPU.

    Parameters
    ----------
    owner : {"auto", "torch", "pycuda"}
        Library that allocates the memory. ``auto``: torch where it is installed with CUDA, because it captures CUDA
        graphs; otherwise pycuda.

    Raises
    ------
    EngineError
        When neither library is installed, or the one asked for cannot use the GPU.
    """
    if owner in ("auto", "torch") and importlib.util.find_spec("torch"):
        from deepbid_rt.runtimes.gpu.torch_memory import TorchMemory, cuda_is_available

        if owner == "torch" or cuda_is_available():
            return TorchMemory()
    if owner in ("auto", "pycuda") and importlib.util.find_spec("pycuda"):
        from deepbid_rt.runtimes.gpu.pycuda_memory import PycudaMemory

        return PycudaMemory()
    raise EngineError(
        "no library that can own the GPU's memory" if owner == "auto" else f"{owner} cannot be used here",
        expected="pycuda, or torch built for CUDA",
        todo='run pip install "deepbid-rt[tensorrt]", or use the .onnx file of the engine, which needs no GPU',
    )
