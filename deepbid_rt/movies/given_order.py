"""The order of pages that a user gives with --channels, --planes and --flyback."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.movies.page_order import page_order
from deepbid_rt.movies.wanted import Wanted


@dataclass(frozen=True, slots=True, eq=False)
class GivenOrder:
    """Pages in the order that a user gave."""

    order: NDArray[np.int64]
    """(N, C) numbers of pages."""
    planes: int
    pages: str
    """How pages become frames, in words."""
    warnings: tuple[str, ...]


def given_order(
    count: int,
    wanted: Wanted,
    *,
    name: str,
    channels: int = 1,
    planes: int = 1,
    flyback: int = 0,
    with_flyback: bool = False,
    stated: bool = True,
) -> GivenOrder | None:
    """Order pages as given; None when nothing is given, or no more than the file says itself.

    Parameters
    ----------
    count : int
        Stored pages.
    wanted : Wanted
        What is given.
    name : str
        What an error calls the recording.
    channels, planes, flyback : int
        What the file says; used where nothing is given. Fly-back frames of the file are dropped when other planes are
        given.
    with_flyback : bool
        True when the planes of the file are all that are stored, so that given fly-back frames are among them.
    stated : bool
        False when the file states nothing, so that nothing can be contradicted.

    Raises
    ------
    StreamError
        When the pages are no whole number of frames or volumes; with `Wanted.salvage` the rest is left out.
    """
    asked = {"channels": wanted.channels, "planes": wanted.planes, "flyback": wanted.flyback}
    said = {"channels": channels, "planes": planes, "flyback": flyback}
    given = {key: value for key, value in asked.items() if value is not None}
    if all(said[key] == value for key, value in given.items()):
        return None
    use = {**said, **given}
    if given.get("planes", planes) != planes and "flyback" not in given:
        use["flyback"] = 0
    if with_flyback and "planes" not in given and planes > use["flyback"]:
        use["planes"] = planes - use["flyback"]
    order = page_order(
        count, use["channels"], use["planes"], flyback=use["flyback"], name=name, complete=not wanted.salvage
    )
    options = " and ".join(f"--{key}" for key in given)
    words = pages_in_words(use["channels"], use["planes"], use["flyback"])
    unlike = [f"{said[key]} {_WORDS[key]}" for key in given if said[key] != given[key] and stated]
    warnings = [f"the file itself says {' and '.join(unlike)}"] if unlike else []
    if order.left_out:
        warnings.append(f"{order.left_out} pages of an incomplete last volume are left out")
    return GivenOrder(order.pages, use["planes"], f"{words}, as given with {options}", tuple(warnings))


_WORDS = {"channels": "channels", "planes": "planes", "flyback": "fly-back frames"}


def pages_in_words(channels: int, planes: int, flyback: int = 0) -> str:
    """Say how pages become frames, for `MovieFacts.pages`."""
    frames = f"{channels} channels in alternating pages" if channels > 1 else "each page is a frame"
    if planes == 1 and not flyback:
        return frames
    if not flyback:
        return f"{frames}; each volume has {planes} planes"
    left_out = "1 fly-back frame, which is" if flyback == 1 else f"{flyback} fly-back frames, which are"
    return f"{frames}; each volume has {planes} planes and {left_out} left out"
