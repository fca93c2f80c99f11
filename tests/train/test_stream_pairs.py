"""Pairs for the stream engine: honest, repeatable, and made by the code of the live path."""

from typing import Any

import numpy as np
import pytest

from deepbid_rt.errors import StageError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.train import motion_history_cache as module
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import open_recording
from deepbid_rt.train.stream_pairs import StreamPairs

COLLINEAR, ORDINARY = ScanGeometry("collinear"), ScanGeometry("ordinary")


def recipe_of(**changes: Any) -> Recipe:
    return Recipe.from_dict(
        {"mode": "stream", "width": 2, "patch": [1, 16, 16], "batch": 4, "held_out_pairs": 3, "calibration_frames": 8}
        | changes
    )


def movie(scan: ScanGeometry, frames: int = 20, side: int = 24, seed: int = 0) -> np.ndarray[Any, Any]:
    """Frames (T, Y, X) of one unlike value each under noise, so that a value tells its frame and its view."""
    rng = np.random.default_rng(seed)
    lines = 2 * side if scan.layout == "collinear" else side
    return (1000 + rng.normal(0, 50, (frames, lines, side))).astype(np.float32)


def pairs_of(scan: ScanGeometry, pixels: Any = None, **changes: Any) -> StreamPairs:
    recipe = recipe_of(**changes)
    return StreamPairs([open_recording(ArrayMovie(movie(scan) if pixels is None else pixels), scan, recipe)], recipe)


@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
def test_a_step_is_repeated_exactly_and_others_differ(scan: ScanGeometry) -> None:
    one, two = pairs_of(scan), pairs_of(scan)
    assert np.array_equal(one.draw(5).inputs, two.draw(5).inputs)
    assert not np.array_equal(one.draw(5).inputs, one.draw(6).inputs)


@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
def test_shapes_and_what_counts(scan: ScanGeometry) -> None:
    batch = pairs_of(scan).draw(0)
    assert batch.inputs.shape == (4, 6, 16, 16)
    assert batch.targets.shape == (4, 1, 16, 16)
    assert batch.weights is not None
    assert batch.weights.shape == batch.targets.shape
    assert batch.noise == pytest.approx(1, abs=0.2)
    if scan == ORDINARY:
        assert np.array_equal(batch.weights[:, 0], 1 - batch.inputs[:, 1])
        assert batch.weights.mean() == 0.5
    else:
        assert (batch.weights == 1).all()


@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
@pytest.mark.parametrize("look_ahead", [0, 2])
def test_no_pixel_that_counts_in_the_target_stands_in_the_input(scan: ScanGeometry, look_ahead: int) -> None:
    pairs = pairs_of(scan, stream_look_ahead=look_ahead)
    for step in range(20):
        batch = pairs.draw(step)
        assert batch.inputs.shape[1] == 6 + look_ahead
        assert batch.weights is not None
        for inputs, target, weight in zip(batch.inputs, batch.targets, batch.weights, strict=True):
            same = (inputs[[0, *range(3, len(inputs))]] == target) & (weight > 0)
            assert same.mean() < 0.01  # now and then two counts are equal by chance


def numbered(scan: ScanGeometry, frames: int = 20) -> np.ndarray[Any, Any]:
    """Every count is ten thousand times the number of its frame, near enough."""
    return movie(scan, frames) + 10_000 * np.arange(frames, dtype=np.float32)[:, None, None]


def numbers_of(pairs: StreamPairs, arrays: Any) -> Any:
    """Return which frame each array (Y, X) is of."""
    units = pairs._recordings[0].normalizers[0]
    return np.rint((units.offset + units.scale * arrays.mean((-2, -1)) - 1000) / 10_000).astype(int)


@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
def test_the_frame_ahead_is_the_next_one_and_now_and_then_it_is_hidden(scan: ScanGeometry) -> None:
    pairs = pairs_of(scan, numbered(scan), stream_look_ahead=1, batch=256, held_out_pairs=99)
    batch = pairs.draw(0)
    shown, later_frames = numbers_of(pairs, batch.targets[:, 0]), numbers_of(pairs, batch.inputs[:, -1])
    hidden = later_frames != shown + 1
    assert 0.02 < hidden.mean() < 0.1
    assert np.array_equal(batch.inputs[hidden, -1], batch.inputs[hidden, -2])
    for held_out in pairs.held_out():
        shown, later_frames = numbers_of(pairs, held_out.targets[:, 0]), numbers_of(pairs, held_out.inputs[:, -1])
        assert (later_frames[shown < 19] == shown[shown < 19] + 1).all()


