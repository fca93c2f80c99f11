"""A GPU on the host for the kernels: their sources, compiled by any C++ compiler, behind the driver's functions.

It shows what the kernels compute, and that a result does not depend on the order of blocks and threads. It shows
nothing of a GPU's own: neither its compiler, nor its arithmetic, nor its speed.
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
from deepbid_rt.runtimes.gpu.driver import Kernels
from tests.simulated_gpu import SimulatedMemory

HERE = Path(__file__).parent
FLAGS = ("-std=c++17", "-O2", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-fPIC", "-shared")


def compiler() -> str | None:
    """A compiler for C++ on a system whose threads can be stood in for."""
    return next(filter(None, map(shutil.which, ("g++", "clang++"))), None) if os.name == "posix" else None


@cache
def library(*flags: str) -> Any:
    """The driver's library, compiled once for these sources and this compiler; skips where none can be."""
    with_which = compiler()
    if with_which is None:
        pytest.skip("no C++ compiler for the kernels (Debian: g++)")
    texts = [*kernels.sources().values(), *(p.read_text(encoding="utf-8") for p in sorted(HERE.glob("*.[ch]*")))]
    told = hashlib.sha256(repr((with_which, FLAGS, flags, texts)).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"deepbid-rt-stand-in-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{told}.so"
    if not path.exists():
        half = path.with_suffix(f".{os.getpid()}")
        done = subprocess.run(
            [with_which, *FLAGS, *flags, f"-I{kernels.FOLDER}", str(HERE / "driver.cpp"), "-o", str(half)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        half.rename(path)
    return ctypes.CDLL(str(path))


class StandInMemory(SimulatedMemory):
    """pycuda as the owner: addresses are the host's, and work is done when it is waited for."""

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
        return QueuedKernels(self, Kernels(text, self.current, self.stream, self.cuda))

    def untouched(self) -> bool:
        """Whether nothing was written around the arrays."""
        spaces = [(w[: -w.ctypes.data % 256], w[-(512 - -w.ctypes.data % 256) :]) for w in self._whole]
        return all((space == 0xFF).all() for pair in spaces for space in pair)


class QueuedKernels:
    """Kernels that run when the memory is waited for."""

    def __init__(self, memory: StandInMemory, program: Kernels) -> None:
        self._memory, self._program = memory, program
        self.close = program.close

    def bind(self, *args: Any) -> Callable[[], None]:
        launch = self._program.bind(*args)

        def queue() -> None:
            assert self._memory.inside, "launched by a thread that has not made the GPU its own"
            self._memory.push(launch)

        return queue
