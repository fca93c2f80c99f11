"""`load_engine`: opens an engine by name or file with the runtime for that file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from deepbid_rt.errors import EngineError, require_effect
from deepbid_rt.ports import Engine
from deepbid_rt.runtimes.average import AverageEngine
from deepbid_rt.runtimes.echo import EchoEngine
from deepbid_rt.runtimes.precision import Precision

# Each runtime is imported where it is used, so that the others' libraries may be missing.

Runtime = Literal["auto", "openvino", "torch"]
"""Runtime of ``.onnx`` files; ``auto`` is OpenVINO. TensorRT runs every ``.plan`` file."""
DEFAULT_ENGINE = "default"
_ENGINES_WITHOUT_FILE: dict[str, Callable[[], Engine]] = {"echo": EchoEngine, "average": AverageEngine}
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
        When there is no shipped engine of this name; the message lists them.
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
        expected=f"a path to an .onnx file, or one of {', '.join([*_ENGINES_WITHOUT_FILE, *shipped])}",
        todo="check the name, or train an engine with deepbid-rt train",
    )


def load_engine(
    name: str | Path,
    *,
    precision: Precision = "auto",
    threads: int = 0,
    runtime: Runtime = "auto",
    trust: bool = False,
) -> Engine:
    """Open an engine by name or path.

    Parameters
    ----------
    name : str or Path
        ``echo``, ``average``, the name of a shipped engine, or the path of an engine file.
    precision : {"auto", "bf16", "f32"}
        Arithmetic of the network.
    threads : int
        CPU threads of one inference; 0: the runtime chooses.
    runtime : {"auto", "openvino", "torch"}
        Runtime of an ``.onnx`` file.
    trust : bool
        Accept a TensorRT plan from any folder, see `deepbid_rt.runtimes.tensorrt.load.load_plan`.

    Raises
    ------
    EngineError
        When the engine cannot be found or read.
    OptionError
        When another argument cannot take effect with this engine.
    """
    name = _as_text(name)
    if name in _ENGINES_WITHOUT_FILE:
        why = f"for engine {name!r}, which has no network"
        # They use one thread, so 1 is what happens.
        unused = 0 if threads == 1 else threads
        _refuse_unused(why, precision=precision, threads=unused, runtime=runtime, trust=trust)
        return _ENGINES_WITHOUT_FILE[name]()
    path = find_engine(name)
    if path.suffix == ".plan":
        # A plan in a trusted folder may be named with trust too: the folder follows from the environment.
        why = f"for the plan {path}, which TensorRT runs as it was built"
        _refuse_unused(why, precision=precision, threads=threads, runtime=runtime)
        from deepbid_rt.runtimes.tensorrt.engine import TensorRtEngine

        return TensorRtEngine(path, trust=trust)
    if path.suffix != ".onnx":
        raise EngineError(
            f"engine file {path} ends in {path.suffix!r}",
            expected="an .onnx file, or a .plan file built by deepbid-rt build",
            todo="name one of these",
        )
    _refuse_unused(f"for {path}, which is no .plan", trust=trust)
    if runtime == "torch":
        _refuse_unused("for runtime torch, which chooses its threads itself", threads=threads)
        return _load_torch(path, precision)
    from deepbid_rt.runtimes.openvino import OpenVinoEngine

    return OpenVinoEngine(path, precision=precision, threads=threads)


def _as_text(name: object) -> str:
    if not isinstance(name, str | Path):
        raise EngineError(
            f"engine {name!r}",
            expected="the name of a shipped engine, or the path of an engine file",
            todo="write load_engine('default')",
        )
    return str(name)


def _refuse_unused(why: str, **given: object) -> None:
    """Raise `OptionError` for the first argument that is given, that is, neither ``auto``, 0 nor False."""
    for name, value in given.items():
        found = name if value is True else f"{name} {value}"
        require_effect(
            found,
            value != "auto" and value,
            effective=False,
            why=why,
            expected=f"an engine for which {name} takes effect",
            todo="choose another engine or runtime",
        )


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
    if name in _ENGINES_WITHOUT_FILE:
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
