from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.viewer.colors import (
    MAPS,
    NOT_A_NUMBER,
    MapName,
    color_table,
    compose,
    count_not_finite,
    default_maps,
    difference,
)

ODD = [*(round(255 * part) for part in NOT_A_NUMBER), 255]
rng = np.random.default_rng(0)


@pytest.mark.parametrize("name", MAPS)
def test_every_map_begins_black_and_gets_brighter(name: MapName) -> None:
    table = color_table(name)
    assert table.shape == (256, 4)
    assert table.dtype == np.uint8
    np.testing.assert_array_equal(table[0], (0, 0, 0, 255))
    assert (table[:, 3] == 255).all()
    bright = table[:, :3] @ (0.299, 0.587, 0.114)
    assert (np.diff(bright) > -0.5).all()
    assert table[:, :3].max() == 255


def reference(image: np.ndarray, limits: list[tuple[float, float]], maps: list[MapName]) -> np.ndarray:
    """Compute what `compose` documents, step by step and in double precision."""
    total = np.zeros((*image.shape[1:], 4))
    for channel, (black, white), name in zip(image.astype(float), limits, maps, strict=True):
        total += color_table(name)[np.rint(np.clip((channel - black) / (white - black), 0, 1) * 255).astype(int)]
    return np.minimum(total, 255)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "limits"),
    [
        (np.int16, -16384, 32767, (-20.0, 120.0)),
        (np.int16, -500, 3000, (-500.0, 2999.5)),
        (np.uint16, 0, 4096, (100.0, 1000.0)),
        (np.uint16, 65530, 65536, (65534.0, 65535.0)),
        (np.uint8, 0, 256, (0.0, 255.0)),
        (np.float32, -20, 120, (0.0, 100.0)),
        (np.float64, -20, 120, (0.0, 100.0)),
        (np.int32, -(2**20), 2**20, (-1e5, 1e5)),
    ],
)
@pytest.mark.parametrize("name", MAPS)
def test_each_pixel_has_the_colour_of_its_count(
    dtype: type, low: int, high: int, limits: tuple[float, float], name: MapName
) -> None:
    image = rng.uniform(low, high, (1, 50, 60)).astype(dtype)
    steps = np.abs(compose(image, [limits], [name]).astype(int) - reference(image, [limits], [name]))
    # Single precision may round a value halfway between two colours of the map to the other one.
    assert steps.max() <= np.diff(color_table(name).astype(int), axis=0).max()
    assert (steps > 0).mean() < 0.01


def test_channels_are_merged_by_adding() -> None:
    image = rng.uniform(0, 100, (3, 20, 30)).astype(np.int16)
    limits: list[tuple[float, float]] = [(0, 100), (20, 60), (-50, 300)]
    maps: list[MapName] = ["green", "magenta", "fire"]
    np.testing.assert_allclose(compose(image, limits, maps), reference(image, limits, maps), atol=3)
    both = np.array([[[0, 100]], [[50, 100]]], np.int16)
    picture = compose(both, [(0, 100), (0, 100)], ["green", "magenta"])
    np.testing.assert_array_equal(picture[0], [(128, 0, 128, 255), (255, 255, 255, 255)])


def test_pixels_that_are_not_finite_have_their_own_colour() -> None:
    image = np.array([[[np.nan, np.inf, -np.inf, 0.0]]], np.float32)
    picture = compose(image, [(0, 1)], ["gray"])
    np.testing.assert_array_equal(picture[0], [ODD, ODD, ODD, (0, 0, 0, 255)])
    np.testing.assert_array_equal(difference(image, np.zeros_like(image), [(0, 1)])[0, :3], [ODD, ODD, ODD])
    np.testing.assert_array_equal(difference(np.zeros_like(image), image, [(0, 1)])[0, :3], [ODD, ODD, ODD])
    assert count_not_finite(image) == 3
    assert count_not_finite(np.zeros((1, 2, 2), np.uint16)) == 0


def test_huge_numbers_are_white_and_black() -> None:
    image = np.array([[[3e38, -3e38]]], np.float32)
    picture = compose(image, [(-1e-3, 1e-3)], ["gray"])
    np.testing.assert_array_equal(picture[0, :, 0], (255, 0))
    assert difference(image, -image, [(0, 1e-3)])[0, :, 0].tolist() == [0, 255]


def test_a_difference_is_gray_where_both_are_equal() -> None:
    first = np.array([[[10, 20, 30, -32768, 32767]]], np.int16)
    second = np.array([[[10, 70, -20, 32767, -32768]]], np.int16)
    gray = difference(first, second, [(0, 100)])[0, :, 0]
    np.testing.assert_array_equal(gray, (128, 191, 64, 255, 0))


def test_a_difference_is_the_mean_over_the_channels() -> None:
    zero, one = np.zeros((2, 1, 1), np.uint16), np.array([[[100]], [[0]]], np.uint16)
    assert difference(zero, one, [(0, 100), (0, 10)])[0, 0, 0] == round(127.5 + 127.5 / 2)
    assert difference(one, zero, [(0, 100), (0, 10)])[0, 0, 0] == round(127.5 - 127.5 / 2)


def test_default_maps() -> None:
    assert default_maps(1) == ["gray"]
    assert default_maps(2) == ["green", "magenta"]
    assert len(default_maps(8)) == 8
