"""Single pixels of float streams that are NaN, infinite or absurdly large: the frame and the session go on."""

from __future__ import annotations

import functools
import logging
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.frame import Frame, ScanGeometry, StreamInfo
from deepbid_rt.runtimes import load_engine
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings

FRAMES, AGED = 90, 45
ENGINES = ("echo", "average", "light", "default", "window")
VALUES = (3e38, -3e38, 1e31, 1e29, np.nan, np.inf, -np.inf)
SIZES = ((72, 72), (24, 24))
"""In images smaller than 32 pixels no motion is measured, so no frame counts as foreign."""


@functools.cache
def movie(size: tuple[int, int], layout: str) -> tuple[StreamInfo, list[NDArray[Any]]]:
    settings = ScanSettings(size=size, dtype="<f4", seed=3)
    source = SyntheticSource(SceneSettings(seed=3, motion_px=1.0), settings, FRAMES)
    frames = [source.render(n)[0] for n in range(FRAMES)]
    return StreamInfo(frames[0].shape, np.dtype("<f4"), 30.0, ScanGeometry(layout)), frames


def denoised(name: str, info: StreamInfo, frames: list[NDArray[Any]]) -> tuple[NDArray[Any], Denoiser]:
    engine = load_engine(name) if name in ("echo", "average") else load_engine(name, precision="f32", threads=1)
    denoiser = Denoiser(engine, info)
    done = [out for n, pixels in enumerate(frames) for out in denoiser.push(Frame(n, pixels))] + denoiser.flush()
    engine.close()
    return np.stack([out.pixels for out in done]), denoiser


@functools.cache
def undisturbed(name: str, size: tuple[int, int], layout: str) -> NDArray[Any]:
    return denoised(name, *movie(size, layout))[0]


def noise_of(frames: list[NDArray[Any]]) -> float:
    return float(np.sqrt(np.mean(np.diff(np.stack(frames), axis=0) ** 2) / 2))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("at", [3, 40], ids=["while calibrating", "later"])
@pytest.mark.parametrize("name", ENGINES)
def test_one_such_pixel_changes_no_other_frame_by_much(name: str, at: int, size: tuple[int, int]) -> None:
    info, frames = movie(size, "ordinary")
    clean, noise = undisturbed(name, size, "ordinary"), noise_of(frames)
    for value in VALUES if name in ("echo", "average") else (3e38, np.nan):
        broken = [pixels.copy() for pixels in frames]
        broken[at][0, 10, 12] = value
        found, denoiser = denoised(name, info, broken)
        assert len(found) == FRAMES
        assert np.isfinite(found).all()
        assert denoiser.impossible_pixels == (value != 1e29)
        # Root mean squares: a shift that is rounded to another whole pixel moves a few edges for some frames.
        difference = np.sqrt(np.mean(np.square(found - clean, dtype=np.float64), axis=(1, 2, 3)))
        if name == "echo":  # without averages, the pixel itself is what it is
            difference[at] = 0
        assert difference.max() < 0.1 * noise
        assert difference[at + AGED :].max() < 0.05 * noise


@pytest.mark.parametrize("name", ["average", "default"])
def test_both_directions_of_a_collinear_scan_are_treated_alike(name: str) -> None:
    info, frames = movie((72, 72), "collinear")
    clean = undisturbed(name, (72, 72), "collinear")
    broken = [pixels.copy() for pixels in frames]
    broken[40][0, 20, 12], broken[41][0, 21, 12] = 3e38, -3e38
    found, denoiser = denoised(name, info, broken)
    assert denoiser.impossible_pixels == 2
    assert np.sqrt(np.mean(np.square(found - clean, dtype=np.float64))) < 0.05 * noise_of(frames)


def test_such_pixels_are_said_once_for_each_series(caplog: pytest.LogCaptureFixture) -> None:
    info, frames = movie((24, 24), "ordinary")
    broken = [pixels.copy() for pixels in frames[:12]]
    for pixels in broken[5:]:
        pixels[0, :2, :3] = np.nan
    with caplog.at_level(logging.WARNING):
        _, denoiser = denoised("average", info, broken)
    assert denoiser.impossible_pixels == 7 * 6
    said = [record.getMessage() for record in caplog.records if "NaN" in record.getMessage()]
    (text,) = said
    assert text == (
        f"frame 5 has 6 pixels of {frames[0].size} that are NaN, infinite or beyond 1e+30: such pixels are filled from "
        "what was measured around them, in later frames too"
    )


def test_the_pixels_of_the_source_are_not_changed() -> None:
    info, frames = movie((24, 24), "ordinary")
    pixels = frames[0].copy()
    pixels[0, 0, 0] = 3e38
    before = pixels.copy()
    Denoiser(load_engine("average"), info).push(Frame(0, pixels))
    assert np.array_equal(pixels, before)
