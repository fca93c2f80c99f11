"""Movies in which nothing can be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.movies.constant import check_not_constant, constant_value
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile


class ArrayFile(MovieFile):
    def __init__(self, pixels: NDArray[Any]) -> None:
        self.path, self.pixels = Path("movie.tif"), pixels
        self.shape, self.dtype = pixels.shape, pixels.dtype
        self.facts = MovieFacts("array", "")
        self.frames_read = 0

    def _read_frame(self, i: int, out: NDArray[Any]) -> None:
        self.frames_read += 1
        out[...] = self.pixels[i]

    def close(self) -> None:
        pass


def movie(value: float, dtype: str = "<i2") -> NDArray[Any]:
    return np.full((5, 1, 4, 6), value, dtype)


def test_a_movie_that_shows_something_is_known_from_its_first_frame() -> None:
    pixels = movie(3)
    pixels[0, 0, 1, 2] = 4
    file = ArrayFile(pixels)
    assert constant_value(file) is None
    assert file.frames_read == 1
    check_not_constant(file)


def test_a_single_pixel_in_the_last_frame_is_something() -> None:
    pixels = movie(0)
    pixels[4, 0, 3, 5] = 1
    check_not_constant(ArrayFile(pixels))


def test_frames_that_differ_in_brightness_alone_are_something() -> None:
    pixels = movie(0)
    pixels[2:] = 7
    assert constant_value(ArrayFile(pixels)) is None


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (movie(0), "every pixel is 0"),
        (movie(-16384), "every pixel is -16384"),
        (movie(np.nan, "<f4"), "no pixel is a number"),
        (np.where(np.arange(6) < 2, np.nan, movie(2.5, "<f4")).astype("<f4"), "every pixel is 2.5"),
    ],
)
def test_nothing_to_see_is_refused(pixels: NDArray[Any], said: str) -> None:
    with pytest.raises(StreamError, match=f"^movie.tif, in which {said}; expected a movie with an image in it"):
        check_not_constant(ArrayFile(pixels))
