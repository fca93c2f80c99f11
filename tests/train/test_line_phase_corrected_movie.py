"""Recordings whose line phase is corrected while they are read: a block equals the same part of the whole frame."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.line_phase_corrector import LinePhasePolicy
from deepbid_rt.scan.splitter import ScanSplitter
from deepbid_rt.train.line_phase_corrected_movie import MEASURED_FRAMES, LinePhaseCorrectedMovie, line_offset_of
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import open_recordings
from tests import jagged
from tests.fakes import stream

RECIPE = Recipe(patch=(8, 8, 16), calibration_frames=4, held_out=0.2)
SCANS = [
    ScanGeometry("collinear"),
    ScanGeometry("ordinary", first="backward"),
    ScanGeometry("ordinary", mirrored=False),
    ScanGeometry("collinear", first="backward", mirrored=False),
]


def movie_of(px: float, scan: ScanGeometry, count: int = 40, photons: float = 300.0) -> NDArray[Any]:
    """A still movie (T, Y, X) with this line phase."""
    frames = jagged.frames(jagged.info_of((48, 96), scan), px, count, photons=photons)
    return np.concatenate(frames).astype(np.uint16)


@pytest.mark.parametrize("scan", SCANS)
def test_any_block_is_corrected_as_in_the_denoiser(scan: ScanGeometry) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4000, (3, 2, 12, 40), np.uint16)
    line_offset = LineOffset(scan, 40, -1.3)
    movie = LinePhaseCorrectedMovie(ArrayMovie(pixels), scan, line_offset)
    assert (movie.shape, movie.dtype, movie.always_valid) == (pixels.shape, np.float32, True)
    views = ScanSplitter(stream((2, 12, 40), "<u2", scan), "interleave")
    plain = ScanSplitter(stream((2, 12, 40), "<f4", scan), "interleave")
    for t in range(3):
        whole = np.concatenate([movie.read(t, t + 1, c, 0, 12, 0, 40) for c in range(2)])
        assert np.array_equal(plain.split(whole), views.split(pixels[t], line_offset))
    whole = movie.read(0, 3, 1, 0, 12, 0, 40)
    for y0, y1, x0, x1 in [(0, 12, 0, 7), (3, 10, 5, 40), (4, 5, 0, 1), (11, 12, 39, 40)]:
        assert np.array_equal(movie.read(1, 3, 1, y0, y1, x0, x1), whole[1:, y0:y1, x0:x1])


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("frames", [3, 40, MEASURED_FRAMES + 60])
def test_the_line_phase_is_measured_on_recordings_of_any_length(scan: ScanGeometry, frames: int) -> None:
    movie = ArrayMovie(movie_of(1.3, scan, frames))
    found = line_offset_of(movie, scan, "auto")
    assert found is not None
    assert found.px == pytest.approx(1.3, abs=0.05)


def test_small_line_phases_and_policy_off_are_not_corrected() -> None:
    scan = SCANS[0]
    assert line_offset_of(ArrayMovie(movie_of(0.2, scan)), scan, "auto") is None
    assert line_offset_of(ArrayMovie(movie_of(1.3, scan)), scan, "off") is None
    one_way = ScanGeometry("ordinary", bidirectional=False)
    assert line_offset_of(ArrayMovie(movie_of(0.0, SCANS[1])), one_way, "auto") is None
    assert line_offset_of(ArrayMovie(np.zeros((4, 8, 8), np.int16)), scan, "auto") is None


@pytest.mark.parametrize("policy", [0.7, -0.05])
def test_a_number_is_applied_unchanged(policy: LinePhasePolicy) -> None:
    found = line_offset_of(ArrayMovie(movie_of(0.0, SCANS[0], 2)), SCANS[0], policy)
    assert found is not None
    assert found.px == policy
    with pytest.raises(StreamError, match="a line phase of 99"):
        line_offset_of(ArrayMovie(movie_of(0.0, SCANS[0], 2)), SCANS[0], 99.0)


@pytest.mark.parametrize("planes", [1, 2])
def test_recordings_are_corrected_with_a_warning(planes: int, caplog: pytest.LogCaptureFixture) -> None:
    scan = SCANS[0]
    movie = ArrayMovie(movie_of(1.3, scan, 80))
    recordings = open_recordings(movie, scan, RECIPE, planes)
    assert [round(recording.aligned_px, 1) for recording in recordings] == [1.3] * planes
    assert "backward lines moved by -1.29 px" in recordings[0].description
    forward, backward = recordings[0].read_views(0, 20)[:, 0].mean(0)
    as_scanned = open_recordings(movie, scan, RECIPE, planes, "off")
    beside = as_scanned[0].read_views(0, 20)[:, 0].mean(0)
    assert np.abs(forward - backward)[:, 8:-8].mean() < 0.5 * np.abs(beside[0] - beside[1])[:, 8:-8].mean()
    assert "moved" not in as_scanned[0].description
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("the backward lines of a recording of 80 frames are moved by -1.29 px")
