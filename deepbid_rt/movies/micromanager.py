"""Files of Micro-Manager and NDTiff without OME-XML: each page has a JSON that says where it belongs.

Micro-Manager writes ``ChannelIndex``, ``SliceIndex``, ``FrameIndex`` and ``PositionIndex``; NDTiff (pycro-manager) an
``Axes`` map, whose usual names are ``time``, ``z``, ``channel`` and ``position`` (read off real files, and
https://github.com/micro-manager/NDTiffStorage).
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.movies.given_order import given_order, pages_in_words
from deepbid_rt.movies.hyperstack import Hyperstack, slices_as_planes, whole_time_points
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.page_descriptions import median_rate_hz
from deepbid_rt.movies.page_list import PageList
from deepbid_rt.movies.tiff_stack import MICRO_MANAGER
from deepbid_rt.movies.wanted import Wanted

_AXES = re.compile(r'"Axes"\s*:\s*(\{[^{}]{0,1000}\})')
_INDEX = re.compile(r'"(Channel|Slice|Frame|Position)Index"\s*:\s*(\d{1,9})\b')
_NAMES = {"time": "T", "t": "T", "frame": "T", "z": "Z", "slice": "Z", "channel": "C", "c": "C"}
_ELAPSED = re.compile(r'"ElapsedTime-ms"\s*:\s*"?(\d{1,12}(?:\.\d{0,9})?)')
_PIXEL = re.compile(r'"PixelSize_?[uU]m"\s*:\s*"?(\d{1,6}(?:\.\d{0,9})?)')


def read_micromanager(pages: PageList, wanted: Wanted) -> tuple[NDArray[np.int64], MovieFacts]:
    """Order the pages of a recording by what each page says.

    Returns
    -------
    ndarray
        (N, C) int64, which page shows which channel of which frame. Incomplete time points at the end are left out.
    MovieFacts

    Raises
    ------
    StreamError
        When the pages belong to several positions or other axes, or a place in the middle has no page.
    """
    texts = [pages.text(MICRO_MANAGER, page) for page in range(pages.count)]
    places = [_place(text) for text in texts]
    pixel = _PIXEL.search(texts[0])
    size = float(pixel[1]) if pixel and float(pixel[1]) > 0 else None
    pixel_um = (size, size) if size else None
    named = all(places)
    lengths = _axes(pages, [place for place in places if place is not None]) if named else {}
    stack = Hyperstack(*(len(lengths.get(axis, ())) or 1 for axis in "CZT"))
    given = given_order(
        pages.count,
        wanted,
        name=pages.name,
        channels=stack.channels,
        planes=slices_as_planes(stack, wanted.planes)[0],
        with_flyback=True,
        stated=bool(lengths),
    )
    if given is not None:
        return given.order, MovieFacts(
            "Micro-Manager", given.pages, given.planes, pixel_um=pixel_um, warnings=given.warnings
        )
    if not named:
        order = np.arange(pages.count).reshape(-1, 1)
        return order, MovieFacts("Micro-Manager", "each page is a frame; the file does not say more", pixel_um=pixel_um)
    table = np.full((stack.frames, stack.slices, stack.channels), -1, np.int64)
    for page, place in enumerate(places):
        at = tuple(lengths[axis].index(place[axis]) if axis in lengths else 0 for axis in "TZC") if place else ()
        table[at] = page
    number, torn = whole_time_points(table)
    if torn:
        raise StreamError(
            f"{pages.name} with no page for a place at time point {number}",
            expected="all channels and slices of each time point",
            todo="give the folder of the data set, or what the pages are with --channels and --planes",
        )
    warnings = []
    if number * stack.channels * stack.slices != pages.count:
        left = pages.count - number * stack.channels * stack.slices
        warnings.append(f"{left} pages of an incomplete last time point are left out")
    planes, warning = slices_as_planes(Hyperstack(stack.channels, stack.slices, number), wanted.planes)
    warnings += [warning] if warning else []
    order = table[:number].reshape(-1, stack.channels)
    times_s = _times_s([texts[page] for page in order[:, 0].tolist()])
    rate = median_rate_hz(times_s[::planes]) if times_s is not None else None
    return order, MovieFacts(
        format="Micro-Manager",
        pages=f"{pages_in_words(stack.channels, planes)}, by the metadata of each page",
        planes=planes,
        rate_hz=rate and rate * planes,
        pixel_um=pixel_um,
        channel_names=tuple(str(one) for one in lengths.get("C", ()) if isinstance(one, str)),
        times_s=times_s,
        warnings=tuple(warnings),
    )


def _place(text: str) -> dict[str, Any] | None:
    """Return where a page belongs, by axis letter or name; None when it does not say."""
    axes = _AXES.search(text)
    if axes is None:
        found = {name[0].replace("S", "Z").replace("F", "T"): int(value) for name, value in _INDEX.findall(text)}
        return found or None
    try:
        raw = json.loads(axes[1])
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, int | str) for value in raw.values()):
        return None
    return {_NAMES.get(name.lower(), name): value for name, value in raw.items()} or None


def _axes(pages: PageList, places: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the values on each axis, in order; refuse axes other than time, slice and channel."""
    found: dict[str, list[Any]] = {}
    for place in places:
        for name, value in place.items():
            found.setdefault(name, []).append(value)
    values = {name: sorted(set(seen), key=lambda one: (isinstance(one, str), one)) for name, seen in found.items()}
    if "C" in values:  # names of channels stay in the order of recording
        values["C"] = list(dict.fromkeys(found["C"])) if isinstance(found["C"][0], str) else values["C"]
    other = [name for name, seen in values.items() if name not in "TZC" and len(seen) > 1]
    unlike = [name for name, seen in found.items() if len(seen) != len(places) and name in "TZC"]
    count = 1
    for name in "TZC":
        count *= len(values.get(name, ())) or 1
    if other or unlike or len({tuple(sorted(map(str, place.items()))) for place in places}) != len(places):
        what = f"positions or other axes ({', '.join(name[:20] for name in other)})" if other else "doubtful places"
        raise StreamError(
            f"{pages.name}, whose pages belong to several {what}",
            expected="one position with time, slices and channels",
            todo="give the folder of the data set, or export one position as a file of its own",
        )
    if count > 4 * len(places) + 1000:
        raise StreamError(
            f"{pages.name} with {len(places)} pages for {count} places",
            expected="a page for each channel, slice and time point",
            todo="give what the pages are with --channels and --planes",
        )
    return {name: seen for name, seen in values.items() if name in "TZC"}


def _times_s(texts: list[str]) -> NDArray[np.float64] | None:
    found = [_ELAPSED.search(text) for text in texts]
    if len(found) < 2 or not all(found):
        return None
    times = np.array([float(one[1]) for one in found if one]) / 1e3
    return times if bool((np.diff(times) > 0).all()) else None
