"""Stacks and hyperstacks that ImageJ wrote.

The description has ``images``, ``channels``, ``slices`` and ``frames``, 1 where one is left out; channels are the
fastest, then slices (https://imagej.net/ij/developer/source/ij/io/FileSaver.java.html, and read off real files).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.given_order import given_order, pages_in_words
from deepbid_rt.movies.hyperstack import Hyperstack, hyperstack_pages, slices_as_planes
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.page_list import PageList
from deepbid_rt.movies.tiff_stack import X_RESOLUTION, Y_RESOLUTION, imagej_facts
from deepbid_rt.movies.wanted import Wanted

_UM = {
    **dict.fromkeys(("micron", "microns", "micrometer", "micrometre", "um", "µm", "μm", r"\u00b5m"), 1.0),
    **dict.fromkeys(("nm", "nanometer"), 1e-3),
    **dict.fromkeys(("mm", "millimeter"), 1e3),
    **dict.fromkeys(("cm", "centimeter"), 1e4),
    **dict.fromkeys(("inch", "inches", "in"), 25400.0),
}
_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "min": 60.0}


def read_imagej(pages: PageList, wanted: Wanted) -> tuple[NDArray[np.int64], MovieFacts, bool]:
    """Order the pages of a stack of ImageJ.

    Returns
    -------
    ndarray
        (N, C) int64, which page shows which channel of which frame.
    MovieFacts
        The rate is known where the file has a frame interval; the frame rate at which ImageJ plays is none.
    bool
        True when the file does not say how many channels it has.

    Raises
    ------
    FileError
        When the file holds fewer pages than it says.
    StreamError
        When its numbers contradict each other or the wishes.
    """
    said = imagej_facts(pages.first.description(0)) or {}
    sizes = {key: _count(said.get(key)) for key in ("channels", "slices", "frames", "images")}
    named = any(sizes[key] is not None for key in ("channels", "slices", "frames"))
    several = len(pages.paths) > 1
    images = sizes["images"] if sizes["images"] is not None and not several else pages.count
    _check_count(pages, images, wanted)
    stack = Hyperstack(sizes["channels"] or 1, sizes["slices"] or 1, sizes["frames"] or 1)
    if several or not named:
        each = stack.channels * (stack.slices if stack.frames > 1 else 1)
        stack = Hyperstack(stack.channels, each // stack.channels, max(1, images // each))
    warnings: list[str] = []
    if said.get("c0") is not None:
        warnings.append(
            f"the file says that counts are {said['c0']} + {said.get('c1', '1')} x what is stored; the stored "
            "values are taken, as Fiji shifts signed counts by 32768"
        )
    given = given_order(
        pages.count,
        wanted,
        name=pages.name,
        channels=stack.channels,
        planes=slices_as_planes(stack, wanted.planes)[0],
        with_flyback=True,
        stated=stack.channels > 1 or stack.slices > 1 < stack.frames,
    )
    if given is not None:
        order, planes, words = given.order, given.planes, given.pages
        warnings += given.warnings
    else:
        planes, warning = slices_as_planes(stack, wanted.planes)
        warnings += [warning] if warning else []
        order = _order(pages, stack, said.get("order", ""), warnings, wanted)
        words = f"{pages_in_words(stack.channels, planes)}, by the description that ImageJ wrote"
        if not named and not several:
            words = "each page is a frame; ImageJ's description names no axes"
    rate = _rate(said)
    facts = MovieFacts(
        format="ImageJ",
        pages=words,
        planes=planes,
        rate_hz=None if rate is None else rate * planes,
        pixel_um=_pixel_um(pages, said),
        warnings=tuple(warnings),
    )
    return order, facts, sizes["channels"] is None


def _check_count(pages: PageList, images: int, wanted: Wanted) -> None:
    if images > pages.count and not wanted.salvage:
        raise FileError(
            f"{pages.name} with {pages.count} pages, where ImageJ's description promises {images}",
            expected="a complete file",
            todo="copy it again, or use its complete pages with --salvage",
        )
    if images < pages.count and wanted.channels is None and wanted.planes is None:
        raise StreamError(
            f"{pages.name} with {pages.count} pages, where ImageJ's description states {images}",
            expected="as many pages as stated",
            todo="give what the pages are with --channels and --planes",
        )


def _order(
    pages: PageList, stack: Hyperstack, named_order: str, warnings: list[str], wanted: Wanted
) -> NDArray[np.int64]:
    axes = {"": "CZT", "czt": "CZT", "xyczt": "CZT", "default": "CZT", "zct": "ZCT", "xyzct": "ZCT"}.get(
        named_order.lower()
    )
    if axes is None:
        raise StreamError(
            f"{pages.name} with pages in the order {named_order!r}",
            expected="the order xyczt of ImageJ",
            todo="save it in ImageJ again as a hyperstack in the order xyczt",
        )
    if stack.count == pages.count:
        return hyperstack_pages(stack, axes).reshape(-1, stack.channels)
    step = stack.channels * stack.slices
    whole = pages.count // step if stack.frames > 1 else pages.count // stack.channels
    short = (
        Hyperstack(stack.channels, stack.slices, whole) if stack.frames > 1 else Hyperstack(stack.channels, whole, 1)
    )
    rest = pages.count - short.count
    told = wanted.channels is not None or wanted.planes is not None
    if whole == 0 or not (wanted.salvage or (told and rest == 0)):
        raise StreamError(
            f"{pages.name} with {pages.count} pages for {stack.channels} channels x {stack.slices} slices x "
            f"{stack.frames} frames",
            expected=f"{stack.count} pages",
            todo="give what was recorded with --channels and --planes",
        )
    if rest:
        warnings.append(f"{rest} pages of an incomplete last time point are left out")
    return hyperstack_pages(short, axes).reshape(-1, stack.channels)


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 and int(text) > 0 else None


def _rate(said: dict[str, str]) -> float | None:
    """Return time points per second."""
    try:
        interval = float(said.get("finterval", "")) * _SECONDS[said.get("tunit", "").strip().lower()]
    except (ValueError, KeyError):
        return None
    return 1 / interval if math.isfinite(interval) and 1e-6 < interval < 1e6 else None


def _pixel_um(pages: PageList, said: dict[str, str]) -> tuple[float, float] | None:
    scale = _UM.get(said.get("unit", "").strip().lower())
    x, y = (pages.first.number(code) for code in (X_RESOLUTION, Y_RESOLUTION))
    if scale is None or not x:
        return None
    return scale / (y or x), scale / x
