"""Pairs for the stream engine: the target is not in the input, and a step is reproducible."""

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
    """Return frames (T, Y, X) of noise, so that every pixel value is different."""
    rng = np.random.default_rng(seed)
    lines = 2 * side if scan.layout == "collinear" else side
    return (1000 + rng.normal(0, 50, (frames, lines, side))).astype(np.float32)


def pairs_of(scan: ScanGeometry, pixels: Any = None, **changes: Any) -> StreamPairs:
    recipe = recipe_of(**changes)
    return StreamPairs([open_recording(ArrayMovie(movie(scan) if pixels is None else pixels), scan, recipe)], recipe)


@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
def test_a_step_is_reproducible_and_steps_differ(scan: ScanGeometry) -> None:
    one, two = pairs_of(scan), pairs_of(scan)
    assert np.array_equal(one.training_batch(5).inputs, two.training_batch(5).inputs)
    assert not np.array_equal(one.training_batch(5).inputs, one.training_batch(6).inputs)


@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
def test_shapes_and_weights(scan: ScanGeometry) -> None:
    batch = pairs_of(scan).training_batch(0)
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
def test_no_weighted_pixel_of_the_target_is_in_the_input(scan: ScanGeometry, look_ahead: int) -> None:
    pairs = pairs_of(scan, stream_look_ahead=look_ahead)
    for step in range(20):
        batch = pairs.training_batch(step)
        assert batch.inputs.shape[1] == 6 + look_ahead
        assert batch.weights is not None
        for inputs, target, weight in zip(batch.inputs, batch.targets, batch.weights, strict=True):
            same = (inputs[[0, *range(3, len(inputs))]] == target) & (weight > 0)
            assert same.mean() < 0.01  # some counts are equal by chance


def numbered(scan: ScanGeometry, frames: int = 20) -> np.ndarray[Any, Any]:
    """Every count is about ten thousand times the number of its frame."""
    return movie(scan, frames) + 10_000 * np.arange(frames, dtype=np.float32)[:, None, None]


def numbers_of(pairs: StreamPairs, arrays: Any) -> Any:
    """Return the number of the frame that each array (Y, X) is from."""
    units = pairs._recordings[0].normalizers[0]
    return np.rint((units.offset + units.scale * arrays.mean((-2, -1)) - 1000) / 10_000).astype(int)


@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
def test_the_later_frame_is_the_next_one_and_is_missing_at_random(scan: ScanGeometry) -> None:
    pairs = pairs_of(scan, numbered(scan), stream_look_ahead=1, batch=256, held_out_pairs=99)
    batch = pairs.training_batch(0)
    frames, later_frames = numbers_of(pairs, batch.targets[:, 0]), numbers_of(pairs, batch.inputs[:, -1])
    missing = later_frames != frames + 1
    assert 0.02 < missing.mean() < 0.1
    assert np.array_equal(batch.inputs[missing, -1], batch.inputs[missing, -2])
    for held_out in pairs.held_out_batches():
        frames, later_frames = numbers_of(pairs, held_out.targets[:, 0]), numbers_of(pairs, held_out.inputs[:, -1])
        assert (later_frames[frames < 19] == frames[frames < 19] + 1).all()


def test_held_out_frames_are_not_used_as_later_frames() -> None:
    pairs = pairs_of(COLLINEAR, numbered(COLLINEAR), stream_look_ahead=2, batch=256)
    batch = pairs.training_batch(0)
    assert pairs._recordings[0].training_frames == 17
    assert numbers_of(pairs, batch.targets[:, 0]).max() == 14
    assert numbers_of(pairs, batch.inputs[:, -2:]).max() == 16


def test_first_frames_are_chosen_more_often_unless_they_are_held_out() -> None:
    pairs = pairs_of(COLLINEAR, numbered(COLLINEAR, 100), batch=512)
    assert np.mean(numbers_of(pairs, pairs.training_batch(0).targets[:, 0]) < 20) == pytest.approx(
        0.3 + 0.7 * 20 / 85, abs=0.07
    )
    pairs = pairs_of(COLLINEAR, numbered(COLLINEAR), stream_look_ahead=2, batch=256)
    assert numbers_of(pairs, pairs.training_batch(0).targets[:, 0]).max() == 14


def test_the_target_of_a_frame_does_not_change_its_temporal_averages() -> None:
    """Apart from the estimated motion: this movie is too small for that."""
    ours, other = movie(COLLINEAR), movie(COLLINEAR)
    other[-1, 1::2] += 500  # frame 19, backward
    one, two = (pairs_of(COLLINEAR, pixels) for pixels in (ours, other))
    assert np.array_equal(one._caches[0].arrays, two._caches[0].arrays)


def test_held_out_pairs_are_from_the_last_frames() -> None:
    pixels = movie(COLLINEAR)
    pixels[:17] = 0
    pixels[:8] += np.random.default_rng(0).normal(0, 50, pixels[:8].shape)
    batches = pairs_of(COLLINEAR, pixels).held_out_batches()
    assert [batch.inputs.shape[0] for batch in batches] == [3]
    assert (np.abs(batches[0].targets).min(axis=(1, 2, 3)) > 1).all()


def test_half_of_the_pairs_are_swapped() -> None:
    pixels = movie(COLLINEAR)
    pixels[:, 0::2] += 20_000
    recipe = recipe_of(batch=64)
    batch = StreamPairs([open_recording(ArrayMovie(pixels), COLLINEAR, recipe)], recipe).training_batch(0)
    share = np.mean(batch.targets.mean(axis=(1, 2, 3)) > 0)
    assert 0.3 < share < 0.7


def test_pixels_that_are_not_finite_are_refused() -> None:
    pixels = movie(COLLINEAR)
    recording = open_recording(ArrayMovie(pixels), COLLINEAR, recipe_of())
    pixels[15, 3, 3] = np.nan  # after the recording was checked
    message = r"^a recording with pixels that are not finite in frames 15 to 15; expected finite counts; replace NaN"
    with pytest.raises(StageError, match=message):
        StreamPairs([recording], recipe_of())


def test_pairs_are_from_cached_frames_of_the_right_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every count is about ten thousand times the number of its frame."""
    monkeypatch.setattr(module, "STRETCH_FRAMES", 8)
    monkeypatch.setattr(module, "MAX_BYTES", 24 * 4 * 24 * 24 * 2)
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

    assert frames(pairs.training_batch(0).targets) == {t for t in kept if t < 85}
    assert frames(pairs.held_out_batches()[0].targets) <= {t for t in kept if t >= 85}


def test_a_recording_of_three_frames_gives_finite_pairs() -> None:
    pairs = pairs_of(COLLINEAR, movie(COLLINEAR, 3), stream_look_ahead=2)
    assert np.isfinite(pairs.training_batch(0).inputs).all()
    assert np.isfinite(pairs.held_out_batches()[0].inputs).all()
