"""Figures of the raw pictures of one plane and channel: of a whole picture now and then, and of a sample of every one.

`look_at` examines all pixels of one picture. `PictureSample` takes a few pixels of every picture, at a cost that does
not depend on its size, and sums them up in blocks of about a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.scan.normalizer import LARGEST_COUNT

MOST_PIXELS = 2**20
"""Pixels that one look examines, about. Of a larger picture only every third, fifth ... line is used, to bound the
time: an odd step, which takes lines of both scan directions."""
SAMPLE_SIDE = 64
"""Lines, and pixels of a line, in a sample, at most: 4096 numbers, taken in about 20 µs. Fewer would show a flicker of
the laser less well, because the noise of the mean of a sample falls with their number."""
PATCHES = 4
"""Patches of a sample along each side. All of them brighten together when the laser flickers, and not when the tissue
moves."""
PLATEAU_SHARE = 1e-4
"""Share of pixels from which on a highest or lowest value is examined. Fewer pixels are a few bright spots."""
_PLATEAU_RATIO = 4.0
"""By how much the pixels at a limit outnumber those just inside it. The tail of a picture without a limit falls."""
_NEAR = 0.02
"""What is "just inside" an upper limit, as a part of the range of the picture."""
_LEVELS = 64
"""Values, about, from which on a heap at the lower end is a limit. Where photons are counted one by one there are few
values, and most pixels have the least one."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one picture shows. Shares are of 1."""

    not_finite: float
    """Share of pixels that are NaN, infinite or beyond `LARGEST_COUNT`; 0 for integers."""
    saturated: float
    """Share of pixels at an upper limit, such as 4095; 0 when the picture ends without one."""
    cut_off: float
    """Share of pixels at a lower limit, such as 0; 0 when the picture ends without one."""
    lowest: float
    """Least value, counts."""
    highest: float
    """Largest value, counts."""

    @property
    def constant(self) -> bool:
        """True when all pixels have the same value, or none is finite."""
        return not self.lowest < self.highest


def look_at(image: NDArray[Any]) -> Look:
    """Examine a picture.

    Parameters
    ----------
    image : ndarray
        (Y, X) raw counts of any type.

    Notes
    -----
    A limit is the largest value of the type, or an end of the picture's range with a heap of pixels: more than
    `PLATEAU_SHARE` of all, and several times as many as just inside. Converters of 12, 13 or 14 bits end at 4095, 8191
    or 16383, and anywhere else once an offset was subtracted; so these values are not listed here.
    """
    image = image[:: math.ceil(image.size / MOST_PIXELS) | 1] if image.size > MOST_PIXELS else image
    bad = 0.0
    values = image
    if image.dtype.kind == "f":
        usable = np.abs(image) <= LARGEST_COUNT  # False for NaN
        if not usable.all():
            values = image[usable]
            bad = 1 - values.size / image.size
    if not values.size:
        return Look(bad, 0.0, 0.0, math.nan, math.nan)
    lowest, highest = values.min(), values.max()
    if lowest == highest:
        return Look(bad, 0.0, 0.0, float(lowest), float(highest))
    span = float(highest) - float(lowest)
    at_top, at_bottom = int(np.count_nonzero(values == highest)), int(np.count_nonzero(values == lowest))
    saturated = cut_off = 0
    if image.dtype.kind in "iu" and highest == np.iinfo(image.dtype).max:
        saturated = at_top
    elif at_top > PLATEAU_SHARE * values.size:
        second = float(values[values < highest].max())
        inside = np.count_nonzero(values >= second - _NEAR * span) - at_top
        saturated = at_top if at_top > _PLATEAU_RATIO * inside else 0
    if at_bottom > PLATEAU_SHARE * values.size:
        second = float(values[values > lowest].min())
        several = np.count_nonzero(values == second)
        dense = span >= _LEVELS * (second - float(lowest))
        cut_off = at_bottom if dense and at_bottom > _PLATEAU_RATIO * several else 0
    return Look(bad, saturated / image.size, cut_off / image.size, float(lowest), float(highest))


