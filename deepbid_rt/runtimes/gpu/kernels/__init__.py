"""Kernels of our own, in CUDA C++, and the PTX that ships: what a driver compiles for its GPU.

``kernels.ptx`` is made from the sources beside it by ``tools/make_kernels.py``, so that a computer at a microscope
needs no compiler. Each source is also plain C++ for ``tests/stand_in_cuda``, which runs it on a host.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent
MAIN = "kernels.cu"
"""The source that includes all others."""
PTX = FOLDER / "kernels.ptx"


def sources() -> dict[str, str]:
    """Return the text of every source by its name."""
    paths = sorted([*FOLDER.glob("*.cu"), *FOLDER.glob("*.cuh")])
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def digest() -> str:
    """Return the SHA-256 of all sources, which stands in the PTX made from them."""
    return hashlib.sha256("".join(f"{name}\n{text}" for name, text in sources().items()).encode()).hexdigest()


def program() -> bytes:
    """Return the PTX."""
    return PTX.read_bytes()
