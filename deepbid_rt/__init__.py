"""deepbid-rt: denoises two-photon movies while they are being scanned.

The names in `__all__` are the public Python interface; everything else is private, whatever its name. The interface
follows semantic versioning: while the major version is 0, a minor release may change it, and the changelog says so.

Each name is imported when it is first used, so that ``import deepbid_rt`` loads nothing heavy. Type checkers read
``__init__.pyi``.
"""

import importlib
import sys
from typing import Any

__version__ = "0.1.0"

_DEFINED_IN = {
    "Denoiser": "api.array_denoiser",
    "denoise": "api.denoise",
    "Movie": "api.movie",
    "open": "api.movie",
    "FrameSender": "api.publish",
    "publish": "api.publish",
    "serve": "api.serve",
    "Subscription": "api.subscribe",
    "subscribe": "api.subscribe",
    "DeepbidError": "errors",
    "EndpointError": "errors",
    "EngineError": "errors",
    "FileError": "errors",
    "OptionError": "errors",
    "OverrunError": "errors",
    "StageError": "errors",
    "StreamError": "errors",
    "WireError": "errors",
    "FailedError": "errors",
    "RefusedError": "errors",
    "Frame": "frame",
    "FrameFlag": "frame",
    "Gap": "frame",
    "Motion": "frame",
    "ScanGeometry": "frame",
    "StreamEnd": "frame",
    "StreamInfo": "frame",
    "Engine": "ports",
    "FrameSource": "ports",
    "Sink": "ports",
    "load_engine": "runtimes",
}

__all__ = ["__version__", *_DEFINED_IN]

# OpenVINO reports each import to its maker, and writes an identity for it into the user's home folder, unless its
# package for that is missing. Blocking the import here, before anything can import OpenVINO, turns this off.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes an import fail


def __getattr__(name: str) -> Any:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_DEFINED_IN[name]}")
    found = getattr(module, "open_movie" if name == "open" else name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
