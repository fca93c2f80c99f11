from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.movie import (
    as_movie,
    average_line_pairs,
    check_movie,
    pair_movies,
    read_frame,
    temporal_mean,
    temporal_std,
)


def test_an_array_becomes_a_movie() -> None:
    pixels = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    movie = as_movie(pixels)
    assert movie.shape == (2, 3, 4, 5)
    np.testing.assert_array_equal(movie.read(1, 2), pixels[1:2])
    assert as_movie(movie) is movie
    assert read_frame(movie, 1).dtype == np.float64
    np.testing.assert_array_equal(read_frame(movie, 1), pixels[1])


def test_refuses_arrays_with_missing_axes() -> None:
    with pytest.raises(StreamError) as info:
        as_movie(np.zeros((3, 4, 5)))
    assert str(info.value) == ("an array of shape (3, 4, 5); expected axes (T, C, Y, X); add the missing axes.")


def test_line_pairs_are_averaged_without_overflow() -> None:
    raw = np.array([[250, 240], [255, 251], [0, 1], [1, 1]], np.uint8)[None, None]
    truth = as_movie(np.zeros((1, 1, 2, 2)))
    halved = average_line_pairs(as_movie(raw), truth)
    assert halved.shape == (1, 1, 2, 2)
    np.testing.assert_array_equal(halved.read(0, 1)[0, 0], [[252.5, 245.5], [0.5, 1.0]])
    assert average_line_pairs(truth, truth) is truth


def test_refuses_different_shapes() -> None:
    with pytest.raises(StreamError) as info:
        pair_movies(np.zeros((3, 1, 4, 5)), np.zeros((2, 1, 4, 5)))
    assert str(info.value) == (
        "a movie of shape (T, C, Y, X) = (3, 1, 4, 5) to compare with one of (2, 1, 4, 5); expected the same frames, "
        "channels, lines and pixels; give the movies of one recording, and check the number of channels."
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_pixels_that_are_not_finite(bad: float) -> None:
    pixels = np.zeros((3, 1, 4, 5), np.float32)
    pixels[2, 0, 1, 1] = bad
    with pytest.raises(StreamError, match="frame 2 with pixels that are not finite"):
        read_frame(as_movie(pixels), 2)


def test_temporal_mean_and_std_equal_numpys_also_with_large_offsets() -> None:
    pixels = np.random.default_rng(1).normal(1e6, 3, (40, 2, 5, 6))
    np.testing.assert_allclose(temporal_mean(as_movie(pixels)), pixels.mean(0))
    np.testing.assert_allclose(temporal_std(as_movie(pixels)), pixels.std(0), rtol=1e-6)
    assert not temporal_std(as_movie(np.full((5, 1, 4, 4), 0.1))).any()


def test_the_error_of_a_check_names_the_movie() -> None:
    pixels = np.zeros((3, 1, 4, 5))
    with pytest.raises(StreamError, match="the truth with 0 counts in every pixel"):
        check_movie(as_movie(pixels), "the truth")
    pixels[2, 0, 1, 1] = 1
    check_movie(as_movie(pixels), "the truth")
    pixels[2, 0, 1, 1] = np.nan
    with pytest.raises(StreamError, match="the truth: frame 2 with pixels"):
        check_movie(as_movie(pixels), "the truth")
