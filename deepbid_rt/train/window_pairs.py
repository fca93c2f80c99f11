"""Training pairs for the window engine: random windows of the recordings.

A pair depends on the recipe, the recordings, the step and its index in the batch only, not on earlier pairs. So a run
that was killed continues exactly as it would have without the kill.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.scan.directions import to_image_order
from deepbid_rt.train.batch import Batch, GapBlocks
from deepbid_rt.train.pairs import TrainingPair, block_size, orient, orientation_count, split_block
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import Recording

_TRAINING, _HELD_OUT = 0, 1
"""First word of the random seed, so that training and held-out pairs differ."""
_FLIPS = 4
"""Number of orientations without quarter turns, which are the first ones."""


class WindowPairs:
    """Training and held-out pairs of windows.

    Parameters
    ----------
    recordings : sequence of Recording
    recipe : Recipe
    """

    def __init__(self, recordings: Sequence[Recording], recipe: Recipe) -> None:
        self._recordings, self._recipe = recordings, recipe

    def training_batch(self, step: int, indices: Sequence[int] | None = None) -> Batch:
        """Return the pairs of training step ``step``, or those with the given indices in its batch.

        Recording, channel, place, time, orientation, and which view is the input are uniformly random.
        """
        recipe = self._recipe
        pairs: list[TrainingPair] = []
        scales: list[float] = []
        blocks: list[NDArray[np.float32]] = []
        signs: list[int] = []
        for n in range(recipe.batch) if indices is None else indices:
            rng = np.random.default_rng([_TRAINING, recipe.seed, step, n])
            recording = self._recordings[int(rng.integers(len(self._recordings)))]
            block, scale = _random_block(recording, recipe, rng, 0, recording.training_frames)
            swapped = rng.random() < 0.5
            orientation = int(rng.integers(_orientations(recipe)))
            if recipe.gap_weight:
                block = orient(block, orientation)  # flips only, so lines stay lines and slices stay slices
                first, second = split_block(block, recording.split)
                blocks.append(block)
                signs.append(-1 if swapped else 1)
            else:
                first, second = (orient(view, orientation) for view in split_block(block, recording.split))
            pairs.append((second, first) if swapped else (first, second))
            scales.append(scale)
        gap = GapBlocks(np.stack(blocks)[:, None], np.array(signs, np.float32), recording.split) if blocks else None
        return _stack(pairs, scales, gap)

    def held_out_batches(self) -> list[Batch]:
        """Return the fixed pairs for validation, one batch each, without augmentation."""
        batches = []
        for r, recording in enumerate(self._recordings):
            for n in range(self._recipe.held_out_pairs):
                rng = np.random.default_rng([_HELD_OUT, self._recipe.seed, r, n])
                first, end = recording.training_frames, recording.movie.shape[0]
                block, scale = _random_block(recording, self._recipe, rng, first, end)
                batches.append(_stack([split_block(block, recording.split)], [scale]))
        return batches


def _orientations(recipe: Recipe) -> int:
    if recipe.augment == "turns":
        return orientation_count(recipe.patch)
    return _FLIPS if recipe.augment == "flips" else 1


def _random_block(
    recording: Recording, recipe: Recipe, rng: np.random.Generator, t_first: int, t_end: int
) -> tuple[NDArray[np.float32], float]:
    """Return a block (T, Y, X) in network units, from frames ``t_first`` to ``t_end - 1``, and its scale."""
    movie = recording.movie
    _, channels, lines, pixels = movie.shape
    _, y, x = block_size(recording.split, recipe.patch)
    c = int(rng.integers(channels))
    frame_ranges = _random_frames(recording, recipe, rng, t_first, t_end)
    y0 = 2 * int(rng.integers((lines - y) // 2 + 1))  # even, so that a line keeps its direction
    x0 = int(rng.integers(pixels - x + 1))
    if recording.scan.bidirectional and not recording.scan.mirrored:
        # In the order of sampling, backward lines are mirrored, so a column of the image needs whole lines.
        whole = np.concatenate([movie.read(t0, t1, c, y0, y0 + y, 0, pixels) for t0, t1 in frame_ranges])
        counts = to_image_order(whole, recording.scan)[..., x0 : x0 + x]
    else:
        counts = np.concatenate([movie.read(t0, t1, c, y0, y0 + y, x0, x0 + x) for t0, t1 in frame_ranges])
    normalizer = recording.normalizers[c]
    # Normalizer.apply is not used because it replaces NaN, which training must detect.
    units = (counts.astype(np.float32) - np.float32(normalizer.offset)) / np.float32(normalizer.scale)
    return units, normalizer.scale


def _random_frames(
    recording: Recording, recipe: Recipe, rng: np.random.Generator, t_first: int, t_end: int
) -> list[tuple[int, int]]:
    """Return the frames of a random block, as ranges of consecutive frames: first and end of each."""
    length, slices = block_size(recording.split, recipe.patch)[0], recording.slices
    if recording.split not in ("tis", "sis"):
        t0 = t_first + int(rng.integers(t_end - t_first - length + 1))
        return [(t0, t0 + length)]
    volumes = 2 if recording.split == "tis" else 1  # consecutive ones
    depth = length // volumes
    volume = t_first // slices + int(rng.integers((t_end - t_first) // slices - volumes + 1))
    z0 = int(rng.integers(slices - depth + 1))
    return [((volume + n) * slices + z0, (volume + n) * slices + z0 + depth) for n in range(volumes)]


def _stack(pairs: Sequence[TrainingPair], scales: Sequence[float], gap: GapBlocks | None = None) -> Batch:
    all_inputs, all_targets = zip(*pairs, strict=True)
    inputs, targets = np.stack(all_inputs)[:, None], np.stack(all_targets)[:, None]
    noise = float(((inputs - targets) ** 2).mean(dtype=np.float64)) / 2
    return Batch(inputs, targets, np.array(scales, np.float32), noise, gap=gap)
