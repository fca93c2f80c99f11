"""Pairs of windows: from volumes, with the allowed orientations, and with the blocks for the gap-amending term."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deepbid_rt.errors import EngineError, StreamError
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.pairs import split_block
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import Recording, open_recording, open_recordings
from deepbid_rt.train.window_pairs import WindowPairs
from tests.training import COLLINEAR, ORDINARY

SLICES = 20


def numbered(frames: int = 205, lines: int = 32, pixels: int = 24) -> NDArray[Any]:
    """Every pixel encodes its place: 10,000 t + 100 y + x."""
    t, y, x = np.ogrid[:frames, :lines, :pixels]
    return (10_000 * t + 100 * y + x).astype(np.float64)


def counts(recording: Recording, units: NDArray[Any]) -> NDArray[Any]:
    n = recording.normalizers[0]
    return np.rint(units.astype(np.float64) * n.scale + n.offset).astype(int)


def frames_of(recording: Recording, units: NDArray[Any]) -> NDArray[Any]:
    return counts(recording, units)[:, 0, 0] // 10_000


def opened(mode: Any, **changes: Any) -> tuple[Recording, Recipe]:
    recipe = Recipe(mode=mode, patch=(8, 8, 8), calibration_frames=4, held_out=0.2, **changes)
    return open_recording(ArrayMovie(numbered()), ORDINARY, recipe, SLICES), recipe


def test_a_pair_of_time_interleaved_volumes_shows_the_same_slices_of_neighbouring_volumes() -> None:
    recording, recipe = opened("tis")
    assert recording.training_frames == 160  # of 10 complete volumes 2 are held out; 5 frames are left over
    starts = set()
    for step in range(60):
        batch = WindowPairs([recording], recipe).training_batch(step)
        first, second = (frames_of(recording, units[0, 0]) for units in (batch.inputs, batch.targets))
        assert abs(first[0] - second[0]) == SLICES
        assert np.array_equal(np.diff(first), np.ones(7))
        assert np.array_equal(np.diff(second), np.ones(7))
        assert first[0] // SLICES == first[-1] // SLICES  # within one volume
        assert max(first.max(), second.max()) < recording.training_frames
        starts.add((first[0] // SLICES, first[0] % SLICES))
    assert {volume for volume, _ in starts} == set(range(8))
    assert {z for _, z in starts} >= {0, SLICES - 8}


def test_a_pair_of_slice_interleaved_volumes_shows_neighbouring_slices() -> None:
    recording, recipe = opened("sis")
    swapped = set()
    for step in range(40):
        batch = WindowPairs([recording], recipe).training_batch(step)
        first, second = (frames_of(recording, units[0, 0]) for units in (batch.inputs, batch.targets))
        assert np.array_equal(np.diff(first), np.full(7, 2))
        assert np.ptp(second - first) == 0
        both = np.concatenate([first, second])
        assert both.min() // SLICES == both.max() // SLICES
        swapped.add(int(second[0] - first[0]))
    assert swapped == {-1, 1}


@pytest.mark.parametrize("mode", ["tis", "sis"])
def test_held_out_pairs_come_from_the_last_whole_volumes(mode: Any) -> None:
    recording, recipe = opened(mode)
    for batch in WindowPairs([recording], recipe).held_out_batches():
        for units in (batch.inputs, batch.targets):
            frames = frames_of(recording, units[0, 0])
            assert frames.min() >= recording.training_frames
            assert frames.max() < 200


@pytest.mark.parametrize(
    ("mode", "slices", "came", "least"),
    [
        ("tis", 20, (60, 3), "4 volumes of 8 slices"),
        ("tis", 7, (205, 29), "4 volumes of 8 slices"),
        ("sis", 20, (20, 1), "2 volumes of 16 slices"),
        ("sis", 1, (205, 205), "2 volumes of 16 slices"),
    ],
)
def test_too_few_volumes_or_slices_are_refused(mode: Any, slices: int, came: tuple[int, int], least: str) -> None:
    recipe = Recipe(mode=mode, patch=(8, 8, 8), calibration_frames=4)
    message = (
        f"a recording of {came[1]} volumes of {slices} slices; expected at least {least} for mode {mode} and the "
        "recipe's patch; state the number of slices of a volume with --planes, or choose a patch of fewer frames."
    )
    with pytest.raises(StreamError, match=f"^{re.escape(message)}$"):
        open_recording(ArrayMovie(numbered(came[0])), ORDINARY, recipe, slices)


def test_each_plane_becomes_a_recording() -> None:
    recipe = Recipe(mode="tp", patch=(8, 8, 8), calibration_frames=4)
    planes = open_recordings(ArrayMovie(numbered(200)), ORDINARY, recipe, planes=3)
    assert [r.movie.shape[0] for r in planes] == [66, 66, 66]
    first_frames = set()
    for step in range(30):
        for plane, recording in enumerate(planes):
            batch = WindowPairs([recording], recipe).training_batch(step)
            frames = np.concatenate([frames_of(recording, u[0, 0]) for u in (batch.inputs, batch.targets)])
            assert set(frames % 3) == {plane}
            assert sorted(frames) == list(range(frames.min(), frames.min() + 48, 3))
        first_frames.add(frames.min())
    assert len(first_frames) > 3


def slopes(units: NDArray[Any]) -> tuple[int, int]:
    """Absolute differences between neighbouring lines and between neighbouring pixels."""
    return abs(int(units[0, 1, 0] - units[0, 0, 0])), abs(int(units[0, 0, 1] - units[0, 0, 0]))


@pytest.mark.parametrize(("augment", "expected"), [("turns", 8), ("flips", 4), ("none", 1)])
def test_the_recipe_chooses_the_orientations(augment: Any, expected: int) -> None:
    recipe = Recipe(mode="mp-rows", patch=(8, 8, 8), calibration_frames=4, augment=augment)
    recording = open_recording(ArrayMovie(numbered(40)), ORDINARY, recipe)
    slopes_found, lines = set(), set()
    for step in range(120):
        view = counts(recording, WindowPairs([recording], recipe).training_batch(step).inputs[0, 0])
        slopes_found.add((int(view[0, 1, 0] - view[0, 0, 0]), int(view[0, 0, 1] - view[0, 0, 0])))
        lines.add(slopes(view))
    assert len(slopes_found) == expected
    assert lines == ({(200, 1), (1, 200)} if augment == "turns" else {(200, 1)})


@settings(max_examples=30, deadline=None)
@given(
    st.integers(16, 40), st.integers(8, 30), st.integers(8, 30), st.sampled_from(["mp-rows", "tp"]), st.integers(0, 99)
)
def test_non_square_frames_and_short_movies_give_valid_pairs(t: int, y: int, x: int, mode: Any, step: int) -> None:
    recipe = Recipe(mode=mode, patch=(8, 8, 8), calibration_frames=2)
    pixels = numbered(2 * t, 2 * y, x)
    recording = open_recording(ArrayMovie(pixels), ORDINARY, recipe)
    batch = WindowPairs([recording], recipe).training_batch(step)
    step_of = {"mp-rows": 100, "tp": 10_000}[mode]
    difference = counts(recording, batch.targets[0, 0]) - counts(recording, batch.inputs[0, 0])
    assert set(np.abs(difference).ravel()) == {step_of}


@pytest.mark.parametrize("mode", ["mp-rows", "mp-rows-stacked", "sis"])
def test_the_gap_block_of_a_pair_splits_into_the_pair(mode: Any) -> None:
    recording, recipe = opened(mode, gap_weight=1.0, augment="flips", batch=3)
    signs = set()
    for step in range(20):
        batch = WindowPairs([recording], recipe).training_batch(step)
        assert batch.gap is not None
        assert batch.gap.split == mode
        views = split_block(batch.gap.blocks, batch.gap.split)
        for n, sign in enumerate(batch.gap.signs):
            first, second = (batch.inputs[n], batch.targets[n])[:: int(sign)]
            assert np.array_equal(views[0][n], first)
            assert np.array_equal(views[1][n], second)
            signs.add(int(sign))
    assert signs == {-1, 1}


@pytest.mark.parametrize("mode", ["tp", "tis", "mp-collinear", "stream"])
def test_the_gap_term_is_refused_for_modes_without_a_gap(mode: Any) -> None:
    patch = (1, 8, 8) if mode == "stream" else (8, 8, 8)
    with pytest.raises(EngineError, match=f"expected 0 for mode {mode}, whose views have no gap"):
        Recipe(mode=mode, patch=patch, gap_weight=1.0, augment="flips")


def test_the_gap_term_is_refused_with_quarter_turns_and_on_collinear_recordings() -> None:
    with pytest.raises(EngineError, match="augment = 'turns'; expected flips or none together with gap_weight"):
        Recipe(mode="mp-rows", gap_weight=1.0)
    recipe = Recipe(patch=(8, 8, 8), gap_weight=1.0, augment="flips")
    with pytest.raises(
        StreamError, match="a collinear recording for a recipe with gap_weight; expected an ordinary scan"
    ):
        open_recording(ArrayMovie(numbered(40)), COLLINEAR, recipe)


def test_a_part_of_a_batch_has_the_same_pairs() -> None:
    recording, recipe = opened("mp-rows", batch=4)
    whole = WindowPairs([recording], recipe).training_batch(5)
    part = WindowPairs([recording], recipe).training_batch(5, range(2, 4))
    assert np.array_equal(whole.inputs[2:], part.inputs)
    assert np.array_equal(whole.targets[2:], part.targets)
