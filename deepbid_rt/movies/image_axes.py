"""Images that know their places along named axes, put in the order of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.movies.page_order import page_order
from deepbid_rt.movies.wanted import Wanted

_TIME, _Z, _CHANNEL = "time", "z", "channel"


@dataclass(frozen=True, eq=False)
class ImageOrder:
    """Which image shows which channel of which frame."""

    images: NDArray[np.int64]
    """(N, C) numbers of images; N frames of all planes."""
    planes: int
    flyback: int
    """Frames at the end of each volume that are left out."""
    channel_names: tuple[str, ...]
    words: str
    warnings: tuple[str, ...]
    numbers: NDArray[np.int64] | None
    """(N,) numbers of the frames over all planes; None when time has no numbers."""


def are_axes(found: object) -> bool:
    """Tell whether what a file says are axes: names with whole numbers or names."""
    return isinstance(found, dict) and all(
        isinstance(one, str) or (isinstance(one, int) and abs(one) < 2**53) for one in found.values()
    )


def order_images(axes: Sequence[dict[str, int | str]], wanted: Wanted, *, name: str, source: str) -> ImageOrder:
    """Order images by time, plane and channel.

    Parameters
    ----------
    axes : sequence of dict
        Axes of each image. Besides ``time``, ``z`` and ``channel``, an axis may have one value only.
    wanted : Wanted
        Channels and planes, where the axes do not say them; fly-back frames; with `salvage`, incomplete times are left
        out wherever they are.
    name, source : str
        What errors call the recording, and what the words say the order is known from.

    Raises
    ------
    StreamError
        When images of several positions, tiles or further axes are there, images are missing, or the wishes disagree
        with the axes.
    """
    _refuse_other_axes(axes, name)
    values = {axis: _values(axes, axis) for axis in (_TIME, _Z, _CHANNEL)}
    times, zs, channels = values[_TIME], values[_Z], values[_CHANNEL]
    numbers = {(one.get(_TIME), one.get(_Z), one.get(_CHANNEL)): i for i, one in enumerate(axes)}
    warnings = []
    if len(numbers) < len(axes):
        warnings.append(
            f"{len(axes) - len(numbers)} images were written twice for the same place; the last ones are taken"
        )
    whole = [t for t in times if all((t, z, c) in numbers for z in zs for c in channels)]
    late = times[times.index(whole[-1]) + 1 :] if whole else times
    if (len(whole) + len(late) < len(times) and not wanted.salvage) or not whole:
        t, z, c = next((t, z, c) for t in times for z in zs for c in channels if (t, z, c) not in numbers)
        raise StreamError(
            f"{name} without an image for time {t}, z {z}, channel {c}",
            expected="an image of each channel and plane for each time",
            todo="leave the incomplete times out with --salvage, or save each channel by itself",
        )
    left = len(numbers) - len(whole) * len(zs) * len(channels)
    if left:
        warnings.append(f"{left} images of {len(times) - len(whole)} incomplete times are left out")
    grid = np.array([[[numbers[t, z, c] for c in channels] for z in zs] for t in whole], np.int64)
    order = _as_wanted(grid, wanted, name, source)
    texts = tuple(str(one) for one in channels) if all(isinstance(one, str) for one in channels) else ()
    kept = order.images.shape[1] == len(channels)
    count = None
    if order.planes + order.flyback == len(zs) and kept and all(isinstance(t, int) for t in whole):
        first = np.array(whole, np.int64) - int(whole[0] or 0)
        count = (first[:, None] * order.planes + np.arange(order.planes)).ravel()
    return ImageOrder(
        order.images,
        order.planes,
        order.flyback,
        texts if kept else (),
        order.words,
        (*warnings, *order.warnings),
        count,
    )


def _values(axes: Sequence[dict[str, int | str]], axis: str) -> list[int | str | None]:
    """Return the values of an axis: numbers in their order, names in the order of their appearance."""
    found = list(dict.fromkeys(one.get(axis) for one in axes))
    numbers = sorted(one for one in found if isinstance(one, int))
    return [*numbers] if len(numbers) == len(found) else found


def _refuse_other_axes(axes: Sequence[dict[str, int | str]], name: str) -> None:
    for axis in dict.fromkeys(axis for one in axes for axis in one):
        found = _values(axes, axis)
        if axis in (_TIME, _Z, _CHANNEL) or len(found) < 2:
            continue
        raise StreamError(
            f"{name} with {len(found)} values of the axis {axis} ({', '.join(str(one) for one in found[:8])})",
            expected="images of one place, along time, z and channel",
            todo="save the images of each of them as a recording of its own",
        )


def _many(count: int, noun: str) -> str:
    return f"one {noun}" if count == 1 else f"{count} {noun}s"


def _as_wanted(grid: NDArray[np.int64], wanted: Wanted, name: str, source: str) -> ImageOrder:
    """Order a grid (T, Z, C) of image numbers."""
    times, zs, channels = grid.shape
    flyback = wanted.flyback or 0
    if wanted.channels in (None, channels) and wanted.planes in (None, zs - flyback) and flyback < zs:
        left = f" ({flyback} fly-back frames left out, as given with --flyback)" if flyback else ""
        words = f"{_many(times, 'time')}, {_many(zs - flyback, 'plane')}{left} and {_many(channels, 'channel')}"
        words += f", by {source}"
        images = grid[:, : zs - flyback].reshape(-1, channels)
        return ImageOrder(images, zs - flyback, flyback, (), words, (), None)
    if zs > 1 or (channels > 1 and wanted.channels not in (None, channels)):
        raise StreamError(
            f"{wanted.channels or channels} channels and {wanted.planes or zs} planes for {name}, whose images say "
            f"{channels} channels and {zs} planes",
            expected=f"--channels {channels} and --planes {zs}",
            todo="leave both out",
        )
    together = 1 if channels > 1 else wanted.channels or 1  # images that follow each other as channels
    order = page_order(times, together, wanted.planes or 1, flyback=flyback, name=name, complete=False)
    images = grid[:, 0, 0][order.pages] if channels == 1 else grid[:, 0, :][order.pages[:, 0]]
    warnings = (f"{order.left_out} images of an incomplete last volume are left out",) if order.left_out else ()
    words = f"{_many(images.shape[1], 'channel')} and {_many(wanted.planes or 1, 'plane')}"
    words += f" ({flyback} fly-back frames left out)" if flyback else ""
    words += ", as given with --channels, --planes and --flyback"
    return ImageOrder(images, wanted.planes or 1, flyback, (), words, warnings, None)
