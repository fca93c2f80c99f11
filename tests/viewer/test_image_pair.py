from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.frame import FrameFlag, ScanGeometry
from deepbid_rt.live.frame_pairing import FramePair
from deepbid_rt.viewer.image_pair import image_pair, raw_image
from tests.viewer.stand_ins import a_frame

SCANS = [
    (ScanGeometry("collinear"), 8, 4, "mean"),
    (ScanGeometry("collinear"), 8, None, "mean"),
    (ScanGeometry("collinear"), 7, 4, "mean"),
    (ScanGeometry("ordinary"), 8, 4, "mean"),  # the session got the layout with --scan
    (ScanGeometry("collinear"), 8, 8, "as scanned"),
    (ScanGeometry("ordinary"), 8, 8, "as scanned"),
    (ScanGeometry("ordinary"), 8, None, "as scanned"),
    (ScanGeometry("collinear"), 1, 1, "as scanned"),
]


@pytest.mark.parametrize(("scan", "scanned", "lines", "how"), SCANS)
def test_a_raw_frame_is_laid_out_like_its_denoised_frame(
    scan: ScanGeometry, scanned: int, lines: int | None, how: str
) -> None:
    pixels = np.arange(scanned * 3, dtype=np.int16).reshape(1, scanned, 3)
    image = raw_image(pixels, scan, lines)
    if how == "as scanned":
        np.testing.assert_array_equal(image, pixels)
    else:
        assert image.shape == (1, -(-scanned // 2), 3)
        np.testing.assert_allclose(image[0, 0], (pixels[0, 0] + pixels[0, 1]) / 2)


def test_backward_lines_are_mirrored() -> None:
    pixels = np.array([[[1, 2, 3], [3, 2, 1]]], np.int16)
    image = raw_image(pixels, ScanGeometry("collinear", mirrored=False), 1)
    np.testing.assert_array_equal(image[0, 0], [1, 2, 3])


def test_a_pair_has_number_plane_and_time_of_its_denoised_frame() -> None:
    pair = image_pair(FramePair(a_frame(2, 5, plane=1), a_frame(2, 99, plane=1)), ScanGeometry(), 4)
    assert (pair.index, pair.plane, pair.t_ns) == (2, 1, a_frame(2).t_ns)
    assert (pair.raw[0, 0, 0], pair.denoised[0, 0, 0]) == (5, 99)
    assert pair.shape == (1, 4, 6)
    assert pair.nbytes == 2 * a_frame(0).pixels.nbytes


def test_the_time_is_that_of_the_raw_frame_if_the_denoised_frame_has_none() -> None:
    assert image_pair(FramePair(a_frame(2), a_frame(2, t_ns=0)), ScanGeometry(), 4).t_ns == a_frame(2).t_ns


def test_a_single_frame_is_shown_alone() -> None:
    raw = image_pair(FramePair(a_frame(3, 7), None), ScanGeometry("collinear"), 4)
    assert (raw.index, raw.denoised) == (3, None)
    assert raw.shape == (1, 2, 6)
    denoised = image_pair(FramePair(None, a_frame(9)), ScanGeometry(), 4)
    assert (denoised.index, denoised.raw) == (9, None)


def test_a_raw_frame_of_another_size_is_left_out() -> None:
    pair = image_pair(FramePair(a_frame(0, shape=(1, 4, 7)), a_frame(0, t_ns=0)), ScanGeometry(), 4)
    assert (pair.raw, pair.t_ns) == (None, 0)
    assert pair.shape == (1, 4, 6)


def test_a_pair_keeps_the_mark_of_its_denoised_frame_and_the_arrival_of_its_raw_frame() -> None:
    raw, scan = a_frame(3, arrived_ns=1000), ScanGeometry()
    denoised = a_frame(3, arrived_ns=5000, flags=FrameFlag.NOT_DENOISED | FrameFlag.SATURATED)
    both = image_pair(FramePair(raw, denoised), scan, 4)
    assert (both.not_denoised, both.arrived_ns, both.raw_seen) == (True, 1000, True)
    alone = image_pair(FramePair(None, denoised), scan, 4)
    assert (alone.not_denoised, alone.arrived_ns, alone.raw_seen) == (True, 5000, False)
    known = image_pair(FramePair(None, denoised), scan, 4, 2000)
    assert (known.arrived_ns, known.raw_seen) == (2000, True)
    assert not image_pair(FramePair(a_frame(3, flags=FrameFlag.NOT_DENOISED), None), scan, None).not_denoised
