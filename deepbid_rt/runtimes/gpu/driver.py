"""The CUDA driver itself, as far as it loads a program of kernels and runs them: for any owner of the GPU's memory.

Five functions of ``libcuda``, called through ctypes, so that neither a compiler nor torch is needed where frames are
denoised. Knows nothing of what the kernels compute. ``tests/stand_in_cuda`` is a library of the same functions for a
host without a GPU.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.device_memory import Extent, Queue, cuda_failed

_HANDLE = ctypes.c_void_p
_PROTOTYPES: dict[str, list[Any] | None] = {
    "cuModuleLoadData": [ctypes.POINTER(_HANDLE), ctypes.c_char_p],
    "cuModuleUnload": [_HANDLE],
    "cuModuleGetFunction": [ctypes.POINTER(_HANDLE), _HANDLE, ctypes.c_char_p],
    "cuLaunchKernel": None,
    "cuGetErrorString": [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)],
}
"""What is used of the driver, and what it takes; all return a code, 0 when they succeed. A launch, the one call
of every frame, is told in the types of ctypes to begin with: to convert them each time is a third of the call."""

Loader = Callable[[str], Any]


def driver_library(load: Loader = ctypes.CDLL) -> Any:
    """Return the driver's library. Raises `OSError` where there is none."""
    return load("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


class Kernels:
    """A program on the GPU.

    Parameters
    ----------
    program : bytes
        PTX, which the driver compiles for its GPU.
    current : callable
        Returns a context in which this thread's CUDA calls meet the GPU.
    stream : int
        Handle of the stream that kernels are queued on.
    library : ctypes.CDLL, optional
        The driver's, if left out.

    Raises
    ------
    EngineError
        When the driver is missing, or does not take the program.
    """

    def __init__(
        self, program: bytes, current: Callable[[], AbstractContextManager[object]], stream: int, library: Any = None
    ) -> None:
        self._current, self._stream = current, stream
        try:
            self._cuda = library or driver_library()
        except OSError as error:
            raise EngineError(
                "no NVIDIA driver on this computer", expected="its library libcuda", todo="install the driver"
            ) from error
        for name, arguments in _PROTOTYPES.items():
            function = getattr(self._cuda, name)
            function.argtypes, function.restype = arguments, ctypes.c_int
        self._module: Any = _HANDLE()
        with current():
            code = self._cuda.cuModuleLoadData(ctypes.byref(self._module), program)
        if code:
            raise EngineError(
                f"the NVIDIA driver does not take the kernels ({self._explain(code)})",
                expected="driver 530 or later, and a GPU of compute capability 7.5 or later",
                todo="update the driver",
            )

    def bind(self, name: str, grid: Extent, block: Extent, *arguments: ctypes.Structure) -> Queue:
        """Return what queues a kernel on the stream; to be called inside `current`.

        Parameters
        ----------
        name : str
            Of the kernel.
        grid, block : tuple of int
            Blocks of the grid and threads of a block, along x, y and z.
        arguments : ctypes.Structure
            Passed by value, as they are whenever the kernel is queued.

        Raises
        ------
        EngineError
            When the program has no such kernel. What is returned raises `StageError` when the GPU refuses the launch.
        """
        function = _HANDLE()
        with self._current():
            code = self._cuda.cuModuleGetFunction(ctypes.byref(function), self._module, name.encode())
        if code:
            raise EngineError(
                f"a program without kernel {name!r} ({self._explain(code)})",
                expected="the kernels that this version of deepbid-rt came with",
                todo="install deepbid-rt again",
            )
        places = (_HANDLE * len(arguments))(*map(ctypes.addressof, arguments))
        launch = self._cuda.cuLaunchKernel
        told = (function, *map(ctypes.c_uint, (*grid, *block, 0)), _HANDLE(self._stream), places, None)

        def queue() -> None:
            code = launch(*told)
            if code:
                raise cuda_failed(RuntimeError(f"kernel {name}: {self._explain(code)}"))

        queue.arguments = arguments  # type: ignore[attr-defined]  # the driver reads them where they are
        return queue

    def close(self) -> None:
        """Give the program back; may be called twice."""
        if self._module:
            module, self._module = self._module, None
            with self._current():
                self._cuda.cuModuleUnload(module)

    def _explain(self, code: int) -> str:
        text = ctypes.c_char_p()
        self._cuda.cuGetErrorString(code, ctypes.byref(text))
        return f"CUDA error {code}: {(text.value or b'unknown').decode()}"
