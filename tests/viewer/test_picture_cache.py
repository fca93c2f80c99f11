from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepbid_rt.viewer.colors import compose, difference
from deepbid_rt.viewer.picture_cache import MAX_TEXTURE_SIDE, PictureCache, thinning_step

RAMP = np.arange(24, dtype=np.int16).reshape(1, 4, 6)
PLAIN: dict[str, Any] = {"limits": [(0.0, 24.0)], "maps": ["gray"]}


def test_the_picture_of_the_same_image_is_computed_once() -> None:
    cache = PictureCache()
    made = cache.picture("raw", (RAMP,), **PLAIN)
    np.testing.assert_array_equal(made, compose(RAMP, [(0.0, 24.0)], ["gray"]))
    assert cache.picture("raw", (RAMP,), **PLAIN) is made


@pytest.mark.parametrize(
    "change",
    [
        {"images": (RAMP.copy(),)},
        {"limits": [(0.0, 12.0)]},
        {"maps": ["fire"]},
        {"step": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_picture_is_computed_again_when_anything_changes(change: dict[str, Any]) -> None:
    cache = PictureCache()
    arguments = {"images": (RAMP,), **PLAIN}
    before = cache.picture("raw", **arguments)
    after = cache.picture("raw", **{**arguments, **change})
    assert after is not before
    assert cache.picture("raw", **{**arguments, **change}) is after
    assert cache.picture("raw", **arguments) is not before  # only one is kept


def test_layers_do_not_replace_each_other() -> None:
    cache = PictureCache()
    raw = cache.picture("raw", (RAMP,), **PLAIN)
    between = cache.picture("difference", (RAMP, RAMP + 3), **PLAIN)
    np.testing.assert_array_equal(between, difference(RAMP, RAMP + 3, [(0.0, 24.0)]))
    assert cache.picture("raw", (RAMP,), **PLAIN) is raw
    assert cache.picture("difference", (RAMP, RAMP + 4), **PLAIN) is not between


def test_step_2_takes_every_second_pixel_and_line() -> None:
    full, thin = (PictureCache().picture("raw", (RAMP,), **PLAIN, step=step) for step in (1, 2))
    np.testing.assert_array_equal(thin, full[::2, ::2])


@pytest.mark.parametrize(
    ("shape", "scale", "step"),
    [
        ((1, 512, 512), 1.0, 1),
        ((1, 512, 512), 30.0, 1),
        ((1, 512, 512), 0.51, 1),
        ((1, 2048, 2048), 0.27, 3),
        ((1, 1, 1), 500.0, 1),
        ((1, 4, MAX_TEXTURE_SIDE), 1.0, 1),
        ((2, 4, MAX_TEXTURE_SIDE + 1), 1.0, 2),
    ],
)
def test_images_larger_than_screen_or_texture_are_thinned(shape: tuple[int, ...], scale: float, step: int) -> None:
    assert thinning_step(shape, scale) == step
