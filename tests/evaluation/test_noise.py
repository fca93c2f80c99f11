from __future__ import annotations

import json
import math

import numpy as np
import pytest

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.noise import noise_summary
from deepbid_rt.recording.tiff_movie import TiffMovie
from tests import DATA


def test_noise_summary_follows_the_formulas(truth: np.ndarray, noisy: np.ndarray) -> None:
    summary = noise_summary(noisy, truth)
    for name, movie in {"raw": noisy.astype(np.float64), "denoised": truth}.items():
        assert summary["temporal_noise"][name] == pytest.approx(np.std(np.diff(movie, axis=0)) / math.sqrt(2))
        assert summary["mean"][name] == pytest.approx(movie.mean())
        even, odd = movie[0::2].mean(0).ravel(), movie[1::2].mean(0).ravel()
        assert summary["split_half_correlation"][name] == pytest.approx(np.corrcoef(even, odd)[0, 1])
    images = noisy.mean(0).ravel(), truth.mean(0).ravel()
    assert summary["mean_image_correlation"] == pytest.approx(np.corrcoef(*images)[0, 1])
    assert summary["temporal_noise_ratio"] == pytest.approx(
        summary["temporal_noise"]["denoised"] / summary["temporal_noise"]["raw"]
    )
    assert summary["mean_ratio"] == pytest.approx(truth.mean() / noisy.mean())
    json.dumps(summary, allow_nan=False)


def test_noise_of_a_still_scene_is_the_added_noise() -> None:
    noise = np.random.default_rng(4).normal(0, 25, (60, 1, 40, 40))
    raw = np.rint(400 + noise).astype(np.uint16)  # differences of uint16 must not wrap around
    summary = noise_summary(raw, np.full(raw.shape, 400.0))
    assert summary["temporal_noise"]["raw"] == pytest.approx(25, rel=0.02)
    assert summary["temporal_noise"]["denoised"] == 0.0
    assert summary["split_half_correlation"]["denoised"] == 0.0


def test_zeros_two_frames_and_a_collinear_recording_are_accepted() -> None:
    zeros = np.zeros((2, 1, 4, 4), np.int16)
    summary = noise_summary(np.zeros((2, 1, 8, 4), np.int16), zeros)
    assert (summary["temporal_noise_ratio"], summary["mean_ratio"]) == (0.0, 0.0)
    with pytest.raises(StreamError, match="a movie of 1 frame"):
        noise_summary(zeros[:1], zeros[:1])


@pytest.mark.skipif(not DATA.exists(), reason="no real recordings beside the checkout (shared/data)")
def test_averaging_a_real_recording_lowers_its_noise_and_keeps_its_mean() -> None:
    with TiffMovie(DATA / "thunder_mouse64" / "mouse_500x64x64.tif") as movie:
        raw = movie.read(0, 200).astype(np.float64)
    averaged = np.stack([raw[max(0, t - 7) : t + 1].mean(0) for t in range(200)])
    summary = noise_summary(raw, averaged)
    assert summary["temporal_noise_ratio"] < 0.3
    assert summary["mean_ratio"] == pytest.approx(1, abs=0.01)
    assert summary["mean_image_correlation"] > 0.99
