from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.viewer.colors import MAPS, NOT_A_NUMBER, color_table, compose, default_maps


@pytest.mark.parametrize("name", MAPS)
def test_every_map_goes_from_black_upwards(name: str) -> None:
    table = color_table(name)
    assert table.shape == (256, 3)
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table[0], 0)
    bright = table @ (0.299, 0.587, 0.114)
    assert (np.diff(bright) > -1e-6).all()
    assert table.max() == 1


def test_channels_are_merged_by_adding() -> None:
    image = np.array([[[0, 100]], [[50, 100]]], np.int16)
    picture = compose(image, [(0, 100), (0, 100)], ["green", "magenta"])
    np.testing.assert_allclose(picture[0, 1], (1, 1, 1))
    np.testing.assert_allclose(picture[0, 0], (0.5, 0, 0.5), atol=0.01)


def test_what_is_no_number_has_a_colour_of_its_own() -> None:
    image = np.array([[[np.nan, np.inf, 0.0]]], np.float32)
    picture = compose(image, [(0, 1)], ["gray"])
    np.testing.assert_allclose(picture[0], [NOT_A_NUMBER, NOT_A_NUMBER, (0, 0, 0)])


def test_maps_to_begin_with() -> None:
    assert default_maps(1) == ["gray"]
    assert default_maps(2) == ["green", "magenta"]
    assert len(default_maps(8)) == 8
