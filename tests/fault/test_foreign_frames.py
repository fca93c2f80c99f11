"""Frames that do not show the tissue (flashes, jumps, broken pixels ...) lower the quality for a second at most."""

import dataclasses
import functools

import numpy as np
import pytest

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.frame import Frame
from deepbid_rt.runtimes.average import AverageEngine
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings

FRAMES, FIRST, SECOND = 100, 30, 30
SETTINGS = ScanSettings(size=(72, 72), dtype="<f4", seed=3)


@functools.cache
def movie(seed):
    source = SyntheticSource(SceneSettings(seed=seed, motion_px=1.0), SETTINGS, FRAMES)
    frames, truths = zip(*(source.render(n) for n in range(FRAMES)), strict=True)
    return source.info, frames, np.stack(truths)[:, 0]


def half(pixels, value):
    broken = pixels.copy()
    broken[:, : pixels.shape[1] // 2] = value
    return broken


FAULTS = {
    "NaN": lambda n, pixels: np.full_like(pixels, np.nan),
    "infinite": lambda n, pixels: np.full_like(pixels, np.inf),
    "half NaN": lambda n, pixels: half(pixels, np.nan),
    "black": lambda n, pixels: np.zeros_like(pixels),
    "saturated": lambda n, pixels: np.full_like(pixels, 4095),
    "half saturated": lambda n, pixels: half(pixels, 4095),
    "shutter closed": lambda n, pixels: np.random.default_rng(n).normal(100, 15, pixels.shape).astype("f4"),
    "another place": lambda n, pixels: movie(9)[1][n],
}


class AheadEngine(AverageEngine):
    """The average of the frame, its temporal averages, and a little of the next frame."""

    def __init__(self):
        super().__init__()
        self.card = dataclasses.replace(self.card, kind="stream", look_ahead=1)

    def infer(self, inputs):
        average = super().infer(inputs[:4])
        return average + np.float32(0.1) * (inputs[4:] - average)


def denoised(engine, frames, info):
    """Return the denoised movie and the motion status of each frame."""
    denoiser = Denoiser(engine(), info)
    done = [out for n, pixels in enumerate(frames) for out in denoiser.push(Frame(n, pixels))] + denoiser.flush()
    return np.stack([out.pixels[0] for out in done]), [out.motion.status for out in done]


def agreement(image, truth):
    return float(np.corrcoef(image.ravel(), truth.ravel())[0, 1])


@pytest.mark.parametrize("engine", [AverageEngine, AheadEngine])
@pytest.mark.parametrize("length", [3, 40])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_quality_recovers_within_a_second(fault, length, engine):
    info, frames, truth = movie(3)
    after = FIRST + length
    faulty = [FAULTS[fault](n, pixels) if FIRST <= n < after else pixels for n, pixels in enumerate(frames)]
    (clean, _), (found, statuses) = denoised(engine, frames, info), denoised(engine, faulty, info)
    assert np.isfinite(found).all()
    last = after + SECOND - 1
    assert agreement(found[last], truth[last]) > agreement(clean[last], truth[last]) - 0.02
    if fault != "half NaN":  # the other half shows the tissue
        first = statuses[FIRST : FIRST + min(length, 9)]
        assert first.count("foreign") >= 2 / 3 * len(first)  # another place may correlate by chance