def test_training_does_not_look_ahead_into_what_is_held_out() -> None:
    pairs = pairs_of(COLLINEAR, numbered(COLLINEAR), stream_look_ahead=2, batch=256)
    batch = pairs.draw(0)
    assert pairs._recordings[0].frames_training == 17
    assert numbers_of(pairs, batch.targets[:, 0]).max() == 14
    assert numbers_of(pairs, batch.inputs[:, -2:]).max() == 16


def test_first_frames_are_met_more_often_as_long_as_they_are_not_held_out() -> None:
    pairs = pairs_of(COLLINEAR, numbered(COLLINEAR, 100), batch=512)
    assert np.mean(numbers_of(pairs, pairs.draw(0).targets[:, 0]) < 20) == pytest.approx(0.3 + 0.7 * 20 / 85, abs=0.07)
    pairs = pairs_of(COLLINEAR, numbered(COLLINEAR), stream_look_ahead=2, batch=256)
    assert numbers_of(pairs, pairs.draw(0).targets[:, 0]).max() == 14


def test_the_target_of_a_frame_does_not_change_its_memories() -> None:
    """Beyond where the frame lies: this movie is too small to be moved."""
    ours, other = movie(COLLINEAR), movie(COLLINEAR)
    other[-1, 1::2] += 500  # frame 19, backward
    one, two = (pairs_of(COLLINEAR, pixels) for pixels in (ours, other))
    assert np.array_equal(one._remembered[0].arrays, two._remembered[0].arrays)


def test_held_out_pairs_are_of_the_last_frames_and_fixed() -> None:
    pixels = movie(COLLINEAR)
    pixels[:17] = 0
    pixels[:8] += np.random.default_rng(0).normal(0, 50, pixels[:8].shape)
    batches = pairs_of(COLLINEAR, pixels).held_out()
    assert [batch.inputs.shape[0] for batch in batches] == [3]
    assert (np.abs(batches[0].targets).min(axis=(1, 2, 3)) > 1).all()


def test_half_of_the_pairs_are_swapped() -> None:
    pixels = movie(COLLINEAR)
    pixels[:, 0::2] += 20_000
    recipe = recipe_of(batch=64)
    batch = StreamPairs([open_recording(ArrayMovie(pixels), COLLINEAR, recipe)], recipe).draw(0)
    share = np.mean(batch.targets.mean(axis=(1, 2, 3)) > 0)
    assert 0.3 < share < 0.7


def test_pixels_that_are_not_finite_are_refused() -> None:
    pixels = movie(COLLINEAR)
    recording = open_recording(ArrayMovie(pixels), COLLINEAR, recipe_of())
    pixels[15, 3, 3] = np.nan  # after the recording was looked through
    message = r"^a recording with pixels that are not finite in frames 15 to 15; expected finite counts; replace NaN"
    with pytest.raises(StageError, match=message):
        StreamPairs([recording], recipe_of())


def test_pairs_are_of_kept_frames_of_their_own_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every count is the number of its frame, near enough."""
    monkeypatch.setattr(module, "STRETCH", 8)
    monkeypatch.setattr(module, "MOST_BYTES", 24 * 4 * 24 * 24 * 2)
    pixels = movie(COLLINEAR, frames=100)
    pixels += 10_000 * np.arange(100, dtype=np.float32)[:, None, None]
    recipe = recipe_of(batch=64)
    recording = open_recording(ArrayMovie(pixels), COLLINEAR, recipe)
    pairs = StreamPairs([recording], recipe)
    kept = {*range(8), *range(46, 54), *range(92, 100)}

    def frames(targets: Any) -> set[int]:
        units = recording.normalizers[0]
        counts = units.offset + units.scale * targets.mean((1, 2, 3))
        return set(np.rint((counts - 1000) / 10_000).astype(int).tolist())

    assert frames(pairs.draw(0).targets) == {t for t in kept if t < 85}
    assert frames(pairs.held_out()[0].targets) <= {t for t in kept if t >= 85}


def test_a_recording_of_hardly_any_frames_is_learned_from_with_what_there_is() -> None:
    pairs = pairs_of(COLLINEAR, movie(COLLINEAR, 3), stream_look_ahead=2)
    assert np.isfinite(pairs.draw(0).inputs).all()
    assert np.isfinite(pairs.held_out()[0].inputs).all()
