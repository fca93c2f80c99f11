"""Checks of what a caller passes, each answered by one sentence that says what to pass instead."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from deepbid_rt.denoising.denoiser import GapPolicy
from deepbid_rt.errors import EndpointError, EngineError, StreamError, require_effect
from deepbid_rt.frame import DTYPES, MAX_CHANNELS, Layout, ScanGeometry, StreamInfo
from deepbid_rt.movies.movie_facts import DEFAULT_RATE_HZ
from deepbid_rt.ports import Engine
from deepbid_rt.runtimes import DEFAULT_ENGINE, Runtime, load_engine
from deepbid_rt.runtimes.precision import Precision
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.line_phase_corrector import LinePhasePolicy

Scan = ScanGeometry | Literal["ordinary", "collinear"]
"""How lines are scanned: ``ordinary`` (each line once) or ``collinear`` (lines 2k and 2k+1 scan the same place forward
and backward). Both stand for `ScanGeometry` with its defaults: bidirectional, line 0 forward, backward lines in image
order."""

EngineLike = str | Path | Engine
"""The name of a shipped engine, the path of an engine file, or an open engine."""

__all__ = ["DEFAULT_ENGINE", "DEFAULT_RATE_HZ", "ArrayLike", "EngineLike", "Precision", "Runtime", "Scan"]


class ArrayLike(Protocol):
    """What a movie must offer: numpy arrays and memory maps, `Movie`, zarr arrays and h5py datasets do."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, Y, X) or (T, C, Y, X)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        ...

    def __getitem__(self, t: int, /) -> Any:
        """Return frame `t`."""
        ...


def as_scan(scan: Scan) -> ScanGeometry:
    """Return the geometry that `scan` stands for. Raises `StreamError` when it is not one."""
    if isinstance(scan, ScanGeometry):
        return scan
    if scan in ("ordinary", "collinear"):
        return ScanGeometry(scan)
    raise StreamError(
        f"scan={scan!r}",
        expected="'ordinary', 'collinear' or a ScanGeometry",
        todo="say 'collinear' when lines 2k and 2k+1 scan the same place forward and backward, else 'ordinary'",
    )


def as_layout(scan: Scan | None) -> Layout | None:
    """Return the layout to assume for a stream that does not state one.

    Raises
    ------
    StreamError
        When `scan` is not a scan.
    OptionError
        When `scan` says more than the layout: a stream states the rest, and what is said here would be ignored.
    """
    if scan is None:
        return None
    geometry = as_scan(scan)
    require_effect(
        f"scan={scan!r}",
        geometry != ScanGeometry(geometry.layout),
        effective=False,
        why="for a live stream, of which only the layout can be given",
        expected="'ordinary' or 'collinear'",
        todo=f"say scan={geometry.layout!r} and let the sender state the rest",
    )
    return geometry.layout


def check_merge(option: str, merge: MergeMode, layout: Layout) -> None:
    """Raise `OptionError` when an ordinary scan, whose frames have one view only, is to be merged."""
    require_effect(
        option,
        merge != "mean",
        layout == "collinear",
        why="for an ordinary scan, which scans each line once",
        expected="a collinear scan, whose two views can be merged",
        todo="state the scan as collinear if it is",
    )


def check_gap(option: str, gap: GapPolicy, engine: EngineLike) -> None:
    """Raise `OptionError` when a policy for gaps is given for the engine ``echo``."""
    require_effect(
        option,
        gap != "auto",
        engine != "echo",
        why="for engine 'echo', which has no temporal state",
        expected="an engine with one",
        todo="choose another engine",
    )


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise `StreamError` unless `value` is one of the words."""
    if not isinstance(value, str) or value not in choices:
        raise StreamError(
            f"{name}={value!r}", expected=f"one of {', '.join(map(repr, choices))}", todo="write one of these"
        )


def check_count(name: str, value: object, minimum: int) -> None:
    """Raise `StreamError` unless `value` is a whole number of at least `minimum`; numpy's integers are, True is not."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise StreamError(f"{name}={value!r}", expected=f"a whole number, at least {minimum}", todo="correct it")


def check_number(name: str, value: object) -> None:
    """Raise `StreamError` unless `value` is a finite number above 0."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not 0 < float(value) < float("inf"):  # type: ignore[arg-type]  # a number, as just checked
        raise StreamError(f"{name}={value!r}", expected="a number above 0", todo="correct it")


def check_flag(name: str, value: object) -> None:
    """Raise `StreamError` unless `value` is True or False: every text but the empty one would mean True."""
    if not isinstance(value, bool | np.bool_):
        raise StreamError(f"{name}={value!r}", expected="True or False", todo="write it without quotes")


def check_denoising(
    *, merge: MergeMode, gap: GapPolicy, stabilize: bool, line_phase: LinePhasePolicy, planes: int = 1
) -> None:
    """Raise `StreamError` naming the first argument of a denoiser that is none of its values."""
    check_choice("merge", merge, get_args(MergeMode))
    check_choice("gap", gap, get_args(GapPolicy))
    check_flag("stabilize", stabilize)
    check_count("planes", planes, 1)
    number = isinstance(line_phase, int | float | np.integer | np.floating) and not isinstance(line_phase, bool)
    if not number and line_phase not in ("auto", "off"):
        raise StreamError(
            f"line_phase={line_phase!r}",
            expected="'auto', 'off' or a number of pixels",
            todo="write a number without quotes",
        )


def as_channels(channels: Sequence[int] | None) -> tuple[int, ...] | None:
    """Return the channels to denoise as a tuple; None for all. Raises `StreamError` when they are no whole numbers."""
    if channels is None:
        return None
    try:
        return tuple(operator.index(number) for number in channels)  # a letter of a text is no number
    except TypeError as error:
        raise StreamError(
            f"denoise_channels={channels!r}", expected="numbers of channels from 0", todo="write a list such as [0, 2]"
        ) from error


def as_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return a pixel type in little-endian order. Raises `StreamError` when a stream cannot carry it."""
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        todo = "pass tensor.numpy()" if str(dtype).startswith("torch.") else "name one of these"
        raise StreamError(f"dtype={dtype!r}", expected="uint8, uint16, int16 or float32 of numpy", todo=todo) from error
    little = found.newbyteorder("<")
    if little.str not in DTYPES:
        raise StreamError(
            f"pixels of type {found}",
            expected="uint8, uint16, int16 or float32",
            todo="convert them with .astype('int16') or .astype('float32'), whichever holds the counts",
        )
    return little


