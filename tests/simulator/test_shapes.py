"""Shapes: random fields of standard deviation 1, hollow somata, processes that start at the soma, tubes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.simulator import shapes


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(16, 90),
    width=st.integers(16, 90),
    scale=st.floats(0.5, 6),
    stretch=st.floats(1, 4),
)
def test_a_random_field_has_mean_0_and_standard_deviation_1(
    height: int, width: int, scale: float, stretch: float
) -> None:
    out = shapes.random_field(np.random.default_rng(1), (height, width), scale, stretch)
    assert out.shape == (height, width)
    assert out.dtype == np.float32
    assert out.mean() == pytest.approx(0, abs=1e-3)
    assert out.std() == pytest.approx(1, abs=1e-3)


def test_a_stretched_field_is_longer_along_one_direction() -> None:
    roughness = []
    for stretch in (1.0, 6.0):
        out = shapes.random_field(np.random.default_rng(4), (256, 256), 3.0, stretch)
        slopes = [np.cov(g.ravel(), h.ravel()) for g, h in [np.gradient(out)]]
        roughness.append(np.linalg.cond(slopes[0]))
    assert roughness[0] < 1.5
    assert roughness[1] > 10


def test_blur_keeps_the_light_and_has_the_requested_width() -> None:
    point = np.zeros((41, 51), np.float32)
    point[20, 25] = 1
    out = shapes.blur(point, 2.0)
    assert out.sum() == pytest.approx(1, abs=1e-4)
    y = np.arange(41) - 20
    assert np.sqrt((out.sum(axis=1) * y**2).sum()) == pytest.approx(2.0, rel=0.01)


def test_a_soma_is_a_ring() -> None:
    hollow = []
    for seed in range(20):
        light, body = shapes.draw_soma(np.random.default_rng(seed), 6.0, 0.8)
        middle = light.shape[0] // 2
        y, x = np.indices(light.shape) - middle
        ring = np.abs(np.hypot(y, x) - 4.8) < 0.7
        hollow.append(light[middle - 1 : middle + 2, middle - 1 : middle + 2].mean() / light[ring].mean())
        assert body[middle, middle] > 0.95
        assert max(body[0].max(), body[-1].max(), body[:, 0].max(), body[:, -1].max()) < 0.05
    assert np.mean(hollow) < 0.6


def test_a_section_above_the_nucleus_is_full_and_smaller() -> None:
    middle, above = (shapes.draw_soma(np.random.default_rng(2), 8.0, 0.8, ((d, 1.0),)) for d in (0.0, 0.85))
    centre = middle[0].shape[0] // 2
    assert above[1].sum() < 0.5 * middle[1].sum()
    assert above[0][centre, centre] > 0.6
    assert middle[0][centre, centre] < 0.6


def test_sections_add_up_by_their_weights() -> None:
    parts = [shapes.draw_soma(np.random.default_rng(5), 6.0, 0.8, ((d, 1.0),))[0] for d in (0.0, 0.4)]
    both = shapes.draw_soma(np.random.default_rng(5), 6.0, 0.8, ((0.0, 0.25), (0.4, 0.5)))[0]
    np.testing.assert_allclose(both, 0.25 * parts[0] + 0.5 * parts[1], atol=1e-5)


def test_a_dendrite_starts_at_its_soma() -> None:
    for seed in range(10):
        image, top, left = shapes.draw_dendrite(np.random.default_rng(seed), 5.0, 0.8)
        y, x = np.nonzero(image > 0.3 * image.max())
        distance = np.hypot(y + top, x + left)
        assert distance.min() < 9
        assert distance.max() > 12


def test_tube_coordinates_are_distance_place_and_side() -> None:
    course = np.stack([np.full(60, 20.0), np.arange(60.0)])
    distance, along, side = shapes.tube_coordinates(course, 6.0, (40, 60))
    assert distance[20, 30] == 0
    assert distance[25, 30] == 5
    assert np.isinf(distance[27, 30])
    assert along[23, 30] == 30
    assert side[23, 30] == -side[17, 30]
    assert abs(side[23, 30]) == 3
