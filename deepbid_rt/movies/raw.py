"""Files that hold nothing but pixels (.raw, .bin, .dat): the user says their shape and type."""

from __future__ import annotations

import math
import stat
from pathlib import Path
from typing import Any

import numpy as np

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.array_movie import ArrayMovie, opening
from deepbid_rt.movies.array_pixels import ArrayPixels
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.raw_array import RawArray
from deepbid_rt.movies.wanted import Wanted

SUFFIXES = (".raw", ".bin", ".dat")
_EXAMPLE = "--shape 512,512 --dtype uint16"


def claims(path: Path) -> bool:
    """Tell whether a file can only be raw pixels: by its name, and no header of ThorImage lies beside it."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    try:
        return not any(one.name.lower() == "experiment.xml" for one in path.parent.iterdir())
    except OSError:
        return True


def open_movie(path: Path, wanted: Wanted) -> MovieFile:
    """Open a file that holds nothing but pixels, with `wanted.shape` and `wanted.dtype`.

    The number of frames comes from the length of the file unless the shape has it. Pixels of a line follow each other,
    then lines, channels, and frames.

    Raises
    ------
    FileError
        When its shape or type is not given or makes no sense, or it is shorter than these say.
    StreamError
        When these are no pixels of a movie.
    """
    shape, dtype = _given(path, wanted)
    with opening(path, "raw pixels"):
        if not stat.S_ISREG(path.stat().st_mode):
            raise FileError(f"{path}, which is no ordinary file", expected="a file of pixels", todo="check the path")
        file = path.open("rb")
        try:
            return _movie(path, file, shape, dtype, wanted)
        except BaseException:
            file.close()
            raise


def _given(path: Path, wanted: Wanted) -> tuple[tuple[int, ...], np.dtype[Any]]:
    shape, dtype = wanted.shape, wanted.dtype
    if shape is None or dtype is None:
        missing = " and ".join(name for name, one in (("--shape", shape), ("--dtype", dtype)) if one is None)
        raise FileError(
            f"{path}, which holds nothing but pixels, without {missing}",
            expected=f"lines and pixels of a frame and their type, such as {_EXAMPLE}",
            todo="give them, with channels as the first number where there are several: --shape 2,512,512",
        )
    if len(shape) not in (2, 3, 4) or min(shape) < 1:
        raise FileError(
            f"--shape {','.join(map(str, shape))} for {path}",
            expected="Y,X or C,Y,X or T,C,Y,X, each at least 1",
            todo=f"correct it, such as {_EXAMPLE}",
        )
    try:
        return shape, np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError) as error:
        raise FileError(
            f"--dtype {dtype} for {path}",
            expected="a pixel type such as uint16, int16, uint8, float32 or >u2 (big-endian)",
            todo=f"correct it, such as {_EXAMPLE}",
        ) from error


def _movie(path: Path, file: Any, shape: tuple[int, ...], dtype: np.dtype[Any], wanted: Wanted) -> MovieFile:
    if dtype.hasobject or dtype.itemsize == 0:
        raise StreamError(
            f"--dtype {dtype} for {path}", expected="a type of numbers", todo=f"correct it, such as {_EXAMPLE}"
        )
    size = path.stat().st_size
    frame_shape = ((1, *shape) if len(shape) == 2 else shape)[-3:]
    frame_bytes = math.prod(frame_shape) * dtype.itemsize
    whole, rest = divmod(size, frame_bytes)
    frames, problem = whole, None
    warnings = [f"{rest} bytes at the end are no whole frame and are left out"] if rest else []
    if len(shape) == 4:
        frames = shape[0]
        if frames > whole and not wanted.salvage:
            raise FileError(
                f"{path} of {size} bytes, which are {whole} whole frames, for --shape {','.join(map(str, shape))}",
                expected=f"{frames * frame_bytes} bytes",
                todo="correct --shape or --dtype, or leave its first number out",
            )
        extra = size - frames * frame_bytes
        warnings = [f"{extra} bytes behind the last frame of --shape are left out"] if extra > 0 else []
        if frames > whole:
            frames, problem = whole, "it is cut off"
    if frames == 0:
        raise FileError(
            f"{path} of {size} bytes, less than one frame of {frame_bytes}",
            expected="at least one frame",
            todo="correct --shape or --dtype, or copy the file again",
        )
    source = RawArray(file, 0, (frames, *frame_shape), dtype)
    single = frame_shape[0] == 1
    if single:
        source.shape = (frames, *frame_shape[1:])
    pixels = ArrayPixels(source, "TYX" if single else "TCYX", wanted, str(path))
    if not rest and len(shape) < 4 and not wanted.channels:
        warnings.append("nothing in the file confirms --shape and --dtype: look at a frame before you go on")
    facts = MovieFacts(
        "raw pixels",
        f"{pixels.pages}, as given with --shape and --dtype",
        planes=pixels.planes,
        warnings=(*warnings, *pixels.warnings),
    )
    return ArrayMovie(path, pixels, facts, problem=problem)
