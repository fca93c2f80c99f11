"""Recordings and their pairs: reproducible, in image order, swapped at random, never from held-out frames."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.train.movie import ArrayMovie, FileMovie
from deepbid_rt.train.recipe import Recipe, TrainingMode
from deepbid_rt.train.recording import Recording, open_recording
from deepbid_rt.train.window_pairs import WindowPairs

COLLINEAR, ORDINARY = ScanGeometry("collinear"), ScanGeometry("ordinary")
RECIPE = Recipe(patch=(8, 8, 16), calibration_frames=4, held_out=0.2)


def numbered(frames: int = 40, lines: int = 32, pixels: int = 24) -> NDArray[Any]:
    """Every pixel encodes its place: 10,000 t + 100 y + x."""
    t, y, x = np.ogrid[:frames, :lines, :pixels]
    return (10_000 * t + 100 * y + x).astype(np.float32)


def counts(recording: Recording, units: NDArray[Any]) -> NDArray[Any]:
    n = recording.normalizers[0]
    return np.rint(units * n.scale + n.offset).astype(int)


@pytest.mark.parametrize("scan", [COLLINEAR, ORDINARY])
def test_a_pair_is_two_neighbouring_lines_of_the_same_frames(scan: ScanGeometry) -> None:
    recording = open_recording(ArrayMovie(numbered()), scan, RECIPE)
    swapped = set()
    for step in range(30):
        batch = WindowPairs([recording], RECIPE).training_batch(step)
        assert batch.inputs.shape == batch.targets.shape == (1, 1, 8, 8, 16)
        first, second = counts(recording, batch.inputs[0, 0]), counts(recording, batch.targets[0, 0])
        sign = int((second - first)[0, 0, 0]) // 100
        assert sign in (-1, 1)
        assert np.all(second - first == 100 * sign)
        even = first if sign == 1 else second
        assert np.all(even // 100 % 2 == 0)
        assert even.max() // 10_000 < recording.training_frames == 32
        swapped.add(sign)
    assert swapped == {-1, 1}


def test_pairs_depend_on_the_step_alone() -> None:
    recordings = [open_recording(ArrayMovie(numbered() + 7 * n), COLLINEAR, RECIPE) for n in range(2)]
    forwards = [WindowPairs(recordings, RECIPE).training_batch(step).inputs for step in range(8)]
    backwards = [WindowPairs(recordings, RECIPE).training_batch(step).inputs for step in reversed(range(8))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert len({a.tobytes() for a in forwards}) == 8


def test_all_recordings_channels_and_places_are_used() -> None:
    movie = np.stack([numbered(), numbered() + 5_000], axis=1)  # channel 1 is offset by 5,000
    recording = open_recording(ArrayMovie(movie), ORDINARY, RECIPE)
    pairs = WindowPairs([recording], RECIPE)
    values = np.concatenate([counts(recording, pairs.training_batch(s).inputs[0, 0]).ravel() for s in range(200)])
    t, y, x = values // 10_000, values % 5_000 // 100, values % 100
    assert set(t) == set(range(32))
    assert set(y) == set(range(32))
    assert set(x) == set(range(24))


@pytest.mark.parametrize("first", ["forward", "backward"])
@pytest.mark.parametrize("layout", ["collinear", "ordinary"])
def test_backward_lines_are_put_in_image_order(layout: Any, first: Any) -> None:
    image = numbered()
    sampled = image.copy()
    backward = slice(1 if first == "forward" else 0, None, 2)
    sampled[:, backward] = sampled[:, backward, ::-1]
    plain = open_recording(ArrayMovie(image), ScanGeometry(layout), RECIPE)
    scan = ScanGeometry(layout, first=first, mirrored=False)
    mirrored = open_recording(ArrayMovie(sampled), scan, RECIPE)
    for step in range(10):
        one, other = (WindowPairs([recording], RECIPE).training_batch(step) for recording in (plain, mirrored))
        assert np.array_equal(one.targets, other.targets)


def test_held_out_pairs_are_fixed_and_come_from_the_end() -> None:
    recordings = [open_recording(ArrayMovie(numbered(n)), COLLINEAR, RECIPE) for n in (40, 60)]
    batches = WindowPairs(recordings, RECIPE).held_out_batches()
    assert len(batches) == 4
    for batch, again in zip(batches, WindowPairs(recordings, RECIPE).held_out_batches(), strict=True):
        assert np.array_equal(batch.inputs, again.inputs)
    for recording, batch in zip([recordings[0]] * 2 + [recordings[1]] * 2, batches, strict=True):
        frames = counts(recording, batch.inputs[0, 0]) // 10_000
        assert frames.min() >= recording.training_frames
    assert [r.training_frames for r in recordings] == [32, 48]


def test_scale_is_the_noise_and_offset_the_mean() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(500, 30, (64, 32, 32))
    recording = open_recording(ArrayMovie(noise), COLLINEAR, RECIPE)
    batch = WindowPairs([recording], RECIPE).training_batch(0)
    assert batch.scales[0] == pytest.approx(30, rel=0.05)
    assert batch.inputs.std() == pytest.approx(1, rel=0.1)
    assert abs(batch.inputs.mean()) < 0.1


@pytest.mark.parametrize(
    ("mode", "layout", "split"),
    [("mp", "collinear", "mp-collinear"), ("mp", "ordinary", "mp-rows"), ("tp", "ordinary", "tp")],
)
def test_the_split_follows_mode_and_layout(mode: TrainingMode, layout: Any, split: str) -> None:
    recipe = Recipe(mode=mode, patch=(8, 8, 8))
    assert open_recording(ArrayMovie(numbered()), ScanGeometry(layout), recipe).split == split


@pytest.mark.parametrize(("mode", "layout"), [("mp-collinear", "ordinary"), ("mp-rows", "collinear")])
def test_a_mode_for_another_layout_is_refused(mode: TrainingMode, layout: Any) -> None:
    message = (
        f"a recording with {layout} lines for mode {mode}; expected collinear lines for mp-collinear and ordinary ones "
        "for the other modes; use mode mp, or state the right scan with --scan."
    )
    with pytest.raises(StreamError, match=f"^{re.escape(message)}$"):
        open_recording(ArrayMovie(numbered()), ScanGeometry(layout), Recipe(mode=mode, patch=(8, 8, 8)))


@pytest.mark.parametrize("shape", [(15, 32, 24), (40, 15, 24), (40, 32, 15)])
def test_a_recording_smaller_than_the_patch_is_refused(shape: tuple[int, int, int]) -> None:
    message = (
        f"a recording of {shape[0]} frames of {shape[1]} x {shape[2]} pixels; expected at least 16 frames of 16 x 16 "
        "for the recipe's patch and a held-out part as long; choose a smaller patch or a larger recording."
    )
    with pytest.raises(StreamError, match=f"^{re.escape(message)}$"):
        open_recording(ArrayMovie(numbered(*shape)), COLLINEAR, RECIPE)


def test_a_recording_that_starts_with_nan_is_refused() -> None:
    pixels = numbered()
    pixels[2, 3, 4] = np.nan
    message = (
        "a recording with pixels that are not finite, first in frame 2 of channel 0; expected finite counts; "
        "replace NaN and infinity before training."
    )
    with pytest.raises(StreamError, match=f"^{re.escape(message)}$"):
        open_recording(ArrayMovie(pixels), COLLINEAR, RECIPE)


def test_a_movie_in_a_file_gives_the_same_pairs_as_in_memory(tmp_path: Path) -> None:
    pixels = np.stack([numbered(), numbered() + 5_000], axis=1)
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, pixels.reshape(-1, 32, 24), photometric="minisblack", metadata=None)
    memory = open_recording(ArrayMovie(pixels), COLLINEAR, RECIPE)
    with TiffMovie(path, channels=2) as movie:
        file = open_recording(FileMovie(movie), COLLINEAR, RECIPE)
        assert file.description == memory.description
        for step in range(10):
            ours, theirs = (WindowPairs([each], RECIPE).training_batch(step) for each in (file, memory))
            assert np.array_equal(ours.inputs, theirs.inputs)
            assert np.array_equal(ours.targets, theirs.targets)


def test_an_array_with_the_wrong_axes_is_refused() -> None:
    with pytest.raises(StreamError, match=r"^an array of shape \(3, 4\); expected frames as \(T, Y, X\)"):
        ArrayMovie(np.zeros((3, 4)))
