"""Checks of what a caller passes, each answered by one sentence that says what to pass instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import DTYPES, ScanGeometry
from deepbid_rt.ports import Engine
from deepbid_rt.runtimes import DEFAULT_ENGINE, Runtime, load_engine
from deepbid_rt.runtimes.precision import Precision

Scan = ScanGeometry | Literal["ordinary", "collinear"]
"""How lines are scanned: ``ordinary`` (each line once) or ``collinear`` (lines 2k and 2k+1 scan the same place forward
and backward). Both stand for `ScanGeometry` with its defaults: bidirectional, line 0 forward, backward lines in image
order."""

EngineLike = str | Path | Engine
"""The name of a shipped engine, the path of an engine file, or an open engine."""
DEFAULT_RATE_HZ = 30.0

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


def as_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return a pixel type in little-endian order. Raises `StreamError` when a stream cannot carry it."""
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise StreamError(
            f"dtype={dtype!r}", expected="uint8, uint16, int16 or float32", todo="name one of these"
        ) from error
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
    sizes = tuple(int(n) for n in shape)
    if len(sizes) == 2:
        return 1, *sizes
    if len(sizes) == 3:
        return sizes
    raise StreamError(
        f"frames of shape {sizes}", expected="(Y, X), or (C, Y, X) with channels first", todo="reshape the frames"
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
    """
    if isinstance(engine, str | Path):
        return load_engine(str(engine), precision=precision, threads=threads, runtime=runtime, trust=trust), True
    return engine, False
