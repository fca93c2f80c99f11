"""Numbers and times of frames, as ScanImage and deepbid-rt write them into the description of each page.

The keys are ``frameNumbers`` and ``frameTimestamps_sec`` (ScanImage from 2016 on, read off real files; deepbid-rt
writes the same), before that ``Frame Number`` and ``Frame Timestamp(s)`` (ScanImage 5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.movies.page_list import PageList

READ_ALL = 100_000
"""Most frames whose descriptions are all read, about 0.04 ms each. Of more frames, only the ends of each file."""
_NUMBER = re.compile(r"^frame ?numbers? = (\d{1,15})\s*$", re.IGNORECASE | re.MULTILINE)
_TIME = re.compile(r"^frame ?timestamps?(?:_sec|\(s\)) = (-?\d{1,12}(?:\.\d{0,12})?)\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, eq=False)
class FrameNumbers:
    """What the pages of frames say."""

    numbers: NDArray[np.int64] | None
    """(F,) number of each stored frame; None when a page says none."""
    times_s: NDArray[np.float64] | None
    """(F,) seconds; None when a page says none, or not all were read."""

    @property
    def rising(self) -> bool:
        """True when the numbers grow from frame to frame."""
        return self.numbers is not None and bool((np.diff(self.numbers) > 0).all())


def number_of(description: str) -> int | None:
    """Return the frame number in a description; None when there is none."""
    found = _NUMBER.search(description)
    return int(found[1]) if found else None


def time_of(description: str) -> float | None:
    """Return the time in a description, seconds; None when there is none."""
    found = _TIME.search(description)
    return float(found[1]) if found else None


def pages_per_number(pages: PageList) -> int | None:
    """Return how many pages at the beginning of the first file share a frame number, which are the channels.

    None when the pages have no numbers, or a different count at each number.
    """
    stack = pages.first
    seen = [number_of(stack.description(page)) for page in range(min(stack.count, 64))] if stack.described else []
    if not seen or None in seen:
        return None
    borders = [at for at in range(1, len(seen)) if seen[at] != seen[at - 1]]
    runs = set(np.diff([0, *borders]).tolist())
    if not borders:
        return len(seen) if len(seen) == stack.count else None
    return int(runs.pop()) if len(runs) == 1 else None


def frame_numbers(pages: PageList, first_pages: NDArray[np.int64]) -> FrameNumbers:
    """Read the numbers and times of frames.

    Up to `READ_ALL` frames the description of each is read. Of more frames only the first and the last of each file
    are: when these are as far apart as the file has frames, no number between them is missing. Times are then left
    out, since they would be guesses; and numbers too when some are missing.

    Parameters
    ----------
    pages : PageList
    first_pages : ndarray
        (F,) int64, a page of each frame.
    """
    if not len(first_pages) or not pages.described:
        return FrameNumbers(None, None)
    if len(first_pages) > READ_ALL:
        return FrameNumbers(_numbers_between_ends(pages, first_pages), None)
    numbers, times = [], []
    for page in first_pages.tolist():
        text = pages.description(page)
        number, time_s = number_of(text), time_of(text)
        if number is None:
            return FrameNumbers(None, None)
        numbers.append(number)
        times.append(np.nan if time_s is None else time_s)
    seconds = np.array(times)
    return FrameNumbers(np.array(numbers, np.int64), seconds if np.isfinite(seconds).all() else None)


def _numbers_between_ends(pages: PageList, first_pages: NDArray[np.int64]) -> NDArray[np.int64] | None:
    files = np.searchsorted(np.cumsum(pages.counts), first_pages, side="right")
    numbers = np.empty(len(first_pages), np.int64)
    for file in np.unique(files):
        at = np.flatnonzero(files == file)
        ends = [number_of(pages.description(int(first_pages[i]))) for i in (at[0], at[-1])]
        if ends[0] is None or ends[1] != ends[0] + len(at) - 1:
            return None
        numbers[at] = np.arange(ends[0], ends[0] + len(at))
    return numbers


@dataclass(frozen=True, slots=True, eq=False)
class WholeVolumes:
    """Stored frames as volumes, without fly-back frames and incomplete volumes."""

    frames: NDArray[np.int64]
    """(V, P) number of the stored frame at each place of each volume."""
    volumes: NDArray[np.int64]
    """(V,) number of each volume; gaps are volumes that are missing or incomplete."""
    left_out: int
    """Frames of incomplete volumes, fly-back frames not counted."""


def whole_volumes(volume: NDArray[np.int64], place: NDArray[np.int64], places: int) -> WholeVolumes:
    """Group stored frames by volume.

    Parameters
    ----------
    volume, place : ndarray
        (F,) int64, the volume of each stored frame, and its place there.
        No place of a volume occurs twice.
    places : int
        Places that belong to a volume; frames at later places are fly-back frames.
    """
    kept = np.flatnonzero((place >= 0) & (place < places))
    found, group, counts = np.unique(volume[kept], return_inverse=True, return_counts=True)
    whole = counts == places  # so that the table has no more places than there are frames
    frames = kept[whole[group]]
    if not len(frames):
        return WholeVolumes(np.empty((0, 0), np.int64), found[whole], len(kept))
    table = frames[np.lexsort((place[frames], volume[frames]))].reshape(-1, places)
    return WholeVolumes(table, found[whole], len(kept) - len(frames))


def median_rate_hz(times_s: NDArray[np.float64] | None) -> float | None:
    """Return frames per second by the median difference of times that follow each other; None when there are none."""
    steps = np.diff(times_s) if times_s is not None else np.empty(0)
    step = float(np.median(steps)) if len(steps) else 0.0
    return 1 / step if step > 0 else None


def refuse_unlike_channels(pages: PageList, stated: int, counted: int | None, source: str) -> None:
    """Refuse a recording whose pages are numbered for another number of channels than it states.

    Raises `StreamError`.
    """
    if counted is None or counted == stated:
        return
    raise StreamError(
        f"{pages.name}, whose {source} states {stated} channels, while {counted} pages have each frame number",
        expected="as many pages per frame number as there are channels",
        todo="give the true number with --channels",
    )
