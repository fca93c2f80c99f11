"""Imports NVIDIA's real Python bindings without NVIDIA's libraries, to read their names and arguments.

The bindings need nine C functions of three libraries; stubs that define them make the import possible. Download the
wheels by hand into a folder and set ``DEEPBID_RT_TENSORRT_WHEELS`` to it:

    pip download --no-deps -d DIR tensorrt-cu12-bindings==10.3.0 tensorrt-cu13-bindings==11.4.0.106

Run as a program with the folder of an unpacked wheel and its major version, it prints what the bindings define as
JSON.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

VARIABLE = "DEEPBID_RT_TENSORRT_WHEELS"
FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry",
    "getPluginRegistry",
    "getNvOnnxParserVersion",
    "initLibNvInferPlugins",
)


def wheels(pattern: str) -> list[Path]:
    """The downloaded wheels that fit this Python."""
    folder = os.environ.get(VARIABLE)
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    found = sorted(Path(folder).glob(pattern)) if folder else []
    return [path for path in found if tag in path.name or "py3-none" in path.name]


def why_not() -> str | None:
    """The reason why no bindings can be read here; None when they can."""
    if not os.environ.get(VARIABLE):
        return f"{VARIABLE} names no folder of wheels (see tests/tensorrt_bindings.py)"
    if not wheels("tensorrt_cu*_bindings-*.whl"):
        return f"no tensorrt bindings for this Python in {os.environ[VARIABLE]}"
    return None if shutil.which("gcc") else "no C compiler for the stub libraries"


def load_stubs(folder: Path, major: str) -> None:
    """Compile and load three stub libraries."""
    source = folder / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS))
    for name in ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser"):
        library = f"{name}.so.{major}"
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", folder / library, source]
        subprocess.run(command, check=True)
        ctypes.CDLL(str(folder / library), ctypes.RTLD_GLOBAL)


def describe(module: Any) -> dict[str, Any]:
    """Every class with its attributes, and for methods the names of their arguments, one list per overload."""
    classes = dict(inspect.getmembers(module, inspect.isclass))
    return {
        name: {attribute: signatures(getattr(cls, attribute).__doc__, attribute) for attribute in dir(cls)}
        for name, cls in classes.items()
    }


def why_none(module: Any, name: str) -> str:
    """Name of the exception when the library returns no object, as the stubs do, and TensorRT without a usable GPU."""
    try:
        getattr(module, name)(module.Logger())
    except Exception as error:
        return type(error).__name__
    return "nothing"


def signatures(text: str | None, name: str) -> list[list[str]]:
    """Argument names from the docstring that pybind11 writes: ``1. name(self: T, index: int = 0) -> U``."""
    found = []
    for line in (text or "").splitlines():
        match = re.match(rf"(?:\d+\. )?{re.escape(name)}\((.*)\) -> ", line.strip())
        if match and match[1] != "*args, **kwargs":
            flat = re.sub(r"\[[^\[\]]*\]", "", re.sub(r"\[[^\[\]]*\]", "", match[1]))
            names = [part.split(":")[0].strip() for part in flat.split(",")]
            found.append([n for n in names if n and n != "self"])
    return found


def main() -> None:
    """Describe one version."""
    folder, major = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        load_stubs(Path(scratch), major)
        sys.path.insert(0, folder)
        import tensorrt_bindings

        description = {
            "version": tensorrt_bindings.__version__,
            "classes": describe(tensorrt_bindings),
            "without a GPU": {name: why_none(tensorrt_bindings, name) for name in ("Runtime", "Builder")},
        }
        sys.stdout.write(json.dumps(description))


if __name__ == "__main__":
    main()
