"""`AverageEngine`."""

import numpy as np
import pytest

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.frame import Frame
from deepbid_rt.runtimes import engine_digest, load_engine
from deepbid_rt.runtimes.average import GAIN, AverageEngine
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings


def test_the_engine_is_loaded_by_name_and_has_no_file():
    engine = load_engine("average")
    assert engine.card.name == "average"
    assert engine.card.delay == 0
    assert engine_digest("average") is None


def test_smoothing_keeps_flat_images_and_sums():
    engine = AverageEngine()
    flat = np.full((4, 9, 9), 3, np.float32)
    assert np.allclose(engine.infer(flat), 3)
    point = np.zeros((4, 15, 15), np.float32)
    point[[0, 3], 7, 7] = 1
    answer = engine.infer(point)[0]
    assert answer.sum() == pytest.approx(1)
    y = np.arange(15) - 7
    assert (answer.sum(axis=1) * y**2).sum() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("weight", "share"), [(0.0, 1.0), (1.0, GAIN), (GAIN, 1 / (2 - GAIN))])
def test_the_weight_of_the_current_frame_is_exact(weight, share):
    inputs = np.zeros((4, 8, 8), np.float32)
    inputs[0], inputs[2] = 1, weight
    assert np.allclose(AverageEngine().infer(inputs), share)


def test_the_average_beats_the_raw_movie_and_the_uncompensated_average():
    source = SyntheticSource(SceneSettings(seed=2, motion_px=2.0), ScanSettings(size=(96, 96), seed=2), 50)
    raw, truth = (np.stack(x)[:, 0] for x in zip(*(source.render(n) for n in range(50)), strict=True))
    denoiser = Denoiser(AverageEngine(), source.info)
    out = [f for n, frame in enumerate(raw) for f in denoiser.push(Frame(n, frame[None]))] + denoiser.flush()
    image = (raw[:, 0::2].astype(float) + raw[:, 1::2]) / 2
    plain = image.copy()
    for n in range(1, 50):
        plain[n] = plain[n - 1] + max(GAIN, 1 / (n + 1)) * (image[n] - plain[n - 1])

    def correlation(movie):
        return np.corrcoef(np.stack(movie)[10:].ravel(), truth[10:].ravel())[0, 1]

    ours = correlation([f.pixels[0] for f in out])
    assert ours > correlation(image) + 0.3
    assert ours > correlation(plain)
