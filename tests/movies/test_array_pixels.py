from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.movies import array_pixels
from deepbid_rt.movies.array_pixels import ArrayPixels, pixel_dtype
from deepbid_rt.movies.wanted import Wanted
from tests.movies.encoded import encoded, frames_of


class Stored:
    """An array in memory that counts what is read of it."""

    def __init__(self, pixels: NDArray[Any], chunks: tuple[int, ...] | None = None) -> None:
        self.pixels, self.shape, self.dtype, self.chunks = pixels, pixels.shape, pixels.dtype, chunks
        self.reads: list[tuple[slice, ...]] = []

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        self.reads.append(index)
        return self.pixels[index]

    def close(self) -> None: ...


def read(pixels: ArrayPixels) -> NDArray[Any]:
    out = np.empty(pixels.shape, pixels.dtype)
    for i, frame in enumerate(out):
        pixels.read(i, frame)
    return out


@pytest.mark.parametrize("letters", ["TZCYX", "TCZYX", "CTZYX", "TZYXC", "XYCZT", "YXTZC", "ZTCXY"])
@pytest.mark.parametrize("chunked", [False, True])
def test_any_order_of_axes_becomes_the_same_frames(letters: str, chunked: bool) -> None:
    movie = encoded(5, 3, 2)
    stored = movie.transpose(["TZCYX".index(letter) for letter in letters])
    pixels = ArrayPixels(
        Stored(stored, tuple(max(1, n // 2) for n in stored.shape) if chunked else None), letters, Wanted(), "it"
    )
    assert pixels.shape == (15, 2, 48, 64)
    assert pixels.planes == 3
    np.testing.assert_array_equal(read(pixels), frames_of(movie))


@pytest.mark.parametrize("letters", ["TYX", "YXT", "TXY"])
def test_missing_axes_have_length_one(letters: str) -> None:
    movie = encoded(5)
    stored = movie[:, 0, 0].transpose(["TYX".index(letter) for letter in letters])
    np.testing.assert_array_equal(read(ArrayPixels(Stored(stored), letters, Wanted(), "it")), frames_of(movie))


def test_pages_in_turn_are_split_into_channels_planes_and_flyback() -> None:
    movie = encoded(4, 4, 2)  # 3 planes and one fly-back frame
    stored = movie.reshape(-1, 48, 64)
    pixels = ArrayPixels(Stored(stored), "TYX", Wanted(channels=2, planes=3, flyback=1), "it")
    assert pixels.shape == (12, 2, 48, 64)
    np.testing.assert_array_equal(read(pixels), frames_of(movie[:, :3]))
    assert pixels.rate_hz(32.0) == 12.0
    assert "2 channels in turn" in pixels.pages
    assert "1 fly-back frames left out" in pixels.pages
    times = pixels.times_s(np.arange(32.0))
    assert times is not None
    np.testing.assert_array_equal(times[:4], [0, 2, 4, 8])


def test_flyback_planes_of_the_array_are_left_out() -> None:
    movie = encoded(4, 4)
    pixels = ArrayPixels(Stored(movie[:, :, 0]), "TZYX", Wanted(flyback=1), "it")
    np.testing.assert_array_equal(read(pixels), frames_of(movie[:, :3]))
    assert pixels.rate_hz(10.0) == 30.0


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        (Wanted(channels=3), "2 channels for 3"),
        (Wanted(planes=2), "3 planes for 2 planes"),
        (Wanted(planes=3, flyback=1), "3 altogether"),
    ],
)
def test_wishes_that_the_array_contradicts_are_refused(wanted: Wanted, match: str) -> None:
    with pytest.raises(StreamError, match=match):
        ArrayPixels(Stored(encoded(5, 3, 2)), "TZCYX", wanted, "it")


def test_an_incomplete_volume_is_refused_or_said() -> None:
    stored = encoded(7)[:, 0, 0]
    with pytest.raises(StreamError, match="multiple of 3"):
        ArrayPixels(Stored(stored), "TYX", Wanted(planes=3), "it")
    pixels = ArrayPixels(Stored(stored), "TYX", Wanted(planes=3, salvage=True), "it")
    assert pixels.shape[0] == 6
    assert "1 pages" in pixels.warnings[0]


@pytest.mark.parametrize("shape", [(10**9, 64, 64), (5, 10_000, 64), (5, 64, 10_000), (0, 64, 64), (5, 0, 64)])
def test_impossible_sizes_are_refused_before_anything_is_allocated(shape: tuple[int, ...]) -> None:
    stored = Stored(np.broadcast_to(np.uint16(0), shape))
    with pytest.raises(StreamError):
        ArrayPixels(stored, "TYX", Wanted(), "it")
    assert not stored.reads


@pytest.mark.parametrize(
    ("stored", "delivered", "lossy"),
    [
        ("|u1", "|u1", False),
        (">u2", "<u2", False),
        (">i2", "<i2", False),
        (">f4", "<f4", False),
        ("|b1", "|u1", False),
        ("|i1", "<i2", False),
        ("<f2", "<f4", False),
        ("<i4", "<f4", True),
        ("<u4", "<f4", True),
        (">i8", "<f4", True),
        ("<f8", "<f4", True),
    ],
)
def test_types(stored: str, delivered: str, lossy: bool) -> None:
    values = np.array([0, 1, 100], stored).reshape(3, 1, 1) + np.zeros((1, 8, 8), stored)
    dtype, lost = pixel_dtype(np.dtype(stored), "it")
    assert dtype.str == delivered
    assert (lost is not None) == lossy
    pixels = ArrayPixels(Stored(values.astype(stored)), "TYX", Wanted(), "it")
    np.testing.assert_array_equal(read(pixels)[:, 0, 0, 0], np.array([0, 1, 100], stored).astype(delivered))


@pytest.mark.parametrize("stored", ["<c8", "<U4", "|S4", "O", [("a", "u2")]])
def test_what_are_no_numbers_is_refused(stored: Any) -> None:
    with pytest.raises(StreamError):
        pixel_dtype(np.dtype(stored), "it")


def test_a_chunk_of_many_frames_is_read_once() -> None:
    stored = Stored(encoded(20)[:, 0, 0], (10, 48, 64))
    read(ArrayPixels(stored, "TYX", Wanted(), "it"))
    assert len(stored.reads) == 2


def test_a_block_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_pixels, "BLOCK_BYTES", 4 * 48 * 64 * 2)
    stored = Stored(encoded(20)[:, 0, 0], (20, 48, 64))
    np.testing.assert_array_equal(read(ArrayPixels(stored, "TYX", Wanted(), "it")), frames_of(encoded(20)))
    assert {index[0].stop - index[0].start for index in stored.reads} == {4}


def test_inverted_counts_are_turned() -> None:
    movie = encoded(5)
    pixels = ArrayPixels(Stored((65535 - movie)[:, 0, 0]), "TYX", Wanted(), "it", inverted=True)
    np.testing.assert_array_equal(read(pixels), frames_of(movie))
