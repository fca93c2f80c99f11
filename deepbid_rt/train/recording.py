"""One recording as training sees it: a movie, its scan, its split, and the frames kept back to judge.

Also draws pairs. A pair depends on the recipe, the recordings and the step alone, never on what was drawn before,
so that a run resumed after a kill goes on exactly as it would have gone. Knows nothing of torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.normalize import Normalizer, calibrate
from deepbid_rt.scan import to_image_order
from deepbid_rt.train.movie import BlockReader
from deepbid_rt.train.pairs import Split, block_size, orient, orientation_count, split_block
from deepbid_rt.train.recipe import Mode, Recipe

_TRAINING, _HELD_OUT = 0, 1  # first word of the random seed, so that the two never draw alike


@dataclass(frozen=True, slots=True)
class Recording:
    """A movie that pairs can be drawn from; made by `open_recording`."""

    movie: BlockReader
    scan: ScanGeometry
    split: Split
    normalizers: tuple[Normalizer, ...]
    """One per channel, measured on the recording's first frames."""
    frames_training: int
    """Frames before this one are trained on, the others only judged on."""

    @property
    def description(self) -> str:
        """Shape, pixel type and layout, for the card, the log and to tell recordings apart on resuming."""
        shape = "x".join(map(str, self.movie.shape))
        lines = "unidirectional" if not self.scan.bidirectional else "mirrored" if self.scan.mirrored else "as sampled"
        return f"{shape} {self.movie.dtype.str} {self.scan.layout} {lines} {self.split}"


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs for one step."""

    inputs: NDArray[np.float32]
    """(N, 1, T, Y, X) in normalised units."""
    targets: NDArray[np.float32]
    """Same shape and units."""
    scales: NDArray[np.float32]
    """(N,) raw counts per unit."""
    noise: float
    """Variance of the noise of the targets, from the difference of independent views, in squared units."""
    weights: NDArray[np.float32] | None = None
    """Shape of `targets`: 1 where a target counts, 0 where it does not; None where all count."""


class WindowPairs:
    """Draws pairs of windows for the window engine's network.

    Parameters
    ----------
    recordings : sequence of Recording
    recipe : Recipe
    """

    def __init__(self, recordings: Sequence[Recording], recipe: Recipe) -> None:
        self._recordings, self._recipe = recordings, recipe

    def draw(self, step: int) -> Batch:
        """Return the pairs of training step ``step``."""
        return draw(self._recordings, self._recipe, step)

    def held_out(self) -> list[Batch]:
        """Return the fixed pairs that every version of the network is judged on."""
        return held_out_batches(self._recordings, self._recipe)


def open_recording(movie: BlockReader, scan: ScanGeometry, recipe: Recipe) -> Recording:
    """Check that a recording fits the recipe and measure its offset and noise.

    Raises
    ------
    StreamError
        When the layout does not fit the recipe's mode, the recording is too small or too short for the patch, or
        its first frames hold pixels that are not finite.
    """
    split = _split_of(recipe.mode, scan)
    frames, channels, lines, pixels = movie.shape
    t, y, x = _least_size(split, recipe)
    held = max(math.ceil(frames * recipe.held_out), t)
    if frames - held < t or lines < y or pixels < x:
        raise StreamError(
            f"a recording of {frames} frames of {lines} x {pixels} pixels",
            expected=f"at least {2 * t} frames of {y} x {x} for the recipe's patch and a held-out part as long",
            todo="choose a smaller patch or a larger recording",
        )
    first = min(recipe.calibration_frames, frames - held)
    normalizers = []
    for c in range(channels):
        counts = movie.read(0, first, c, 0, lines, 0, pixels)
        if not np.isfinite(counts).all():
            raise StreamError(
                f"a recording with pixels that are not finite in its first {first} frames of channel {c}",
                expected="finite counts",
                todo="replace NaN and infinity before training",
            )
        normalizers.append(calibrate(counts))
    return Recording(movie, scan, split, tuple(normalizers), frames - held)


def draw(recordings: Sequence[Recording], recipe: Recipe, step: int) -> Batch:
    """Return the pairs of training step ``step``, a pure function of its arguments.

    Recording, channel, place, time, the swap of input and target and the orientation are drawn uniformly.
    """
    pairs = []
    for n in range(recipe.batch):
        rng = np.random.default_rng([_TRAINING, recipe.seed, step, n])
        recording = recordings[int(rng.integers(len(recordings)))]
        first, second, scale = _draw_pair(recording, recipe, rng, 0, recording.frames_training)
        if rng.random() < 0.5:
            first, second = second, first
        orientation = int(rng.integers(orientation_count(recipe.patch)))
        pairs.append((orient(first, orientation), orient(second, orientation), scale))
    return _stack(pairs)


def held_out_batches(recordings: Sequence[Recording], recipe: Recipe) -> list[Batch]:
    """Return the fixed pairs that every version of the network is judged on, one batch each, as scanned."""
    batches = []
    for r, recording in enumerate(recordings):
        for n in range(recipe.held_out_pairs):
            rng = np.random.default_rng([_HELD_OUT, recipe.seed, r, n])
            batches.append(
                _stack([_draw_pair(recording, recipe, rng, recording.frames_training, recording.movie.shape[0])])
            )
    return batches


def _least_size(split: Split, recipe: Recipe) -> tuple[int, int, int]:
    """Return the (T, Y, X) of raw pixels that one pair takes."""
    if recipe.mode == "stream" and split == "mp-rows":
        return recipe.patch  # lines of both directions stand in one patch
    return block_size(split, recipe.patch)


def _split_of(mode: Mode, scan: ScanGeometry) -> Split:
    if mode in ("mp", "stream"):
        return "mp-collinear" if scan.layout == "collinear" else "mp-rows"
    if (mode == "mp-collinear") != (scan.layout == "collinear"):
        raise StreamError(
            f"a recording with {scan.layout} lines for mode {mode}",
            expected="collinear lines for mp-collinear and ordinary ones for the other modes",
            todo="use mode mp, or say how the lines lie with --scan",
        )
    return cast("Split", mode)


def _draw_pair(
    recording: Recording, recipe: Recipe, rng: np.random.Generator, t_first: int, t_end: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    movie = recording.movie
    _, channels, lines, pixels = movie.shape
    t, y, x = block_size(recording.split, recipe.patch)
    c = int(rng.integers(channels))
    t0 = t_first + int(rng.integers(t_end - t_first - t + 1))
    y0 = 2 * int(rng.integers((lines - y) // 2 + 1))  # even, so that a line keeps its direction
    x0 = int(rng.integers(pixels - x + 1))
    if recording.scan.bidirectional and not recording.scan.mirrored:
        # Lines as sampled run from both ends, so a column of the image needs the whole line.
        whole = movie.read(t0, t0 + t, c, y0, y0 + y, 0, pixels)
        counts = to_image_order(whole, recording.scan)[..., x0 : x0 + x]
    else:
        counts = movie.read(t0, t0 + t, c, y0, y0 + y, x0, x0 + x)
    normalizer = recording.normalizers[c]
    # Not Normalizer.apply, which hides NaN: training has to refuse them.
    units = (counts.astype(np.float32) - np.float32(normalizer.offset)) / np.float32(normalizer.scale)
    first, second = split_block(units, recording.split)
    return first, second, normalizer.scale


def _stack(pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32], float]]) -> Batch:
    inputs, targets, scales = zip(*pairs, strict=True)
    given, wanted = np.stack(inputs)[:, None], np.stack(targets)[:, None]
    noise = float(((given - wanted) ** 2).mean(dtype=np.float64)) / 2
    return Batch(given, wanted, np.array(scales, np.float32), noise)
