"""A stand-in GPU: the kernels' sources, compiled by any C++ compiler, behind the functions of the CUDA driver.

Tests with it check what the kernels compute, and that results do not depend on the order of blocks and threads. They
say nothing about a real GPU's compiler, arithmetic or speed.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deepbid_rt.runtimes.gpu import kernels
from deepbid_rt.runtimes.gpu.driver import CudaProgram
from tests.simulated_gpu import SimulatedMemory

HERE = Path(__file__).parent
FLAGS = ("-std=c++17", "-O2", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-fPIC", "-shared")


def compiler() -> str | None:
    """Path of a C++ compiler; None without one, and on systems without POSIX threads."""
    return next(filter(None, map(shutil.which, ("g++", "clang++"))), None) if os.name == "posix" else None


@cache
def library(*flags: str) -> Any:
    """The driver's library, compiled once for these sources and this compiler. Skips the test without a compiler."""
    path_of_compiler = compiler()
    if path_of_compiler is None:
        pytest.skip("no C++ compiler for the kernels (Debian: g++)")
    texts = [*kernels.sources().values(), *(p.read_text(encoding="utf-8") for p in sorted(HERE.glob("*.[ch]*")))]
    key = hashlib.sha256(repr((path_of_compiler, FLAGS, flags, texts)).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"deepbid-rt-stand-in-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{key}.so"
    if not path.exists():
        half = path.with_suffix(f".{os.getpid()}")
        done = subprocess.run(
            [path_of_compiler, *FLAGS, *flags, f"-I{kernels.FOLDER}", str(HERE / "driver.cpp"), "-o", str(half)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        half.rename(path)
    return ctypes.CDLL(str(path))


class StandInMemory(SimulatedMemory):
    """`SimulatedMemory` with addresses of the host, on which kernels run; in the place of pycuda."""

    def __init__(self, *, room: int = 1 << 30, graphs: bool = False) -> None:
        super().__init__(room=room, graphs=graphs)
        self.description = "stand-in memory"
        self.cuda = library()
        self._whole: list[np.ndarray] = []
        self.program_text: bytes | None = None

    def allocate(self, nbytes: int) -> Any:
        if nbytes > self._room:
            return super().allocate(nbytes)
        whole = np.full(nbytes + 512, 0xFF, np.uint8)  # NaN as float32
        self._whole.append(whole)
        begin = -whole.ctypes.data % 256
        address = whole.ctypes.data + begin
        self.arrays[address] = whole[begin : begin + nbytes]
        return SimpleNamespace(address=address)

    def part(self, buffer: Any, offset: int, nbytes: int) -> Any:
        array = self.arrays[buffer.address][offset : offset + nbytes]
        self.arrays.setdefault(buffer.address + offset, array)
        return SimpleNamespace(address=buffer.address + offset)

    def program(self, text: bytes) -> Any:
        return QueuedKernels(self, CudaProgram(text, self.current, self.stream, self.cuda))

    def untouched(self) -> bool:
        """Return True when nothing was written around the arrays."""
        spaces = [(w[: -w.ctypes.data % 256], w[-(512 - -w.ctypes.data % 256) :]) for w in self._whole]
        return all((space == 0xFF).all() for pair in spaces for space in pair)


class QueuedKernels:
    """A program whose launches run when `StandInMemory.synchronize` is called."""

    def __init__(self, memory: StandInMemory, program: CudaProgram) -> None:
        self._memory, self._program = memory, program
        self.close = program.close

    def bind(self, *args: Any) -> Callable[[], None]:
        launch = self._program.bind(*args)

        def queue_launch() -> None:
            assert self._memory.inside, "launched by a thread that has not made the GPU its own"
            self._memory.push(launch)

        return queue_launch