@dataclass(frozen=True, slots=True)
class Block:
    """Samples of the pictures of about one second, summed up; counts."""

    mean: float
    noise: float
    """Standard deviation of the noise, from the differences of pictures that follow each other."""
    floor: float
    """Brightness of the darkest hundredth of the places."""
    structure: float
    """Standard deviation over places of what is constant in time: 0 for darkness."""
    flicker: float
    """Standard deviation of the brightness of the whole picture from one picture to the next."""
    flicker_ratio: float
    """Variance of that brightness over the one that noise and motion explain: about 1 without flicker."""
    flicker_memory: float
    """Correlation of one step of that brightness with the next: -0.5 when each picture has a brightness of its own (a
    laser, a detector), -1 when pictures alternate, above 0 for the slow changes of living tissue."""

    @property
    def relative_flicker(self) -> float:
        """Flicker as a part of the mean brightness above the darkest places."""
        return self.flicker / max(self.mean - self.floor, self.noise / 10, float(np.finfo(np.float32).tiny))


class PictureSample:
    """Sums up samples of the pictures of one plane and channel.

    Parameters
    ----------
    size : tuple of int
        (Y, X) of the pictures.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._lines = slice(None, None, math.ceil(size[0] / SAMPLE_SIDE) | 1)  # odd: lines of both scan directions
        self._columns = slice(None, None, math.ceil(size[1] / SAMPLE_SIDE))
        sample = tuple(len(range(*part.indices(n))) for part, n in zip((self._lines, self._columns), size, strict=True))
        edges = [np.linspace(0, n, min(PATCHES, n) + 1).astype(int)[:-1] for n in sample]
        self._patches = edges[0], edges[1]
        self._patch_sizes = np.outer(*(np.diff([*e, n]) for e, n in zip(edges, sample, strict=True)))
        self._last: NDArray[np.float32] | None = None
        self._raw = b""
        self._sum = np.zeros(sample)
        self._reset()

    @property
    def frames(self) -> int:
        """Pictures in the present block."""
        return self._frames

    def _reset(self) -> None:
        self._sum[:] = 0
        self._frames = self._steps = 0
        self._squares = self._whole_squares = self._error_squares = self._pairs = 0.0
        self._last_step = 0.0

    def push(self, image: NDArray[Any]) -> bool:
        """Add a picture (Y, X); return True when its sample equals that of the picture before."""
        raw = image[self._lines, self._columns]
        before, self._raw = self._raw, raw.tobytes()
        same = self._raw == before
        sample = raw.astype(np.float32)
        if image.dtype.kind == "f":
            bad = ~(np.abs(sample) <= LARGEST_COUNT)
            if bad.any():
                fill = 0.0 if bad.all() else float(sample[~bad].mean(dtype=np.float64))
                sample[bad] = self._last[bad] if self._last is not None else fill
        if self._last is not None and not same:  # a picture that was sent twice tells nothing of the noise
            step = sample.astype(np.float64) - self._last
            patches = np.add.reduceat(np.add.reduceat(step, self._patches[0], 0), self._patches[1], 1)
            patches /= self._patch_sizes
            self._squares += float(np.square(step).mean())
            whole = float(step.mean())
            self._whole_squares += whole**2
            self._pairs += whole * self._last_step
            self._last_step = whole
            if patches.size > 1:
                self._error_squares += float(np.square(patches - whole).sum()) / (patches.size - 1) / patches.size
            self._steps += 1
        self._last = sample
        self._sum += sample
        self._frames += 1
        return same

    def take(self) -> Block:
        """Return the present block, of at least one picture, and begin the next one."""
        mean = self._sum / self._frames
        variance = self._squares / max(self._steps, 1) / 2
        ratio = self._whole_squares / self._error_squares if self._error_squares > 0 else 1.0
        structure = float(mean.var()) - variance / self._frames
        block = Block(
            mean=float(mean.mean()),
            noise=math.sqrt(variance),
            floor=float(np.partition(mean.ravel(), mean.size // 100)[: mean.size // 100 + 1].mean()),
            structure=math.sqrt(max(structure, 0.0)),
            flicker=math.sqrt(self._whole_squares / max(self._steps, 1) / 2),
            flicker_ratio=ratio,
            flicker_memory=self._pairs / self._whole_squares if self._whole_squares else 0.0,
        )
        self._reset()
        return block