def as_frame_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (C, Y, X) for (Y, X) or (C, Y, X). Raises `StreamError` for anything else."""
    try:
        sizes = tuple(operator.index(n) for n in shape)
    except TypeError as error:
        raise StreamError(
            f"shape={shape!r}", expected="(Y, X) or (C, Y, X), whole numbers", todo="write it as (512, 512)"
        ) from error
    if len(sizes) == 2:
        return 1, *sizes
    if len(sizes) == 3:
        return sizes
    raise StreamError(
        f"frames of shape {sizes}", expected="(Y, X), or (C, Y, X) with channels first", todo="reshape the frames"
    )


def as_frame_pixels(pixels: Any, info: StreamInfo) -> NDArray[Any]:
    """Return a frame as (C, Y, X) in the type of its series; (Y, X) stands for one channel.

    Raises
    ------
    StreamError
        When shape or type are not those of the series.
    """
    array = np.asarray(pixels)
    channels, *size = info.shape
    if array.ndim == 2 and channels == 1:
        array = array[np.newaxis]
    if array.shape != info.shape or array.dtype.newbyteorder("<") != info.dtype:
        raise StreamError(
            f"an array of shape {np.shape(pixels)} and type {array.dtype} in place of a frame",
            expected=f"shape {tuple(size) if channels == 1 else info.shape} and type {info.dtype}",
            todo="pass frames one by one, and announce their real shape and dtype",
        )
    return array.astype(info.dtype, copy=False)


def check_endpoint(endpoint: object, name: str = "endpoint") -> None:
    """Raise `EndpointError` unless `endpoint` is a text; what it says is checked where it is used."""
    if not isinstance(endpoint, str):
        raise EndpointError(
            f"{name}={endpoint!r}", expected="tcp://HOST:PORT", todo="write it as 'tcp://127.0.0.1:5590'"
        )


def as_movie_shape(movie: Any) -> tuple[int, int, int, int]:
    """Return (T, C, Y, X) of a movie. Raises `StreamError` when it is not one or has no frames."""
    shape = getattr(movie, "shape", None)
    if shape is None or not hasattr(movie, "dtype") or not hasattr(movie, "__getitem__"):
        raise StreamError(
            f"a {type(movie).__name__} in place of a movie",
            expected="an array (T, Y, X) or (T, C, Y, X)",
            todo="pass a numpy array, or open a file with deepbid_rt.open",
        )
    if len(shape) not in (3, 4):
        raise StreamError(
            f"an array of shape {tuple(shape)}",
            expected="(T, Y, X), or (T, C, Y, X) with time first and channels second",
            todo="add the missing axis with array[np.newaxis], or reorder the axes with np.moveaxis",
        )
    if len(shape) == 4 and shape[1] > MAX_CHANNELS and shape[3] <= 4:
        raise StreamError(
            f"an array of shape {tuple(shape)}, whose last axis looks like channels",
            expected="(T, C, Y, X) with time first and channels second",
            todo="reorder the axes with np.moveaxis(array, -1, 1)",
        )
    if shape[0] == 0:
        raise StreamError(f"an array of shape {tuple(shape)}", expected="at least one frame", todo="check the movie")
    return int(shape[0]), *as_frame_shape(tuple(shape[1:]))


def as_engine(
    engine: EngineLike, *, precision: Precision, threads: int, runtime: Runtime, trust: bool
) -> tuple[Engine, bool]:
    """Return an open engine, and whether it was opened here (and is to be closed here).

    Raises
    ------
    EngineError
        When there is no such engine, or it cannot be read; the message lists the shipped engines.
    OptionError
        When another argument cannot take effect, as for any engine that is open already.
    """
    check_choice("precision", precision, get_args(Precision))
    check_choice("runtime", runtime, get_args(Runtime))
    check_count("threads", threads, 0)
    check_flag("trust", trust)
    if isinstance(engine, str | Path):
        if Path(engine).is_dir():
            raise EngineError(
                f"the folder {engine} in place of an engine",
                expected="the name of a shipped engine, or an engine file",
                todo="export a run of training with deepbid-rt export, and name the .onnx file",
            )
        return load_engine(str(engine), precision=precision, threads=threads, runtime=runtime, trust=trust), True
    if not hasattr(engine, "card") or not hasattr(engine, "infer"):
        raise EngineError(
            f"engine={engine!r}",
            expected="the name of a shipped engine, the path of an engine file, or an open engine",
            todo="write engine='default'",
        )
    given = {
        f"precision={precision!r}": precision != "auto",
        f"threads={threads}": threads,
        f"runtime={runtime!r}": runtime != "auto",
        "trust=True": trust,
    }
    for name, asked in given.items():
        require_effect(
            name,
            asked,
            effective=False,
            why=f"for engine {engine.card.name!r}, which is open already",
            expected="the name or file of an engine beside it",
            todo="give it to deepbid_rt.load_engine",
        )
    return engine, False
