"""Pairs for the stream engine: one view and what is known of its frame besides in, the other view out.

Knows nothing of how past and future are worked out, or of torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.network_inputs import Rows, network_inputs
from deepbid_rt.train.batch import Batch
from deepbid_rt.train.motion_history_cache import cache_motion_history
from deepbid_rt.train.pairs import orient
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import Recording

Image = NDArray[np.float32]
_TRAINING, _HELD_OUT = 2, 3  # first word of the random seed, unlike those of `deepbid_rt.train.recording`
_FLIPS = 4
"""Flips alone: a quarter turn would turn masked lines into masked columns, whose noise is not independent."""
_FORGET = 0.05
"""Share of pairs without memories, as at the start of a series."""
_YOUNG, _YOUTH = 0.3, 20
"""Share of pairs from the first frames of a recording, and how many these are: memories are worth less there."""
_LAST = 0.05
"""Share of pairs without the frames ahead, as at the end of a series or before a gap."""
_MASK = 0.25
"""Share of pairs of collinear recordings whose input shows every other line only."""
_BLIND = 0.05
"""Share of pairs whose input shows no line: what the memories alone foretell."""


class StreamPairs:
    """Draws pairs of single frames with their memories.

    The target is never part of its own input: it is the other scan direction of the same frame, and the memories hold
    frames before it only, as what lies ahead holds frames after it. Their noise is independent of it, so both
    directions may enter them.

    Parameters
    ----------
    recordings : sequence of Recording
    recipe : Recipe
        Its patch is one frame long.

    Raises
    ------
    StageError
        When a recording holds values that are not finite.
    FileError
        When the folder of temporary files has no room for the past of all recordings; before any is worked out.
    """

    def __init__(self, recordings: Sequence[Recording], recipe: Recipe) -> None:
        self._recordings, self._recipe = recordings, recipe
        self._remembered = cache_motion_history(recordings, recipe.memories, recipe.stream_look_ahead)

    def draw(self, step: int, numbers: Sequence[int] | None = None) -> Batch:
        """Return the pairs of step ``step``, or those of its batch with these numbers: a pure function of all four."""
        pairs = []
        for n in range(self._recipe.batch) if numbers is None else numbers:
            rng = np.random.default_rng([_TRAINING, self._recipe.seed, step, n])
            number = int(rng.integers(len(self._recordings)))
            # Frames that are held out are not looked ahead to either.
            end = max(1, self._recordings[number].frames_training - self._recipe.stream_look_ahead)
            if rng.random() < _YOUNG:
                end = min(end, _YOUTH)
            pairs.append(self._pair(number, rng, 0, end, augment=True))
        return _stack(pairs)

    def held_out(self) -> list[Batch]:
        """Return the fixed pairs that every version of the network is judged on, one batch per recording."""
        batches = []
        for number, recording in enumerate(self._recordings):
            pairs = []
            for n in range(self._recipe.held_out_pairs):
                rng = np.random.default_rng([_HELD_OUT, self._recipe.seed, number, n])
                first, end = recording.frames_training, recording.movie.shape[0]
                pairs.append(self._pair(number, rng, first, end, augment=False))
            batches.append(_stack(pairs))
        return batches

    def _pair(
        self, number: int, rng: np.random.Generator, t_first: int, t_end: int, *, augment: bool
    ) -> tuple[Image, Image, Image, float, float]:
        recording, averages = self._recordings[number], self._remembered[number]
        _, channels, _, rows, columns = averages.arrays.shape
        _, height, width = self._recipe.patch
        kept, c = int(rng.integers(*averages.between(t_first, t_end))), int(rng.integers(channels))
        t = int(averages.frames[kept])
        y0 = 2 * int(rng.integers((rows - height) // 2 + 1))  # even, so that a line keeps its direction
        x0 = int(rng.integers(columns - width + 1))
        place = np.s_[y0 : y0 + height, x0 : x0 + width]
        views = recording.views(t, t + 1)[0, c]
        known = np.asarray(averages.arrays[kept, c][:, *place], np.float32)
        past, later_frames = np.split(known, [len(self._recipe.memories) + 1])
        swapped, forgotten, masked, blind = rng.random(4) < (0.5, _FORGET * augment, _MASK * augment, _BLIND * augment)
        if forgotten:
            past = np.zeros_like(past)
        if len(later_frames) and rng.random() < _LAST * augment:
            later_frames = np.full_like(later_frames, np.nan)
        mask: Rows = "even" if rng.random() < 0.5 else "odd"
        if len(views) == 2:
            view, target = (v[place] for v in (views[::-1] if swapped else views))
            noise = float(np.mean((view - target) ** 2, dtype=np.float64)) / 2
            shown: Rows = "none" if blind else mask if masked else "all"
            inputs, weight = network_inputs(view, past, shown, later_frames), np.ones_like(target)
        else:
            target = views[0][place]
            noise = float(np.mean((target[0::2] - target[1::2]) ** 2, dtype=np.float64)) / 2
            inputs = network_inputs(target, past, "none" if blind else mask, later_frames)
            weight = 1 - inputs[1]
        orientation = int(rng.integers(_FLIPS)) if augment else 0
        pair = [orient(array, orientation) for array in (inputs, target[None], weight[None])]
        return pair[0], pair[1], pair[2], recording.normalizers[c].scale, noise


def _stack(pairs: Sequence[tuple[Image, Image, Image, float, float]]) -> Batch:
    inputs, targets, weights, scales, noise = zip(*pairs, strict=True)
    return Batch(
        np.stack(inputs), np.stack(targets), np.array(scales, np.float32), float(np.mean(noise)), np.stack(weights)
    )
