"""Engines by name or file: the one place that knows which runtime opens which file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deepbid_rt.errors import EngineError
from deepbid_rt.ports import Engine
from deepbid_rt.runtimes.average import AverageEngine
from deepbid_rt.runtimes.echo import EchoEngine

if TYPE_CHECKING:  # each runtime is imported where it is used: none needs the others' libraries
    from deepbid_rt.runtimes.openvino import Precision

Runtime = Literal["auto", "openvino", "torch"]
"""What runs an ``.onnx`` file; ``auto`` is OpenVINO. A ``.plan`` is always run by TensorRT."""
DEFAULT_ENGINE = "default"
_FILELESS: dict[str, Callable[[], Engine]] = {"echo": EchoEngine, "average": AverageEngine}
_SHIPPED = (
    Path(__file__).parents[2] / "engines",  # a checkout
    Path(__file__).parents[1] / "engines",  # an installed wheel
)


def find_engine(name: str) -> Path:
    """Return the file of an engine.

    Parameters
    ----------
    name : str
        A path to an ``.onnx`` or ``.plan`` file, or the name of a shipped engine.

    Raises
    ------
    EngineError
        When there is neither; the message lists the shipped engines.
    """
    path = Path(name)
    if path.suffix:
        return path
    for folder in _SHIPPED:
        if (folder / name / "model.onnx").is_file():
            return folder / name / "model.onnx"
    shipped = sorted(p.parent.name for folder in _SHIPPED for p in folder.glob("*/model.onnx"))
    raise EngineError(
        f"no engine named {name!r}",
        expected=f"a path to an .onnx file, or one of {', '.join([*_FILELESS, *shipped])}",
        todo="check the name, or train an engine with deepbid-rt train",
    )


def load_engine(
    name: str, *, precision: Precision = "auto", threads: int = 0, runtime: Runtime = "auto", trust: bool = False
) -> Engine:
    """Open an engine by name or path.

    Parameters
    ----------
    name : str
        ``echo``, ``average``, the name of a shipped engine, or the path of an engine file.
    precision : {"auto", "bf16", "f32"}
        Arithmetic of the network.
    threads : int
        CPU threads of one inference; 0 lets the runtime decide.
    runtime : {"auto", "openvino", "torch"}
        What runs an ``.onnx`` file.
    trust : bool
        Take a TensorRT plan from any folder; see `deepbid_rt.runtimes.tensorrt.load`.

    Raises
    ------
    EngineError
        When the engine cannot be found or read.
    """
    if name in _FILELESS:
        return _FILELESS[name]()
    path = find_engine(name)
    if path.suffix == ".plan":
        from deepbid_rt.runtimes.tensorrt.engine import TensorRtEngine

        return TensorRtEngine(path, trust=trust)
    if path.suffix != ".onnx":
        raise EngineError(
            f"engine file {path} ends in {path.suffix!r}",
            expected="an .onnx file, or a .plan file built by deepbid-rt build",
            todo="name one of these",
        )
    if runtime == "torch":
        return _load_torch(path, precision)
    from deepbid_rt.runtimes.openvino import OpenVinoEngine

    return OpenVinoEngine(path, precision=precision, threads=threads)


def _load_torch(path: Path, precision: Precision) -> Engine:
    try:
        from deepbid_rt.runtimes.torch import TorchEngine
    except ImportError as error:
        raise EngineError(
            f"runtime torch without {error.name}",
            expected="the extra 'train' to be installed",
            todo='run pip install "deepbid-rt[train]"',
        ) from error
    return TorchEngine(path, precision=precision)


def engine_digest(name: str) -> str | None:
    """Return the SHA-256 of an engine's file as hex; None for ``echo`` and ``average``, which have no file.

    Raises
    ------
    EngineError
        When the engine cannot be found or read.
    """
    if name in _FILELESS:
        return None
    path = find_engine(name)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EngineError(
            f"engine file {path} cannot be read ({error.strerror})",
            expected="an .onnx file written by deepbid-rt export",
            todo="check the path, or name a shipped engine",
        ) from error
