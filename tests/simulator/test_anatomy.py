"""Anatomy: reproducible by its seed, different for other seeds, with the parts of its kind."""

import numpy as np
import pytest

from deepbid_rt.simulator.anatomy import BRAIN_KINDS, SceneKind, draw_anatomy
from deepbid_rt.simulator.optics import Optics

ALL_KINDS: tuple[SceneKind, ...] = (*BRAIN_KINDS, "flow", "heart")


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_equal_seeds_draw_equal_scenes(kind: SceneKind) -> None:
    first, again, other = (draw_anatomy(kind, (90, 110), None, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.rest, again.rest)
    assert len(first.footprints) == len(again.footprints)
    assert np.corrcoef(first.rest.ravel(), other.rest.ravel())[0, 1] < 0.5
    assert first.kind == kind
    assert first.rest.dtype == first.neuropil.dtype == np.float32


def test_without_a_kind_seeds_select_each_kind_of_brain() -> None:
    assert {draw_anatomy(None, (32, 32), 5.0, seed).kind for seed in range(20)} == set(BRAIN_KINDS)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_light_is_positive_and_parts_lie_on_the_canvas(kind: SceneKind) -> None:
    for seed in range(6):
        scene = draw_anatomy(kind, (70, 95), None, seed)
        assert scene.rest.min() > -1e-3
        for footprint in scene.footprints:
            height, width = footprint.image.shape
            assert 0 <= footprint.y <= footprint.y + height <= 70
            assert 0 <= footprint.x <= footprint.x + width <= 95
            assert 0 <= footprint.unit < scene.units
        for vessel in scene.vessels:
            assert 0 <= vessel.streamline.min() <= vessel.streamline.max() < vessel.streamlines
            assert vessel.lumen.max() <= 1.1


def test_dense_scenes_have_more_cells_than_sparse_ones() -> None:
    cells = {
        kind: np.mean([draw_anatomy(kind, (128, 128), 4.0, seed).units for seed in range(5)]) for kind in BRAIN_KINDS
    }
    assert cells["dense"] > 3 * cells["sparse"]


def test_vessels_are_dark_at_rest() -> None:
    scene = draw_anatomy("vessels", (128, 128), 6.0, 1)
    inside = np.zeros((128, 128), bool)
    for vessel in scene.vessels:
        full = vessel.lumen > 0.9
        inside[vessel.rows[full], vessel.columns[full]] = True
    assert inside.any()
    assert scene.rest[inside].mean() < 0.2 * scene.rest[~inside].mean()


def test_plasma_is_bright_in_flow_scenes() -> None:
    for seed in range(8):
        scene = draw_anatomy("flow", (96, 96), 5.0, seed)
        assert scene.plasma >= 1.5
        assert len(scene.vessels) >= 6
        assert np.median(scene.rest) < 0.8


def test_muscle_cells_lie_in_the_wall_of_the_heart() -> None:
    scene = draw_anatomy("heart", (120, 120), 3.0, 2)
    (cavity,) = scene.vessels
    assert scene.units > 10
    y, x = np.indices((120, 120)) - 59.5
    corner = np.hypot(y, x) > 75
    assert not corner[cavity.rows, cavity.columns].any()
    assert scene.rest[corner].mean() < 0.15 * scene.rest.max()
    assert cavity.streamlines == len(np.unique(cavity.streamline))


def test_cells_out_of_focus_are_dim_and_soft() -> None:
    """In depth some somata lie above or below the focal plane: they are dimmer than the same somata in focus."""
    sums = [
        np.array([f.image.max() for f in draw_anatomy("dense", (160, 160), 5.0, 3, optics).footprints if f.is_soma])
        for optics in (None, Optics(300.0, 1.0))
    ]
    assert sums[0].size == sums[1].size
    ratio = sums[1] / sums[0]
    assert 0.3 < np.median(ratio) < 0.9
    assert ratio.min() < 0.4


def test_every_cell_has_one_soma() -> None:
    scene = draw_anatomy("sparse", (100, 120), 4.0, 5)
    somata = [f.unit for f in scene.footprints if f.is_soma]
    assert len(somata) == len(set(somata))
    assert any(not f.is_soma for f in scene.footprints)
