"""Which axis of a stored array is time, plane, channel, line and pixel, where the file does not name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import MAX_CHANNELS, MAX_SIDE
from deepbid_rt.movies.wanted import Wanted

_NAMES = {
    **dict.fromkeys(("t", "time", "frame", "frames"), "T"),
    **dict.fromkeys(("z", "plane", "planes", "depth", "slice"), "Z"),
    **dict.fromkeys(("c", "ch", "channel", "channels"), "C"),
    **dict.fromkeys(("y", "line", "lines", "row", "rows", "height"), "Y"),
    **dict.fromkeys(("x", "pixel", "pixels", "column", "columns", "width"), "X"),
}
_ORDERS = {
    3: ("TYX", "YXT", "TXY", "XYT"),
    4: ("TCYX", "TZYX", "TYXC", "YXCT", "TCXY", "TZXY", "XYCT"),
    5: ("TZCYX", "TCZYX", "TZYXC"),
}
"""Orders that are compared with the size of a frame that a user gives, the usual ones first."""


_USUAL = "the usual order, for the file does not name its axes"


@dataclass(frozen=True, slots=True)
class Axes:
    """What the axes of a stored array are."""

    letters: str
    """One of T (time), Z (plane), C (channel), Y (line), X (pixel) for each axis, in stored order."""
    source: str
    """Where that is known from, in words that continue "axes (T, Y, X), ..."."""
    warnings: tuple[str, ...] = ()


def spelled(letters: str) -> str:
    """Return axes as a user reads them, such as ``(T, C, Y, X)``."""
    return f"({', '.join(letters)})"


def named_axes(names: Sequence[str | None], ndim: int) -> str | None:
    """Return the letters of axes with names such as ``time`` or ``y``; None unless all are known, different, with Y, X.

    Parameters
    ----------
    names : sequence of str or None
        A name for each axis, in any case.
    ndim : int
        Number of axes.
    """
    letters = "".join(_NAMES.get((name or "").strip().lower(), "?") for name in names)
    good = len(letters) == ndim and "?" not in letters and len(set(letters)) == ndim and {"Y", "X"} <= set(letters)
    return letters if good else None


def plain_axes(shape: tuple[int, ...], dtype: np.dtype[Any], wanted: Wanted, name: str) -> Axes:
    """Decide the axes of an array that does not name them.

    Parameters
    ----------
    shape : tuple of int
        Lengths of the axes, in stored order.
    dtype : numpy.dtype
        As stored; colour pictures are uint8.
    wanted : Wanted
        `shape` is the shape of a frame and decides; `channels` and `planes` tell channels and planes apart.
    name : str
        What an error calls the array.

    Returns
    -------
    Axes
        (T, Y, X), (T, C, Y, X) or (T, Z, C, Y, X) unless the lengths or the wishes tell another order.

    Raises
    ------
    StreamError
        When the array has no 3 to 5 axes, the last one is plainly time, an axis could be channels or planes, or these
        are colour pictures.
    """
    if len(shape) not in _ORDERS:
        raise StreamError(
            f"{name} of shape {shape}",
            expected="3 to 5 axes, such as (T, Y, X) or (T, C, Y, X)",
            todo="save a single picture as (1, Y, X), and a movie with time as its first axis",
        )
    if wanted.shape is not None:
        return _as_given(shape, wanted, name)
    if len(shape) == 3:
        _check_time_first(shape, name)
        return Axes("TYX", _USUAL)
    axes = _four(shape, wanted, name) if len(shape) == 4 else _five(shape, wanted, name)
    if axes.letters.endswith("C") and shape[-1] in (3, 4) and dtype == np.uint8:
        raise StreamError(
            f"{name} of shape {shape} and type uint8, which looks like colour pictures",
            expected="grey pixels (T, Y, X), or channels (T, C, Y, X)",
            todo="save one colour as a movie (T, Y, X), or the channels as (T, C, Y, X)",
        )
    return axes


def _as_given(shape: tuple[int, ...], wanted: Wanted, name: str) -> Axes:
    """Find the first order in which the axes have the lengths that the user gave."""
    given = wanted.shape or ()
    asked = dict(zip("TCYX"[-len(given) :], given, strict=False))
    for letters in _ORDERS[len(shape)]:
        sizes = dict(zip(letters, shape, strict=True))
        planes_first = wanted.planes is not None and wanted.planes + (wanted.flyback or 0) != sizes.get("Z", 1)
        if "Z" in letters and "C" not in letters and planes_first:
            continue
        if all(sizes.get(letter, 1) == length for letter, length in asked.items()):
            return Axes(letters, "as given with --shape")
    raise StreamError(
        f"{name} of shape {shape} for --shape {','.join(map(str, given))}",
        expected="axes of these lengths",
        todo="give the lines and pixels of a frame with --shape, such as --shape 512,512, or leave it out",
    )


def _check_time_first(shape: tuple[int, ...], name: str) -> None:
    first, second, last = shape
    if (first == second != last) or (last > MAX_SIDE >= max(first, second)):
        raise StreamError(
            f"{name} of shape {shape}, whose last axis looks like time",
            expected="time as the first axis: (T, Y, X)",
            todo=f"give lines and pixels of a frame with --shape ({first},{second} when time is last, {second},{last} "
            "when it is first), or save the movie with time first, such as numpy.moveaxis(movie, -1, 0)",
        )


def _four(shape: tuple[int, ...], wanted: Wanted, name: str) -> Axes:
    _, second, third, last = shape
    if wanted.planes is not None and second == wanted.planes + (wanted.flyback or 0) and wanted.channels in (None, 1):
        return Axes("TZYX", "with the second axis as planes, as given with --planes")
    if last <= MAX_CHANNELS < min(second, third):
        return Axes(
            "TYXC",
            "with channels last, by the lengths of the axes",
            (f"the last axis, of length {last}, is taken as channels",),
        )
    if second <= MAX_CHANNELS:
        asked = second == 1 or wanted.channels == second
        note = f"the second axis, of length {second}, is taken as channels; give --planes {second} when it is planes"
        return Axes("TCYX", "as given with --channels" if wanted.channels else _USUAL, () if asked else (note,))
    raise StreamError(
        f"{name} of shape {shape}, whose second axis is too long for channels",
        expected=f"(T, C, Y, X) with at most {MAX_CHANNELS} channels",
        todo=f"give --planes {second} when these are planes, or the shape of a frame with --shape",
    )


def _five(shape: tuple[int, ...], wanted: Wanted, name: str) -> Axes:
    _, second, third, fourth, last = shape
    planes = None if wanted.planes is None else wanted.planes + (wanted.flyback or 0)
    if last <= MAX_CHANNELS < min(third, fourth):
        return Axes(
            "TZYXC",
            "with channels last, by the lengths of the axes",
            (f"the last axis, of length {last}, is taken as channels and the second, of length {second}, as planes",),
        )
    swapped = wanted.channels == second != third or planes == third != second
    told = planes == second or wanted.channels == third
    if swapped or (third > MAX_CHANNELS >= second and not told):
        return Axes("TCZYX", "as given with --channels or --planes" if swapped else "by the lengths of the axes")
    if third <= MAX_CHANNELS:
        note = f"the second axis, of length {second}, is taken as planes and the third, of length {third}, as channels"
        return Axes("TZCYX", _USUAL, () if told or (second == third == 1) else (note,))
    raise StreamError(
        f"{name} of shape {shape}, of which no axis can be channels",
        expected=f"(T, Z, C, Y, X) with at most {MAX_CHANNELS} channels",
        todo="save the movie with its axes in this order",
    )
