"""The view of a recording that all formats are written from."""

from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.conversion.volumes import Volumes
from deepbid_rt.errors import StreamError
from tests.conversion.recordings import noise, recording


def test_images_follow_each_other_by_channel_then_plane_then_time() -> None:
    truth = noise()
    told: list[int] = []
    volumes = Volumes(recording(truth), progress=told.append)
    assert volumes.shape == truth.shape
    np.testing.assert_array_equal(np.stack(list(volumes.pages())), truth.reshape(-1, 12, 16))
    assert told == list(range(1, 16))


@pytest.mark.parametrize("length", [1, 2, 5, 9])
def test_blocks_are_the_same_pixels_and_never_more_in_memory(length: int) -> None:
    truth = noise()
    movie = recording(truth)
    told: list[int] = []
    blocks = list(Volumes(movie, progress=told.append).blocks(length))
    assert [first for first, _ in blocks] == list(range(0, 5, length))
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), truth)
    assert movie.longest == min(length, 5) * 3
    assert told[-1] == 15


def test_facts_are_those_of_volumes() -> None:
    volumes = Volumes(recording(noise()))
    assert volumes.rate_hz == 10.0
    assert volumes.pixel_um == (0.8, 0.4)
    assert volumes.channel_names == ("GCaMP6f", "red µ/2")
    assert volumes.times_s is not None
    assert volumes.times_s.shape == (5, 3)
    assert volumes.numbers is not None
    assert volumes.numbers[:2].tolist() == [[7, 8, 9], [12, 13, 14]]
    assert volumes.notes == ("the recording is denoised, not raw data",)


def test_a_given_rate_replaces_rate_and_times() -> None:
    volumes = Volumes(recording(noise()), rate_hz=15.0)
    assert (volumes.rate_hz, volumes.times_s) == (5.0, None)
    assert volumes.numbers is not None


def test_what_does_not_fit_is_not_stated() -> None:
    odd = {"channel_names": ("a", "b", "c"), "times_s": np.arange(4.0), "numbers": np.arange(3)}
    volumes = Volumes(recording(noise(), **odd))
    assert (volumes.channel_names, volumes.times_s, volumes.numbers) == ((), None, None)
    assert Volumes(recording(noise(), times_s=np.full(15, np.nan))).times_s is None


def test_a_recording_that_says_nothing() -> None:
    volumes = Volumes(recording(noise(), stated=False))
    assert (volumes.rate_hz, volumes.pixel_um, volumes.times_s, volumes.numbers) == (None, None, None, None)
    assert (volumes.channel_names, volumes.notes) == ((), ())


def test_an_incomplete_volume_is_left_out_with_a_word() -> None:
    truth = noise(planes=3)
    movie = recording(truth)
    movie.shape = (14, *movie.shape[1:])
    volumes = Volumes(movie)
    assert volumes.shape[0] == 4
    assert "2 frames of an incomplete last volume are left out" in volumes.notes
    np.testing.assert_array_equal(np.stack(list(volumes.pages())), truth[:4].reshape(-1, 12, 16))
    movie.shape = (2, *movie.shape[1:])
    with pytest.raises(StreamError, match="with 2 frames of 3 planes; expected at least one volume"):
        Volumes(movie)


def test_a_contrast_is_chosen_by_frames_of_the_whole_recording() -> None:
    truth = noise()
    np.testing.assert_array_equal(Volumes(recording(truth)).sample(), truth.reshape(15, 2, 12, 16)[[0, 7, 14]])
