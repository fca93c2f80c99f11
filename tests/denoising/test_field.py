"""What a denoiser does with pixels that hold no measurement: round fields, sentinels, stuck pixels."""

import functools
import logging

import numpy as np
import pytest

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.frame import Frame, ScanGeometry, StreamInfo
from deepbid_rt.runtimes import load_engine
from deepbid_rt.scan.missing_pixels import SENTINEL
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings

FRAMES, SIDE = 60, 128
Y, X = np.mgrid[:SIDE, :SIDE]
CORNERS = np.hypot(Y - SIDE / 2, X - SIDE / 2) > 0.45 * SIDE
MIDDLE = np.hypot(Y - SIDE / 2, X - SIDE / 2) < 0.3 * SIDE
SCANS = {
    "ordinary": ScanGeometry(),
    "unmirrored": ScanGeometry(mirrored=False),
    "collinear": ScanGeometry("collinear"),
}


@functools.cache
def movie(layout):
    lines = (2 if layout == "collinear" else 1) * SIDE
    settings = ScanSettings(size=(SIDE, SIDE), dtype="<i2", seed=3, scan=SCANS[layout], photons=2.0)
    source = SyntheticSource(SceneSettings(seed=3, motion_px=4.0), settings, FRAMES)
    frames = np.stack([source.render(n)[0] for n in range(FRAMES)])
    assert frames.shape == (FRAMES, 1, lines, SIDE)
    return frames


def denoised(frames, scan, **options):
    engine = load_engine("average")
    info = StreamInfo(frames.shape[1:], frames.dtype, 30.0, scan)
    denoiser = Denoiser(engine, info, line_phase="off", **options)
    done = [out for n, pixels in enumerate(frames) for out in denoiser.push(Frame(n, pixels))] + denoiser.flush()
    engine.close()
    return np.stack([out.pixels[0] for out in done]), [out.motion for out in done], denoiser


def in_raw_geometry(where, layout):
    """Where of an image (Y, X), as lines are scanned."""
    if layout == "collinear":
        return np.repeat(where, 2, axis=0)
    raw = where.copy()
    if layout == "unmirrored":
        raw[1::2] = raw[1::2, ::-1]
    return raw


@pytest.mark.parametrize("layout", SCANS)
def test_a_round_field_is_denoised_and_followed_like_a_whole_one(layout):
    whole, motion, plain = denoised(movie(layout), SCANS[layout])
    frames = movie(layout).copy()
    frames[:, 0, in_raw_geometry(CORNERS, layout)] = -100
    found, followed, denoiser = denoised(frames, SCANS[layout])
    assert (found[:, CORNERS] == -100).mean() > 0.95
    assert not (found[:, MIDDLE] == -100).any()
    shift = np.array([(one.dy - other.dy, one.dx - other.dx) for one, other in zip(motion, followed, strict=True)])
    assert np.abs(shift - shift.mean(0))[20:].max() < 1.0
    difference = np.sqrt(np.mean(np.square(found[20:, MIDDLE].astype(float) - whole[20:, MIDDLE])))
    assert difference < 0.25 * denoiser.normalizers[0][0].scale
    assert denoiser.normalizers[0][0].scale == pytest.approx(plain.normalizers[0][0].scale, rel=0.15)


def test_both_views_of_a_collinear_scan_keep_the_corners():
    frames = movie("collinear").copy()
    frames[:, 0, in_raw_geometry(CORNERS, "collinear")] = 0
    found, _, _ = denoised(frames, SCANS["collinear"], merge="interleave")
    assert (found[:, in_raw_geometry(CORNERS, "collinear")] == 0).mean() > 0.95


def test_pixels_without_a_sample_are_filled():
    frames = movie("ordinary").copy()
    whole, _, _ = denoised(frames, SCANS["ordinary"])
    frames[:, 0, :, -6:] = SENTINEL
    frames[::3, 0, 40:44] = SENTINEL
    found, _, denoiser = denoised(frames, SCANS["ordinary"])
    assert found.min() > SENTINEL / 2
    difference = found.astype(float) - whole
    assert np.sqrt(np.mean(np.square(difference[20:, :, :-6]))) < 0.3 * denoiser.normalizers[0][0].scale


def test_what_is_filled_is_said_once(caplog):
    frames = movie("ordinary").copy()
    frames[:, 0, CORNERS] = 0
    frames[:, 0, 64, 64] = 32767
    with caplog.at_level(logging.INFO):
        found, _, _ = denoised(frames, SCANS["ordinary"])
    assert found[:, 64, 64].max() < 8000
    said = [record.getMessage() for record in caplog.records if "plane 0" in record.getMessage()]
    assert len(said) == 2
    assert said[0].startswith("1 pixels of plane 0 stand far above all others")
    assert "of the frames of plane 0 never change" in said[1]


def test_a_registered_movie_keeps_the_corners_too():
    frames = movie("ordinary").copy()
    frames[:, 0, CORNERS] = 0
    found, _, _ = denoised(frames, SCANS["ordinary"], stabilize=True)
    assert (found[:, CORNERS] == 0).mean() > 0.95
