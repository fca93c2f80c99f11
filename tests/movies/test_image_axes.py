"""Images along named axes."""

from __future__ import annotations

import time

import numpy as np

from deepbid_rt.movies.image_axes import are_axes, order_images
from deepbid_rt.movies.wanted import Wanted


def test_an_axis_with_names_keeps_the_order_of_their_appearance() -> None:
    axes: list[dict[str, int | str]] = [{"time": t, "channel": c} for t in range(2) for c in ("red", "blue")]
    order = order_images(axes, Wanted(), name="x", source="y")
    assert order.channel_names == ("red", "blue")
    assert order.images.tolist() == [[0, 1], [2, 3]]


def test_a_stack_without_time_is_one_volume() -> None:
    axes: list[dict[str, int | str]] = [{"z": z} for z in (2, 0, 1)]
    order = order_images(axes, Wanted(), name="x", source="y")
    assert order.planes == 3
    assert order.images.tolist() == [[1], [2], [0]]
    assert order.numbers is None


def test_many_images_take_little_time() -> None:
    axes: list[dict[str, int | str]] = [{"time": t, "z": t % 2} for t in range(20_000) for _ in range(2)]
    axes[1::2] = [{"time": t, "z": 1 - t % 2} for t in range(20_000)]
    start = time.perf_counter()
    order = order_images(axes, Wanted(), name="x", source="y")
    assert time.perf_counter() - start < 5
    assert order.images.shape == (40_000, 1)
    assert len(np.unique(order.images)) == 40_000


def test_what_axes_are() -> None:
    assert are_axes({"time": 1, "channel": "a"})
    for wrong in (None, [], {"time": 1.5}, {"time": None}, {"time": 2**60}, {"time": [1]}):
        assert not are_axes(wrong)
