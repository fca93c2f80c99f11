"""Compile the CUDA kernels to the PTX that ships, with NVIDIA's run-time compiler (NVRTC), which needs no GPU.

    pip install "nvidia-cuda-nvrtc-cu12==12.1.*"
    python tools/make_kernels.py

The compiler's version decides which drivers accept the PTX: from 12.1 on, driver 530 and later. The PTX is for GPUs of
compute capability 7.5 and later. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

from deepbid_rt.runtimes.gpu import kernels

ARCHITECTURE = "compute_75"


def find_compiler() -> Path | None:
    """Return NVRTC's library from NVIDIA's wheel; None when it is not installed."""
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(place).glob("**/*nvrtc*")):
            if re.fullmatch(r"libnvrtc\.so\.\d+|nvrtc64_\d+_0\.dll", path.name):
                return path
    return None


def compile_kernels(library: Path) -> tuple[str, str]:
    """Return the PTX and the compiler's version. Raises `RuntimeError` with the compiler's log when it fails."""
    nvrtc: Any = ctypes.CDLL(str(library))
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    texts = kernels.sources()
    main = texts.pop(kernels.MAIN)
    program = ctypes.c_void_p()
    strings = ctypes.c_char_p * len(texts)
    bodies = strings(*(text.encode() for text in texts.values()))
    names = strings(*(name.encode() for name in texts))
    created = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), main.encode(), kernels.MAIN.encode(), len(texts), bodies, names
    )
    options = [f"--gpu-architecture={ARCHITECTURE}".encode(), b"--std=c++17"]
    code = created or nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    if code:
        raise RuntimeError(f"NVRTC answers {code}: {_text(nvrtc, program, 'ProgramLog')}")
    return _text(nvrtc, program, "PTX"), f"{major.value}.{minor.value}"


def _text(nvrtc: Any, program: ctypes.c_void_p, what: str) -> str:
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, text)
    return text.value.decode()


def main() -> None:
    """Compile the kernels and write the PTX with the digest of its sources."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=kernels.PTX)
    arguments = parser.parse_args()
    library = find_compiler()
    if library is None:
        sys.exit('no NVRTC: pip install "nvidia-cuda-nvrtc-cu12==12.1.*"')
    ptx, version = compile_kernels(library)
    text = f"// sources: sha256 {kernels.digest()}\n" + ptx
    arguments.out.write_text(text, encoding="utf-8", newline="\n")
    facts = {
        "nvrtc": version,
        "architecture": ARCHITECTURE,
        "kernels": re.findall(r"\.entry (\w+)", ptx),
        "bytes": len(text),
        "sources": kernels.digest(),
    }
    print(f"wrote {arguments.out}")
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
