"""Anatomy: the same for the same seed, unlike for others, and made of the parts its kind promises."""

import numpy as np
import pytest

from deepbid_rt.simulator.anatomy import KINDS, Kind, draw


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_draws_one_scene(kind: Kind) -> None:
    first, again, other = (draw(kind, (90, 110), None, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.rest, again.rest)
    assert len(first.footprints) == len(again.footprints)
    assert np.corrcoef(first.rest.ravel(), other.rest.ravel())[0, 1] < 0.5
    assert first.kind == kind
    assert first.rest.dtype == first.neuropil.dtype == np.float32


def test_without_a_kind_the_seed_takes_each_of_them() -> None:
    assert {draw(None, (32, 32), 5.0, seed).kind for seed in range(20)} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_all_light_is_positive_and_on_the_canvas(kind: Kind) -> None:
    for seed in range(6):
        scene = draw(kind, (70, 95), None, seed)
        assert scene.rest.min() > -1e-3
        for footprint in scene.footprints:
            height, width = footprint.image.shape
            assert 0 <= footprint.y <= footprint.y + height <= 70
            assert 0 <= footprint.x <= footprint.x + width <= 95
            assert 0 <= footprint.unit < scene.units
        for vessel in scene.vessels:
            assert 0 <= vessel.lane.min() <= vessel.lane.max() < 16
            assert vessel.lumen.max() <= 1.1


def test_dense_scenes_have_more_cells_than_sparse_ones() -> None:
    cells = {kind: np.mean([draw(kind, (128, 128), 4.0, seed).units for seed in range(5)]) for kind in KINDS}
    assert cells["dense"] > 3 * cells["sparse"]


def test_vessels_are_dark_at_rest() -> None:
    scene = draw("vessels", (128, 128), 6.0, 1)
    inside = np.zeros((128, 128), bool)
    for vessel in scene.vessels:
        full = vessel.lumen > 0.9
        inside[vessel.rows[full], vessel.columns[full]] = True
    assert inside.any()
    assert scene.rest[inside].mean() < 0.2 * scene.rest[~inside].mean()
