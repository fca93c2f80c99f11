"""Finds the pixels of a series that hold no measurement, and fills them from what was measured around them.

A network that saw them as tissue would smear them over their surroundings, the motion estimate would hold on to their
edges, and the calibration would take them for noise or for its absence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SENTINEL = -16384
"""Value of pixels of int16 frames that ScanImage had no sample for. (Source: ScanImage's `Acquisition.m`.)"""
_SENTINEL_DISTANCE = 512
"""Counts between the sentinel and the lowest measured pixel. With less, -16384 is a count like its neighbours."""
_GAIN = 0.1
"""Weight of a new frame in the running mean that fills pixels."""
_CHANCE = 1e-6
"""Chance at which a solid square of equal pixels in a frame of noise would be taken for a masked region."""
_SIDES = (6, 9, 13, 19, 28, 41, 60)
"""Sides of the squares, pixels, that regions without a measurement must hold."""
_LEAST_SIDE = 3
"""Side of the squares, pixels, that must keep their count for their pixels to be taken for masked."""
_FAR = 20.0
"""Height of a stuck pixel above all others near it, in distances from the median to the 99.9th percentile."""


@dataclass(frozen=True, slots=True, eq=False)
class FilledFrame:
    """A frame whose pixels without a measurement are filled."""

    pixels: NDArray[Any]
    """(C, Y, X), of the type of the series: the frame itself when nothing is missing."""
    missing: NDArray[np.bool_] | None = None
    """(C, Y, X), True where a pixel was filled; None when nothing is missing."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskedRegion:
    """Part of all frames of a series that the acquisition program masks out, such as the corners of a round field."""

    where: NDArray[np.bool_]
    """(C, Y, X), True outside the field."""
    counts: NDArray[Any]
    """(C, Y, X) of the type of the series: the counts that the pixels outside the field have in all frames."""


class MissingPixels:
    """Fills the frames of one plane. Pure: what it returns depends on the frames only.

    Parameters
    ----------
    shape : tuple of int
        (C, Y, X) of the frames.

    Notes
    -----
    These pixels hold no measurement:

    - NaN, as motion correction leaves it at the borders, and what is infinite or beyond what a detector can measure
      (float frames; the caller has replaced it by NaN);
    - `SENTINEL` (int16 frames), unless other counts come near it;
    - regions that have one and the same count in every frame, such as the corners of a round field or blanked columns.
      They are found in the first frame that is not uniform. A pixel that has another count in a later frame is
      measured, then and ever after;
    - single pixels that stand far above all others in the first frame and keep their count exactly. They count as
      measured once their count changes.

    A filled pixel has the running mean of the frames that measured it, else a mean of the nearest measured pixels of
    its frame.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._shape = shape
        self._ever = np.zeros(0, np.intp)  # flat places of the pixels that were missing in some frame, sorted
        self._mean = np.zeros(0, np.float32)  # what fills each of them; NaN before the first time
        self._seen = np.zeros(0, bool)  # True where that is a mean of measurements, False where it comes from around
        self._looked = False
        # Pixels that have had one and the same count in all frames so far, of each kind.
        self._regions = self._columns = self._stuck = self._candidates = np.zeros(0, bool)
        self.constant: NDArray[np.bool_] | None = None
        """(C, Y, X): those of them that are filled; None without any."""
        self._first: NDArray[Any] = np.zeros(0)  # the frame in which they were found
        self.extension: NDArray[Any] = np.zeros(0)
        """(C, Y, X): what fills them."""
        self.masked: MaskedRegion | None = None
        """What the acquisition masks out, as far as the frames tell; to be put back into denoised frames."""

    @property
    def stuck_pixels(self) -> int:
        """Number of pixels that are stuck, in all channels."""
        return int(self._stuck.sum())

    def push(self, pixels: NDArray[Any]) -> FilledFrame:
        """Fill one frame.

        Parameters
        ----------
        pixels : ndarray
            (C, Y, X), the next frame of the plane; not changed.
        """
        missing = unmeasured(pixels)
        if not self._looked:
            self._look(pixels, missing)
        else:
            self._check(pixels)
        constant = self.constant
        if missing is None and constant is None and not self._ever.size:
            return FilledFrame(pixels)
        self._average(pixels, missing)
        if missing is None and constant is None:
            return FilledFrame(pixels)
        filled = pixels.copy()
        if constant is not None:
            np.copyto(filled, self.extension, where=constant)
        if missing is not None:
            self._fill(filled, missing)
            if constant is not None:
                missing |= constant
        return FilledFrame(filled, constant if missing is None else missing)

    def _average(self, pixels: NDArray[Any], missing: NDArray[np.bool_] | None) -> None:
        if missing is not None:
            now = np.flatnonzero(missing)
            new = now[~np.isin(now, self._ever, assume_unique=True)]
            if new.size:
                places = np.concatenate([self._ever, new])
                order = np.argsort(places)
                self._mean = np.concatenate([self._mean, np.full(new.size, np.nan, np.float32)])[order]
                self._seen = np.concatenate([self._seen, np.zeros(new.size, bool)])[order]
                self._ever = places[order]
        measured = np.ones(self._ever.size, bool) if missing is None else ~missing.reshape(-1)[self._ever]
        counts = pixels.reshape(-1)[self._ever].astype(np.float32)
        gain = np.where(self._seen, np.float32(_GAIN), np.float32(1))
        mean = np.where(self._seen, self._mean, np.float32(0))
        self._mean = np.where(measured, mean + gain * (counts - mean), self._mean)
        self._seen |= measured

    def _fill(self, filled: NDArray[Any], missing: NDArray[np.bool_]) -> None:
        unknown = np.isnan(self._mean)
        if unknown.any():
            counts = filled.astype(np.float32)
            flat = counts.reshape(-1)
            flat[self._ever] = np.where(missing.reshape(-1)[self._ever], self._mean, flat[self._ever])
            around = np.stack([spread(image) for image in counts]).reshape(-1)[self._ever]
            self._mean = np.where(unknown, around, self._mean)
        known = np.zeros(self._shape, np.float32)
        known.reshape(-1)[self._ever] = self._mean
        filled[missing] = as_counts(known[missing], filled.dtype)

    def _look(self, pixels: NDArray[Any], missing: NDArray[np.bool_] | None) -> None:
        """Find masked regions and stuck pixels; a uniform frame, as a closed shutter gives, tells nothing."""
        if not any(image.min() != image.max() for image in _measured(pixels, missing) if image.size):
            return
        self._looked = True
        lacks = np.zeros(self._shape, bool) if missing is None else missing
        each = list(zip(pixels, lacks, strict=True))
        self._regions = np.stack([masked_region(image, unknown) for image, unknown in each])
        self._columns = np.stack([blank_columns(image) & ~unknown for image, unknown in each])
        lacks = lacks | self._regions | self._columns
        self._stuck = np.stack([stuck_pixels(image, unknown) for image, unknown in zip(pixels, lacks, strict=True)])
        if (self._regions | self._columns | self._stuck).any():
            self._first = pixels.copy()
            self._settle()
            counts = pixels.astype(np.float32)
            counts[lacks | self._stuck] = np.nan
            self.extension = as_counts(np.stack([spread(image) for image in counts]), pixels.dtype)

    def _check(self, pixels: NDArray[Any]) -> None:
        """Take pixels whose count has changed out of the masked regions and the stuck pixels."""
        if self.constant is None:
            return
        changed = self._candidates & (pixels != self._first)
        if changed.any() and not all(image.min() == image.max() for image in pixels):
            self._regions, self._stuck = self._regions & ~changed, self._stuck & ~changed
            for parity in range(2):  # a column is blank as a whole
                self._columns[:, parity::2] &= ~changed[:, parity::2].any(1, keepdims=True)
            self._settle()

    def _settle(self) -> None:
        """Decide which of the pixels that have kept their count are filled."""
        # A pixel of the field can keep its count for some frames. Among those that never do, it stands alone.
        solid = np.stack([covered(region, _LEAST_SIDE) for region in self._regions]) | self._columns
        constant: NDArray[np.bool_] = solid | self._stuck
        self._candidates = self._regions | self._columns | self._stuck
        self.constant = constant if constant.any() else None
        self.masked = MaskedRegion(solid, self._first) if solid.any() else None


def unmeasured(pixels: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return where a frame (C, Y, X) says that it has no measurement: NaN, or `SENTINEL`; None for nowhere."""
    where: NDArray[np.bool_]
    if pixels.dtype.kind == "f":
        where = np.isnan(pixels)
        return where if where.any() else None
    if pixels.dtype.str != "<i2" or not pixels.size or pixels.min() != SENTINEL:
        return None
    if ((pixels > SENTINEL) & (pixels < SENTINEL + _SENTINEL_DISTANCE)).any():
        return None
    where = pixels == SENTINEL
    return where


def masked_region(image: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where an image (Y, X) has regions of a single count, that of most pixels of its border.

    Noise makes equal neighbours too: the square that a region must hold is so large that among pixels as often equal as
    those near others none would be expected by chance.
    """
    none = np.zeros(image.shape, bool)
    rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    counts, numbers = np.unique(rim[np.isfinite(rim)], return_counts=True)
    if not counts.size:
        return none
    equal = (image == counts[numbers.argmax()]) & ~missing
    for side in _SIDES:
        if side > min(image.shape):
            break
        solid = covered(equal, side)
        if not solid.any() or solid.all():
            break
        # How often a pixel has this count near others that have not: far inside a region all have it.
        near = _dilated(~equal, side // 2)
        share = float(equal[near].mean()) if near.any() else 0.0
        # Neighbours are not independent in most recordings: half as many pixels count.
        if image.size * share ** (side * side / 2) < _CHANCE:
            region: NDArray[np.bool_] = _dilated(solid, side) & equal
            return region
    return none


def blank_columns(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where an image (Y, X) has blank columns at its left and right border.

    They are columns in which all lines of one scan direction have the same count: blanked by the beam, or saturated
    where the scanner turns.
    """
    blank = np.zeros(image.shape, bool)
    for parity in range(2):
        lines = image[parity::2]
        if len(lines) < 2:
            continue
        same = (lines == lines[:1]).all(0)
        for columns in (range(image.shape[1]), range(image.shape[1] - 1, -1, -1)):
            for x in columns:
                share = float((lines == lines[0, x]).mean()) if same[x] else 1.0
                if image.size * share ** (len(lines) / 2) >= _CHANCE:
                    break
                blank[parity::2, x] = True
    return blank


def stuck_pixels(image: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where single pixels of an image (Y, X) stand far above all pixels around them."""
    none = np.zeros(image.shape, bool)
    sample = image[~missing].astype(np.float32)
    if sample.size < 1000 or min(image.shape) < 3:
        return none
    middle, high = np.quantile(sample, (0.5, 0.999))
    limit = middle + _FAR * (high - middle)
    if high <= middle or not sample.max() > limit:
        return none
    above = (image > limit) & ~missing
    # Alone: none of the eight around it stands out as well. Three of a kind or more may be a thing.
    padded = np.pad(above, 1)
    y, x = image.shape
    around = sum(padded[i : i + y, j : j + x].astype(np.int8) for i in range(3) for j in range(3)) - above
    alone: NDArray[np.bool_] = above & (around == 0)
    return alone


def spread(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill the NaN of an image (Y, X) with means of the measured pixels nearest to them; 0 in an image of NaN only.

    From coarse to fine: a pixel gets the mean of the smallest block of 2, 4, 8, ... pixels that holds a measurement.
    """
    known = ~np.isnan(image)
    if known.all():
        return image
    if not known.any():
        return np.zeros_like(image)
    y, x = image.shape
    padded = (y + y % 2, x + x % 2)
    sums, counts = np.zeros(padded, np.float32), np.zeros(padded, np.float32)
    sums[:y, :x], counts[:y, :x] = np.where(known, image, 0), known
    blocks = padded[0] // 2, 2, padded[1] // 2, 2
    sums, counts = sums.reshape(blocks).sum((1, 3)), counts.reshape(blocks).sum((1, 3))
    with np.errstate(invalid="ignore"):
        coarse = spread(sums / counts)
    return np.where(known, image, np.repeat(np.repeat(coarse, 2, 0), 2, 1)[:y, :x])


def as_counts(counts: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return counts of any shape in `dtype`, rounded for integers."""
    return counts.astype(dtype) if dtype.kind == "f" else np.rint(counts).astype(dtype)


def covered(equal: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Return the union (Y, X) of all squares of this side in which `equal` (Y, X) is True throughout."""
    squares = _sums(equal, side) == side * side
    union: NDArray[np.bool_] = _sums(np.pad(squares, side - 1), side) > 0
    return union


def _dilated(where: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    union: NDArray[np.bool_] = _sums(np.pad(where, reach), 2 * reach + 1) > 0
    return union


def _sums(values: NDArray[np.bool_], side: int) -> NDArray[np.int64]:
    """Return the sums over all squares of this side that lie inside `values`, by their first line and pixel."""
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1), np.int64)
    np.cumsum(values, 0, out=table[1:, 1:])
    np.cumsum(table[1:, 1:], 1, out=table[1:, 1:])
    sums: NDArray[np.int64] = table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
    return sums


def _measured(pixels: NDArray[Any], missing: NDArray[np.bool_] | None) -> list[NDArray[Any]]:
    return [image if missing is None else image[~missing[c]] for c, image in enumerate(pixels)]
