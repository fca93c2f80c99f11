"""Recordings of deepbid-rt itself, see `deepbid_rt.recording.tiff_writer` for what their pages say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import DeepbidError, StreamError
from deepbid_rt.movies.given_order import given_order, pages_in_words
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.page_descriptions import (
    frame_numbers,
    median_rate_hz,
    pages_per_number,
    refuse_unlike_channels,
    whole_volumes,
)
from deepbid_rt.movies.page_list import PageList
from deepbid_rt.movies.tiff_stack import SOFTWARE, TiffStack
from deepbid_rt.movies.wanted import Wanted
from deepbid_rt.recording.sidecar import read_log_beside

_LINE = re.compile(r"^(\w{1,40}) = (.{0,4000})$", re.MULTILINE)


def is_own(stack: TiffStack) -> bool:
    """Tell whether deepbid-rt wrote a file."""
    return stack.text(SOFTWARE).startswith("deepbid-rt") and stack.description(0).startswith("frameNumbers = ")


def read_own(pages: PageList, wanted: Wanted) -> tuple[NDArray[np.int64], MovieFacts]:
    """Order the pages of a recording of deepbid-rt.

    Channels are counted by the frame numbers of the pages; planes and rate are stated on the first page. A recording
    that `deepbid-rt denoise` wrote states neither: its planes are taken as 1 and its rate comes from the time stamps.

    Returns
    -------
    ndarray
        (N, C) int64, which page shows which channel of which frame.
    MovieFacts
        With the numbers and times of the frames, and the scan of the session log when that is beside the file.

    Raises
    ------
    StreamError
        When the pages are no whole number of frames, or numbered for other channels than stated.
    """
    head = dict(_LINE.findall(pages.first.description(0)))
    counted = pages_per_number(pages)
    channels = _count(head.get("channels")) or counted or 1
    planes = _count(head.get("planes")) or 1
    scan = _scan_beside(pages.paths[0], denoised="processed" in head)
    warnings = [f"the recording is {head['processed']}"] if "processed" in head else []
    given = given_order(pages.count, wanted, name=pages.name, channels=channels, planes=planes)
    if given is not None:
        order, planes, words = given.order, given.planes, given.pages
        warnings += given.warnings
    else:
        refuse_unlike_channels(pages, channels, counted, "first page")
        if pages.count % channels and not wanted.salvage:
            raise StreamError(
                f"{pages.name} of {pages.count} pages for {channels} channels",
                expected="a whole number of frames",
                todo="use its whole frames with --salvage",
            )
        order = np.arange(pages.count - pages.count % channels).reshape(-1, channels)
        words = f"{pages_in_words(channels, planes)}, by the descriptions of the pages"
    found = frame_numbers(pages, order[:, 0])
    numbers, times_s = (found.numbers if found.rising else None), found.times_s
    if given is None and planes > 1 and numbers is not None:
        first = _count(head.get("plane"))
        shift = 0 if first is None else (first - int(numbers[0])) % planes
        volumes = whole_volumes((numbers + shift) // planes, (numbers + shift) % planes, planes)
        frames = volumes.frames.reshape(-1)
        if volumes.left_out:
            warnings.append(f"{volumes.left_out} frames of volumes that lack frames are left out")
        order, numbers = order[frames], numbers[frames]
        times_s = None if times_s is None else times_s[frames]
    if numbers is not None and len(numbers) > 1 and (lost := int(numbers[-1] - numbers[0]) + 1 - len(numbers)):
        warnings.append(f"{lost} frames are missing, by the frame numbers of the pages")
    return order, MovieFacts(
        format="deepbid-rt",
        pages=words,
        planes=planes,
        rate_hz=_positive(head.get("rate_hz")) or median_rate_hz(times_s),
        pixel_um=_pixel_um(head),
        channel_names=_channel_names(head, order.shape[1]),
        bidirectional=scan.get("bidirectional"),
        mirrored=scan.get("mirrored", True),
        times_s=times_s,
        numbers=numbers,
        extra=scan.get("extra", {}),
        warnings=tuple(warnings),
    )


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"\d{1,6}", text) else None


def _positive(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None


def _pixel_um(head: dict[str, str]) -> tuple[float, float] | None:
    y, x = (_positive(head.get(f"pixel_um_{axis}")) for axis in "yx")
    return None if y is None or x is None else (y, x)


def _channel_names(head: dict[str, str], channels: int) -> tuple[str, ...]:
    try:
        names = json.loads(head.get("channel_names", "[]"))
    except (ValueError, RecursionError):
        return ()
    good = isinstance(names, list) and len(names) == channels and all(isinstance(name, str) for name in names)
    return tuple(names) if good else ()


def _scan_beside(path: Path, *, denoised: bool) -> dict[str, Any]:
    """Return what the session log beside a recording says about its scan; empty when there is no such log."""
    try:
        lines = read_log_beside(path)
    except DeepbidError:
        return {}
    for line in lines:
        info = line.get("info")
        if line["kind"] == "start" and isinstance(info, dict) and bool(info.get("parent")) == denoised:
            scan = info.get("scan")
            if isinstance(scan, dict):
                extra = scan.get("extra")
                known = {key: scan[key] for key in ("bidirectional", "mirrored") if isinstance(scan.get(key), bool)}
                layout = {"layout": scan["layout"]} if scan.get("layout") in ("collinear", "ordinary") else {}
                return {**known, "extra": {**(extra if isinstance(extra, dict) else {}), **layout}}
    return {}
