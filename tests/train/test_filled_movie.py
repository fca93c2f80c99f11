"""Recordings with pixels that hold no measurement, for training."""

import logging

import numpy as np
import pytest

from deepbid_rt.frame import ScanGeometry
from deepbid_rt.scan.missing_pixels import SENTINEL
from deepbid_rt.train.filled_movie import FilledMovie, filled
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.recipe import preset
from deepbid_rt.train.recording import open_recordings

SIDE, FRAMES = 128, 40
Y, X = np.mgrid[:SIDE, :SIDE]
CORNERS = np.hypot(Y - SIDE / 2, X - SIDE / 2) > 0.48 * SIDE


def movie(channels=1):
    rate = 5 * (1 + 0.8 * np.sin(X / 9) * np.sin(Y / 7))
    counts = 100 * np.random.default_rng(0).poisson(rate, (FRAMES, channels, SIDE, SIDE))
    return counts.astype("<i2")


def test_a_movie_of_measured_pixels_stays_as_it_is():
    whole = ArrayMovie(movie())
    assert filled(whole) is whole


def test_masked_corners_are_filled_in_every_block(caplog):
    pixels = movie(2)
    pixels[:, 1, CORNERS] = -50
    with caplog.at_level(logging.WARNING):
        one = filled(ArrayMovie(pixels))
    assert isinstance(one, FilledMovie)
    assert "never change" in caplog.text
    assert np.array_equal(one.read(0, FRAMES, 0, 0, SIDE, 0, SIDE), pixels[:, 0])
    whole = one.read(3, 7, 1, 0, SIDE, 0, SIDE)
    assert (whole == -50).mean() < 0.15 * CORNERS.mean()
    assert np.array_equal(whole[:, ~one.constant[1]], pixels[3:7, 1, ~one.constant[1]])
    assert np.array_equal(one.read(3, 7, 1, 5, 20, 40, SIDE), whole[:, 5:20, 40:])
    assert (pixels[:, 1, CORNERS] == -50).all()  # the recording itself is not changed


def test_pixels_without_a_sample_are_filled():
    pixels = movie()
    pixels[::2, 0, :, -3:] = SENTINEL
    one = filled(ArrayMovie(pixels))
    whole = one.read(0, FRAMES, 0, 0, SIDE, 0, SIDE)
    assert whole.min() >= 0
    assert np.array_equal(whole[..., :-3], pixels[:, 0, :, :-3])


@pytest.mark.parametrize("layout", ["ordinary", "collinear"])
def test_offset_and_noise_are_measured_inside_the_field(layout):
    recipe = preset("fast", patch=(1, 24, 48))
    scan = ScanGeometry(layout)
    (whole,) = open_recordings(ArrayMovie(movie()), scan, recipe, line_phase="off")
    pixels = movie()
    pixels[:, 0, CORNERS] = 0
    (round_field,) = open_recordings(ArrayMovie(pixels), scan, recipe, line_phase="off")
    (expected,), (found,) = whole.normalizers, round_field.normalizers
    assert found.offset == pytest.approx(expected.offset, rel=0.06)
    assert found.scale == pytest.approx(expected.scale, rel=0.06)
    views = round_field.read_views(0, 8)
    assert abs(views.mean()) < 0.3
    assert views.min() > -3  # 0 counts would lie further below
