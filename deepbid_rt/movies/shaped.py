"""Arrays that tifffile wrote with their shape in the description."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.frame import MAX_CHANNELS
from deepbid_rt.movies.given_order import given_order, pages_in_words
from deepbid_rt.movies.hyperstack import Hyperstack, hyperstack_pages, slices_as_planes
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.page_list import PageList
from deepbid_rt.movies.tiff_stack import shaped_facts
from deepbid_rt.movies.wanted import Wanted


def read_shaped(pages: PageList, wanted: Wanted) -> tuple[NDArray[np.int64], MovieFacts, bool]:
    """Order the pages of one array in one file.

    Returns
    -------
    ndarray
        (N, C) int64, which page shows which channel of which frame.
    MovieFacts
    bool
        True when the file does not name its channels.

    Raises
    ------
    FileError
        When the file holds fewer pages than its shape.
    StreamError
        When the shape has several axes before Y and X that are not named.
    """
    said = shaped_facts(pages.first.description(0)) or {"shape": []}
    leading, axes = _leading(said, pages.shape)
    count = math.prod(leading)
    if count > pages.count and not wanted.salvage:
        raise FileError(
            f"{pages.name} with {pages.count} pages, where its description promises {count} (shape {said['shape']})",
            expected="a complete file",
            todo="copy it again, or use its complete pages with --salvage",
        )
    sizes = dict(zip(axes, leading, strict=True))
    stack = Hyperstack(sizes.get("C", 1), sizes.get("Z", 1), sizes.get("T", 1))
    given = given_order(
        pages.count,
        wanted,
        name=pages.name,
        channels=stack.channels,
        planes=slices_as_planes(stack, wanted.planes)[0],
        with_flyback=True,
        stated="C" in axes or "Z" in axes,
    )
    if given is not None:
        return given.order, MovieFacts("TIFF (tifffile)", given.pages, given.planes, warnings=given.warnings), False
    if "?" in axes:
        raise StreamError(
            f"{pages.name} of shape {tuple(said['shape'])}, whose axes are not named",
            expected=f"(T, Y, X), (T, C, Y, X) with at most {MAX_CHANNELS} channels, or named axes",
            todo="give what its pages are with --channels and --planes",
        )
    warnings = []
    if count != pages.count:
        told = wanted.channels == stack.channels or wanted.planes == stack.slices
        if "C" in axes or "Z" in axes or not (wanted.salvage or told):
            raise StreamError(
                f"{pages.name} with {pages.count} pages, where its description states {count}",
                expected="as many pages as stated",
                todo="give what the pages are with --channels and --planes",
            )
        stack = Hyperstack(1, 1, pages.count)
    if "axes" not in said and "C" in axes:
        warnings.append(f"the file does not name its axes; the second one is taken as {stack.channels} channels")
    planes, warning = slices_as_planes(stack, wanted.planes)
    warnings += [warning] if warning else []
    order = "".join(axis for axis in reversed(axes) if axis in "CZT")
    order += "".join(axis for axis in "CZT" if axis not in order)
    pages_of = hyperstack_pages(stack, order).reshape(-1, stack.channels)
    words = f"{pages_in_words(stack.channels, planes)}, by the shape that tifffile wrote"
    return pages_of, MovieFacts("TIFF (tifffile)", words, planes, warnings=tuple(warnings)), "C" not in axes


def _leading(said: dict[str, object], page: tuple[int, int]) -> tuple[list[int], str]:
    """Return the lengths of the axes before Y and X, and their letters: C, Z, T or ?."""
    shape = [int(size) for size in said["shape"]] if isinstance(said["shape"], list) else []
    axes = said.get("axes")
    named = axes if isinstance(axes, str) and len(axes) == len(shape) else ""
    if tuple(shape[-2:]) != page or named not in ("", named[:-2] + "YX"):
        return [math.prod(shape) // (page[0] * page[1])], "?" if len(shape) != 3 else "T"
    leading = [(size, named[at].upper() if named else "") for at, size in enumerate(shape[:-2]) if size != 1]
    if not named:
        letters = {0: "", 1: "T", 2: "TC"}.get(len(leading), "?" * len(leading))
        if letters == "TC" and leading[1][0] > MAX_CHANNELS:
            letters = "??"
    else:
        # tifffile calls an axis Q or I when nobody named it; alone it is time.
        letters = "".join(axis if axis in "CZT" else "T" if len(leading) == 1 else "?" for _, axis in leading)
        letters = letters if len(set(letters)) == len(letters) else "?" * len(letters)
    return [size for size, _ in leading], letters
