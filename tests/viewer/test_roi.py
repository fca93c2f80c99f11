from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.errors import FileError
from deepbid_rt.viewer.roi import Roi, load_rois, mask_of, save_rois

place = st.tuples(st.floats(-20, 60), st.floats(-20, 60))


def pixels(roi: Roi, shape: tuple[int, int] = (32, 40)) -> np.ndarray:
    mask = mask_of(roi, shape)
    full = np.zeros(shape, bool)
    full[mask.rows, mask.columns] = mask.inside
    return full


@given(place, place)
def test_a_rectangle_has_the_pixels_whose_centres_lie_inside(a: tuple, b: tuple) -> None:
    y, x = np.mgrid[:32, :40] + 0.5
    inside = (x > min(a[0], b[0])) & (x < max(a[0], b[0])) & (y > min(a[1], b[1])) & (y < max(a[1], b[1]))
    edge = np.isin(x, (a[0], b[0])) | np.isin(y, (a[1], b[1]))
    got = pixels(Roi("r", "rectangle", (a, b)))
    np.testing.assert_array_equal(got | edge, inside | edge)


def test_an_ellipse_has_the_right_area_and_excludes_the_corners() -> None:
    got = pixels(Roi("e", "ellipse", ((4, 6), (34, 26))))
    assert got.sum() == pytest.approx(math.pi * 15 * 10, rel=0.02)
    assert got[16, 19]
    assert not got[6, 4]


def test_a_lasso_may_be_concave() -> None:
    horseshoe = ((2, 2), (20, 2), (20, 20), (15, 20), (15, 8), (7, 8), (7, 20), (2, 20))
    roi = Roi("l", "lasso", horseshoe)
    got = pixels(roi)
    assert got[15, 4]
    assert got[15, 17]
    assert not got[15, 10]
    assert roi.contains((4, 15))
    assert not roi.contains((10, 15))


def test_means_are_per_channel_and_nan_outside_the_frame() -> None:
    image = np.stack([np.full((8, 8), 3), np.full((8, 8), -5)]).astype(np.int16)
    inside = mask_of(Roi("a", "rectangle", ((1, 1), (4, 5))), (8, 8))
    np.testing.assert_array_equal(inside.means(image), [3, -5])
    outside = mask_of(Roi("b", "rectangle", ((20, 20), (30, 30))), (8, 8))
    assert np.isnan(outside.means(image)).all()


def test_a_mean_over_saturated_pixels_does_not_overflow() -> None:
    image = np.full((1, 64, 64), 65535, np.uint16)
    assert mask_of(Roi("a", "rectangle", ((0, 0), (64, 64))), (64, 64)).means(image) == 65535


def test_saved_regions_are_loaded_again(tmp_path: Path) -> None:
    rois = [
        Roi("roi 1", "rectangle", ((1.25, 2.0), (5.0, 9.5))),
        Roi("zelle µ", "lasso", ((0.0, 0.0), (4.0, 0.0), (4.0, 4.0)), plane=2),
    ]
    path = tmp_path / "new" / "rois.json"
    save_rois(path, rois)
    assert load_rois(path) == rois


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"rois": [{}]}',
        '{"rois": [{"name": "a", "shape": "star", "plane": 0, "points": [[0, 0], [1, 1]]}]}',
        '{"rois": [{"name": "a", "shape": "lasso", "plane": 0, "points": [[0, 0], [1, 1]]}]}',
        '{"rois": [{"name": "a", "shape": "ellipse", "plane": 0, "points": [[0, 0], [NaN, 1]]}]}',
        '{"rois": [{"name": "a", "shape": "ellipse", "plane": 0, "points": [[0, 0, 1], [1, 1]]}]}',
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rois.json"
    path.write_text(text)
    with pytest.raises(FileError, match=r"rois\.json"):
        load_rois(path)


def test_a_file_that_cannot_be_written_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be written"):
        save_rois(tmp_path / "file" / "rois.json", [])
