"""`CudaProgram`: loads kernels with the CUDA driver and launches them, whichever library owns the GPU's memory.

It calls five functions of ``libcuda`` through ctypes, so neither a compiler nor torch is needed where frames are
denoised. ``tests/stand_in_cuda`` provides the same functions on a host without a GPU.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.cuda_errors import cuda_failed
from deepbid_rt.runtimes.gpu.protocols import Extent, Launch

_HANDLE = ctypes.c_void_p
_PROTOTYPES: dict[str, list[Any] | None] = {
    "cuModuleLoadData": [ctypes.POINTER(_HANDLE), ctypes.c_char_p],
    "cuModuleUnload": [_HANDLE],
    "cuModuleGetFunction": [ctypes.POINTER(_HANDLE), _HANDLE, ctypes.c_char_p],
    "cuLaunchKernel": None,
    "cuGetErrorString": [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)],
}
"""Functions of the driver and the types of their arguments; all return a code, 0 for success. ``cuLaunchKernel`` has no
types here: it is the only call that every frame makes, and converting its arguments would take a third of the call.
`CudaProgram.bind` converts them once."""

Loader = Callable[[str], Any]


def driver_library(load: Loader = ctypes.CDLL) -> Any:
    """Return the driver's library. Raises `OSError` where there is none."""
    return load("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


class CudaProgram:
    """Compiled kernels on the GPU, see `deepbid_rt.runtimes.gpu.protocols.Program`.

    Parameters
    ----------
    program : bytes
        PTX; the driver compiles it for its GPU.
    current : callable
        Returns a context in which CUDA calls of this thread go to the GPU.
    stream : int
        Handle of the stream that kernels are launched on.
    library : ctypes.CDLL, optional
        The driver's library if left out.

    Raises
    ------
    EngineError
        When the driver is missing or refuses the program.
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

    def bind(self, name: str, grid: Extent, block: Extent, *arguments: ctypes.Structure) -> Launch:
        """Return a function that launches a kernel on the stream; call it inside `current`.

        Parameters
        ----------
        name : str
            Name of the kernel.
        grid, block : tuple of int
            Blocks of the grid and threads of a block, along x, y and z.
        arguments : ctypes.Structure
            Passed by value. The kernel gets the values that they have when it is launched.

        Raises
        ------
        EngineError
            When the program has no such kernel. The returned function raises `StageError` when the launch fails.
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
        launch_arguments = (function, *map(ctypes.c_uint, (*grid, *block, 0)), _HANDLE(self._stream), places, None)

        def run() -> None:
            code = launch(*launch_arguments)
            if code:
                raise cuda_failed(RuntimeError(f"kernel {name}: {self._explain(code)}"))

        run.arguments = arguments  # type: ignore[attr-defined]  # keeps them: the driver reads them at their address
        return run

    def close(self) -> None:
        """Unload the program; may be called twice."""
        if self._module:
            module, self._module = self._module, None
            with self._current():
                self._cuda.cuModuleUnload(module)

    def _explain(self, code: int) -> str:
        text = ctypes.c_char_p()
        self._cuda.cuGetErrorString(code, ctypes.byref(text))
        return f"CUDA error {code}: {(text.value or b'unknown').decode()}"
