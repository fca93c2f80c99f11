"""Pairs of windows for the window engine's networks, drawn at random.

A pair depends on the recipe, the recordings and the step alone, never on what was drawn before, so that a run resumed
after a kill goes on exactly as it would have gone. Knows nothing of files or torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.scan.directions import to_image_order
from deepbid_rt.train.batch import Batch, Gap
from deepbid_rt.train.pairs import Pair, block_size, orient, orientation_count, split_block
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import Recording

_TRAINING, _HELD_OUT = 0, 1  # first word of the random seed, so that the two never draw alike
_FLIPS = 4  # the first orientations, which keep lines lines


class WindowPairs:
    """Draws pairs of windows for the window engine's network.

    Parameters
    ----------
    recordings : sequence of Recording
    recipe : Recipe
    """

    def __init__(self, recordings: Sequence[Recording], recipe: Recipe) -> None:
        self._recordings, self._recipe = recordings, recipe

    def draw(self, step: int, numbers: Sequence[int] | None = None) -> Batch:
        """Return the pairs of training step ``step``, or those of its batch that have these numbers."""
        return draw(self._recordings, self._recipe, step, numbers)

    def held_out(self) -> list[Batch]:
        """Return the fixed pairs that every version of the network is judged on."""
        return held_out_batches(self._recordings, self._recipe)


def draw(recordings: Sequence[Recording], recipe: Recipe, step: int, numbers: Sequence[int] | None = None) -> Batch:
    """Return the pairs of training step ``step``, a pure function of its arguments.

    Recording, channel, place, time, the swap of input and target and the orientation are drawn uniformly.
    """
    pairs: list[Pair] = []
    scales: list[float] = []
    wholes: list[NDArray[np.float32]] = []
    signs: list[int] = []
    for n in range(recipe.batch) if numbers is None else numbers:
        rng = np.random.default_rng([_TRAINING, recipe.seed, step, n])
        recording = recordings[int(rng.integers(len(recordings)))]
        block, scale = _draw_block(recording, recipe, rng, 0, recording.frames_training)
        swapped = rng.random() < 0.5
        orientation = int(rng.integers(_orientations(recipe)))
        if recipe.gap_weight:
            block = orient(block, orientation)  # flips only: lines stay lines, and slices slices
            first, second = split_block(block, recording.split)
            wholes.append(block)
            signs.append(-1 if swapped else 1)
        else:
            first, second = (orient(view, orientation) for view in split_block(block, recording.split))
        pairs.append((second, first) if swapped else (first, second))
        scales.append(scale)
    gap = Gap(np.stack(wholes)[:, None], np.array(signs, np.float32), recording.split) if wholes else None
    return _stack(pairs, scales, gap)


def held_out_batches(recordings: Sequence[Recording], recipe: Recipe) -> list[Batch]:
    """Return the fixed pairs that every version of the network is judged on, one batch each, as scanned."""
    batches = []
    for r, recording in enumerate(recordings):
        for n in range(recipe.held_out_pairs):
            rng = np.random.default_rng([_HELD_OUT, recipe.seed, r, n])
            block, scale = _draw_block(recording, recipe, rng, recording.frames_training, recording.movie.shape[0])
            batches.append(_stack([split_block(block, recording.split)], [scale]))
    return batches


def _orientations(recipe: Recipe) -> int:
    if recipe.augment == "turns":
        return orientation_count(recipe.patch)
    return _FLIPS if recipe.augment == "flips" else 1


def _draw_block(
    recording: Recording, recipe: Recipe, rng: np.random.Generator, t_first: int, t_end: int
) -> tuple[NDArray[np.float32], float]:
    """Return a block (T, Y, X) in network units, from frames ``t_first`` to ``t_end - 1``, and its scale."""
    movie = recording.movie
    _, channels, lines, pixels = movie.shape
    _, y, x = block_size(recording.split, recipe.patch)
    c = int(rng.integers(channels))
    runs = _draw_frames(recording, recipe, rng, t_first, t_end)
    y0 = 2 * int(rng.integers((lines - y) // 2 + 1))  # even, so that a line keeps its direction
    x0 = int(rng.integers(pixels - x + 1))
    if recording.scan.bidirectional and not recording.scan.mirrored:
        # Lines as sampled run from both ends, so a column of the image needs the whole line.
        whole = np.concatenate([movie.read(t0, t1, c, y0, y0 + y, 0, pixels) for t0, t1 in runs])
        counts = to_image_order(whole, recording.scan)[..., x0 : x0 + x]
    else:
        counts = np.concatenate([movie.read(t0, t1, c, y0, y0 + y, x0, x0 + x) for t0, t1 in runs])
    normalizer = recording.normalizers[c]
    # Not Normalizer.apply, which hides NaN: training has to refuse them.
    units = (counts.astype(np.float32) - np.float32(normalizer.offset)) / np.float32(normalizer.scale)
    return units, normalizer.scale


def _draw_frames(
    recording: Recording, recipe: Recipe, rng: np.random.Generator, t_first: int, t_end: int
) -> list[tuple[int, int]]:
    """Draw which frames a block is made of: first and end of each run of frames that follow each other."""
    length, slices = block_size(recording.split, recipe.patch)[0], recording.slices
    if recording.split not in ("tis", "sis"):
        t0 = t_first + int(rng.integers(t_end - t_first - length + 1))
        return [(t0, t0 + length)]
    volumes = 2 if recording.split == "tis" else 1  # that follow each other
    depth = length // volumes
    volume = t_first // slices + int(rng.integers((t_end - t_first) // slices - volumes + 1))
    z0 = int(rng.integers(slices - depth + 1))
    return [((volume + n) * slices + z0, (volume + n) * slices + z0 + depth) for n in range(volumes)]


def _stack(pairs: Sequence[Pair], scales: Sequence[float], gap: Gap | None = None) -> Batch:
    inputs, targets = zip(*pairs, strict=True)
    given, wanted = np.stack(inputs)[:, None], np.stack(targets)[:, None]
    noise = float(((given - wanted) ** 2).mean(dtype=np.float64)) / 2
    return Batch(given, wanted, np.array(scales, np.float32), noise, gap=gap)
