"""Cells: labels at the pixels of each cell, traces equal to its activity."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deepbid_rt.frame import ScanGeometry
from deepbid_rt.simulator.anatomy import Footprint
from deepbid_rt.simulator.cells import Cells
from deepbid_rt.simulator.raster import Raster
from deepbid_rt.simulator.tissue import SceneSettings, Tissue

SIZE = (90, 100)


@pytest.fixture(scope="module")
def tissue() -> Tissue:
    return Tissue(SceneSettings(kind="dense", seed=2, soma_radius_px=5.0, motion_px=1.0, depth_um=100.0), SIZE, 30.0)


def test_labels_are_consecutive_and_match_the_listed_cells(tissue: Tissue) -> None:
    truth = Cells(tissue, SIZE)
    assert truth.labels.shape == SIZE
    assert truth.labels.dtype == np.uint16
    assert set(np.unique(truth.labels)) == set(range(len(truth.cells) + 1))
    assert [cell.label for cell in truth.cells] == list(range(1, len(truth.cells) + 1))
    for cell in truth.cells:
        rows, columns = np.nonzero(truth.labels == cell.label)
        assert (cell.y_px, cell.x_px) == pytest.approx((rows.mean(), columns.mean()), abs=0.006)
        assert cell.area_px == rows.size
        assert 0 < cell.share <= 1


def test_the_brightness_of_a_cell_follows_its_trace() -> None:
    """In still tissue, the mean over the pixels of a bright cell correlates best with its own trace."""
    size = (150, 150)
    tissue = Tissue(SceneSettings(kind="sparse", seed=7, soma_radius_px=5.0, motion_px=0.0, blood=False), size, 30.0)
    truth = Cells(tissue, size)
    frames = range(0, 600, 10)
    inside = np.s_[tissue.margin : tissue.margin + size[0], tissue.margin : tissue.margin + size[1]]
    movie = np.stack([tissue.render(index)[inside] for index in frames])
    traces = np.stack([truth.traces(index) for index in frames])
    assert traces.shape == (len(frames), len(truth.cells))
    active = [cell for cell in truth.cells if cell.share > 0.5 and traces[:, cell.label - 1].std() > 0.2]
    assert len(active) > 3
    for cell in active:
        measured = movie[:, truth.labels == cell.label].mean(axis=1)
        correlations = [np.corrcoef(measured, traces[:, other.label - 1])[0, 1] for other in active]
        assert max(correlations) == correlations[active.index(cell)] > 0.94


def test_a_pixel_of_overlapping_cells_belongs_to_the_brighter_one() -> None:
    dim, bright = (np.full((4, 4), light, np.float32) for light in (1.0, 3.0))
    for order in ((0, 1), (1, 0)):
        footprints = [
            Footprint(0, 1, 1, dim, True),
            Footprint(1, 3, 3, bright, True),
            Footprint(1, 0, 0, bright, False),
        ]
        anatomy = SimpleNamespace(rest=np.full((9, 9), 4, np.float32), footprints=[footprints[n] for n in (*order, 2)])
        tissue: Any = SimpleNamespace(anatomy=anatomy, margin=1, activity=lambda index: np.array([index, 2 * index]))
        truth = Cells(tissue, (7, 7))
        expected = np.zeros((7, 7))
        expected[0:4, 0:4] = 1
        expected[2:6, 2:6] = 2
        np.testing.assert_array_equal(truth.labels, expected)
        assert [(cell.area_px, cell.share) for cell in truth.cells] == [(12, 0.25), (16, 0.75)]
        assert truth.traces(5).tolist() == [5, 10]


def test_labels_are_distorted_like_the_frames_of_a_resonant_mirror(tissue: Tissue) -> None:
    columns = Raster(SIZE, ScanGeometry("ordinary"), None, 0.9).pixel_columns()
    even, distorted = Cells(tissue, SIZE), Cells(tissue, SIZE, columns)
    nearest = np.rint(columns).astype(int)
    np.testing.assert_array_equal(distorted.labels > 0, even.labels[:, nearest] > 0)
    assert not np.array_equal(distorted.labels > 0, even.labels > 0)


def test_cells_outside_the_field_of_view_are_left_out(tissue: Tissue) -> None:
    small = Cells(tissue, SIZE)
    assert len(small.cells) < tissue.anatomy.units


def test_tissue_with_few_or_no_cells_is_accepted() -> None:
    tissue = Tissue(SceneSettings(kind="sparse", seed=1, soma_radius_px=40.0, motion_px=0.0), (12, 12), 30.0)
    truth = Cells(tissue, (12, 12))
    assert len(truth.cells) == truth.labels.max()
    assert truth.traces(3).shape == (len(truth.cells),)
