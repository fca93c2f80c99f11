"""How stored pages become frames (N, C): one decision, made the same way for every format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError


@dataclass(frozen=True, slots=True, eq=False)
class PageOrder:
    """Which page shows which channel of which frame."""

    pages: NDArray[np.int64]
    """(N, C) numbers of pages; N frames of all planes in the order of scanning."""
    left_out: int
    """Pages of an incomplete last volume."""


def page_order(
    count: int, channels: int, planes: int = 1, *, flyback: int = 0, name: str, complete: bool = True
) -> PageOrder:
    """Order pages whose channels follow each other, then planes with fly-back frames behind them, then volumes.

    Parameters
    ----------
    count : int
        Stored pages.
    channels, planes, flyback : int
        Channels of a frame, planes of a volume, frames behind them that are left out.
    name : str
        What an error calls the recording.
    complete : bool
        Refuse an incomplete last volume; else its pages are left out and counted, as after an acquisition that was
        stopped.

    Raises
    ------
    StreamError
        When the pages are no whole number of frames or volumes, or there is not one volume.
    """
    if channels < 1 or planes < 1 or flyback < 0:
        raise StreamError(
            f"{channels} channels, {planes} planes and {flyback} fly-back frames for {name}",
            expected="at least one channel and plane, and no negative number",
            todo="correct --channels, --planes or --flyback",
        )
    step = channels * (planes + flyback)
    volumes, rest = divmod(count, step)
    if volumes == 0 or (rest and complete):
        each = f"{channels} channels" + (f" x {planes} planes" if planes > 1 else "")
        each += f" + {flyback} fly-back frames" if flyback else ""
        raise StreamError(
            f"{name} with {count} pages for {each}",
            expected=f"a multiple of {step} pages",
            todo="give what was recorded with --channels, --planes and --flyback",
        )
    volume = np.arange(planes * channels).reshape(planes, channels)
    pages = (np.arange(volumes)[:, None, None] * step + volume).reshape(-1, channels)
    return PageOrder(pages, rest)
