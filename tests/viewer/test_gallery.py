from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepbid_rt.viewer.colors import compose, difference
from deepbid_rt.viewer.gallery import MAX_SIDE, Gallery, thinning

RAMP = np.arange(24, dtype=np.int16).reshape(1, 4, 6)
PLAIN: dict[str, Any] = {"limits": [(0.0, 24.0)], "maps": ["gray"]}


def test_a_picture_is_made_once_for_the_same_image() -> None:
    gallery = Gallery()
    made = gallery.picture("raw", (RAMP,), **PLAIN)
    np.testing.assert_array_equal(made, compose(RAMP, [(0.0, 24.0)], ["gray"]))
    assert gallery.picture("raw", (RAMP,), **PLAIN) is made


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
def test_a_picture_is_made_anew_where_anything_changed(change: dict[str, Any]) -> None:
    gallery = Gallery()
    what = {"images": (RAMP,), **PLAIN}
    before = gallery.picture("raw", **what)
    after = gallery.picture("raw", **{**what, **change})
    assert after is not before
    assert gallery.picture("raw", **{**what, **change}) is after
    assert gallery.picture("raw", **what) is not before  # one is kept, no more


def test_layers_do_not_replace_each_other() -> None:
    gallery = Gallery()
    raw = gallery.picture("raw", (RAMP,), **PLAIN)
    between = gallery.picture("difference", (RAMP, RAMP + 3), **PLAIN)
    np.testing.assert_array_equal(between, difference(RAMP, RAMP + 3, [(0.0, 24.0)]))
    assert gallery.picture("raw", (RAMP,), **PLAIN) is raw
    assert gallery.picture("difference", (RAMP, RAMP + 4), **PLAIN) is not between


def test_a_thinned_picture_is_each_second_pixel_of_each_second_line() -> None:
    full, thin = (Gallery().picture("raw", (RAMP,), **PLAIN, step=step) for step in (1, 2))
    np.testing.assert_array_equal(thin, full[::2, ::2])


@pytest.mark.parametrize(
    ("shape", "scale", "step"),
    [
        ((1, 512, 512), 1.0, 1),
        ((1, 512, 512), 30.0, 1),
        ((1, 512, 512), 0.51, 1),
        ((1, 2048, 2048), 0.27, 3),
        ((1, 1, 1), 500.0, 1),
        ((1, 4, MAX_SIDE), 1.0, 1),
        ((2, 4, MAX_SIDE + 1), 1.0, 2),
    ],
)
def test_what_the_screen_or_the_card_has_no_room_for_is_thinned_out(
    shape: tuple[int, ...], scale: float, step: int
) -> None:
    assert thinning(shape, scale) == step
