"""Training pairs for the stream engine: the input is one view with its temporal averages, the target the other view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepbid_rt.denoising.network_inputs import VisibleLines, network_inputs
from deepbid_rt.frame import Image
from deepbid_rt.train.batch import Batch
from deepbid_rt.train.motion_history_cache import cache_motion_history
from deepbid_rt.train.pairs import orient
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import Recording

_TRAINING, _HELD_OUT = 2, 3
"""First word of the random seed, so that training and held-out pairs differ."""
_FLIPS = 4
"""Number of orientations. No quarter turns: they would turn masked lines into columns, whose noise is correlated."""
_NO_HISTORY = 0.05
"""Share of pairs without temporal averages, as at the start of a series."""
_EARLY, _EARLY_FRAMES = 0.3, 20
"""Share of pairs from the first frames of a recording, and number of these frames: their averages are noisier."""
_NO_LATER_FRAMES = 0.05
"""Share of pairs without later frames, as at the end of a series or before a gap."""
_MASKED = 0.25
"""Share of pairs of collinear recordings of whose view only every other line is visible."""
_NO_VIEW = 0.05
"""Share of pairs of whose view no line is visible: the network then predicts it from the temporal averages."""


class StreamPairs:
    """Training and held-out pairs of single frames with their temporal averages.

    The target is never part of its input. The target is the other view of the same frame, while temporal averages hold
    earlier frames only, and later frames are later. The noise of these frames is independent of the target, so both of
    their views may be used.

    Parameters
    ----------
    recordings : sequence of Recording
    recipe : Recipe
        Its patch has one frame.

    Raises
    ------
    StageError
        When a recording holds values that are not finite.
    FileError
        When the folder of temporary files has no space for the averages of all recordings. This is checked before any
        is computed.
    """

    def __init__(self, recordings: Sequence[Recording], recipe: Recipe) -> None:
        self._recordings, self._recipe = recordings, recipe
        self._caches = cache_motion_history(recordings, recipe.memories, recipe.stream_look_ahead)

    def training_batch(self, step: int, indices: Sequence[int] | None = None) -> Batch:
        """Return the pairs of training step ``step``, or those with the given indices in its batch.

        They depend on the recordings, the recipe, the step and the indices only.
        """
        pairs = []
        for n in range(self._recipe.batch) if indices is None else indices:
            rng = np.random.default_rng([_TRAINING, self._recipe.seed, step, n])
            number = int(rng.integers(len(self._recordings)))
            # Held-out frames are not used as later frames either.
            end = max(1, self._recordings[number].training_frames - self._recipe.stream_look_ahead)
            if rng.random() < _EARLY:
                end = min(end, _EARLY_FRAMES)
            pairs.append(self._pair(number, rng, 0, end, augment=True))
        return _stack(pairs)

    def held_out_batches(self) -> list[Batch]:
        """Return the fixed pairs for validation, one batch per recording."""
        batches = []
        for number, recording in enumerate(self._recordings):
            pairs = []
            for n in range(self._recipe.held_out_pairs):
                rng = np.random.default_rng([_HELD_OUT, self._recipe.seed, number, n])
                first, end = recording.training_frames, recording.movie.shape[0]
                pairs.append(self._pair(number, rng, first, end, augment=False))
            batches.append(_stack(pairs))
        return batches

    def _pair(
        self, number: int, rng: np.random.Generator, t_first: int, t_end: int, *, augment: bool
    ) -> tuple[Image, Image, Image, float, float]:
        """Return inputs (K, Y, X), target (1, Y, X), weights (1, Y, X), scale and noise variance of a random pair."""
        recording, cache = self._recordings[number], self._caches[number]
        _, channels, _, rows, columns = cache.arrays.shape
        _, height, width = self._recipe.patch
        kept, c = int(rng.integers(*cache.kept_between(t_first, t_end))), int(rng.integers(channels))
        t = int(cache.frames[kept])
        y0 = 2 * int(rng.integers((rows - height) // 2 + 1))  # even, so that a line keeps its direction
        x0 = int(rng.integers(columns - width + 1))
        place = np.s_[y0 : y0 + height, x0 : x0 + width]
        views = recording.read_views(t, t + 1)[0, c]
        cached = np.asarray(cache.arrays[kept, c][:, *place], np.float32)
        averages, later_frames = np.split(cached, [len(self._recipe.memories) + 1])
        swapped, no_history, masked, no_view = rng.random(4) < (
            0.5,
            _NO_HISTORY * augment,
            _MASKED * augment,
            _NO_VIEW * augment,
        )
        if no_history:
            averages = np.zeros_like(averages)
        if len(later_frames) and rng.random() < _NO_LATER_FRAMES * augment:
            later_frames = np.full_like(later_frames, np.nan)
        half: VisibleLines = "even" if rng.random() < 0.5 else "odd"
        if len(views) == 2:
            view, target = (v[place] for v in (views[::-1] if swapped else views))
            noise = float(np.mean((view - target) ** 2, dtype=np.float64)) / 2
            visible: VisibleLines = "none" if no_view else half if masked else "all"
            inputs, weight = network_inputs(view, averages, visible, later_frames), np.ones_like(target)
        else:
            target = views[0][place]
            noise = float(np.mean((target[0::2] - target[1::2]) ** 2, dtype=np.float64)) / 2
            inputs = network_inputs(target, averages, "none" if no_view else half, later_frames)
            weight = 1 - inputs[1]
        orientation = int(rng.integers(_FLIPS)) if augment else 0
        pair = [orient(array, orientation) for array in (inputs, target[None], weight[None])]
        return pair[0], pair[1], pair[2], recording.normalizers[c].scale, noise


def _stack(pairs: Sequence[tuple[Image, Image, Image, float, float]]) -> Batch:
    inputs, targets, weights, scales, noise = zip(*pairs, strict=True)
    return Batch(
        np.stack(inputs), np.stack(targets), np.array(scales, np.float32), float(np.mean(noise)), np.stack(weights)
    )
