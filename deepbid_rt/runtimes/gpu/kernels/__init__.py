"""The CUDA kernels of this project: C++ sources, and the PTX made of them, which ships.

The NVIDIA driver compiles the PTX for its GPU, so a computer at a microscope needs no compiler.
``tools/make_kernels.py`` makes ``kernels.ptx`` from the sources beside it. The sources are also plain C++:
``tests/stand_in_cuda`` runs them on a host.
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
    """Return the SHA-256 of all sources; the first line of the PTX made from them holds it."""
    return hashlib.sha256("".join(f"{name}\n{text}" for name, text in sources().items()).encode()).hexdigest()


def program() -> bytes:
    """Return the PTX."""
    return PTX.read_bytes()
