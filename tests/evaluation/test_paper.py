from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation import paper as module
from deepbid_rt.evaluation.paper import SNR_LIMIT_DB, agreement, frame_correlations, paper_metrics
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.recording.tiff_writer import TiffMovieWriter

KEYS = {"correlation_xyt", "correlation_frame", "snr_db", "ssim_2d", "ssim_3d"}


def ssim(a: np.ndarray, b: np.ndarray, data_range: float) -> float:
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(b, a.astype(np.float64), data_range=data_range, **options))


def test_metrics_follow_the_formulas(truth: np.ndarray, noisy: np.ndarray) -> None:
    scores = paper_metrics(noisy, truth)
    assert scores.keys() == KEYS
    assert all(type(value) is float for value in scores.values())
    m, t = noisy.astype(np.float64), truth
    data_range = t.max() - t.min()
    assert scores["correlation_xyt"] == pytest.approx(np.corrcoef(m.ravel(), t.ravel())[0, 1], abs=1e-12)
    per_frame = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(m, t, strict=True)]
    assert scores["correlation_frame"] == pytest.approx(np.mean(per_frame), abs=1e-12)
    np.testing.assert_allclose(frame_correlations(noisy, truth), per_frame)
    assert scores["snr_db"] == pytest.approx(20 * np.log10(np.linalg.norm(m) / np.linalg.norm(m - t)), abs=1e-9)
    assert scores["ssim_2d"] == pytest.approx(
        np.mean([ssim(a[0], b[0], data_range) for a, b in zip(noisy, t, strict=True)]), abs=1e-12
    )
    assert scores["ssim_3d"] == pytest.approx(ssim(noisy[:, 0], t[:, 0], data_range), abs=1e-12)
    assert scores["correlation_xyt"] != pytest.approx(scores["correlation_frame"], abs=1e-4)
    assert scores["ssim_2d"] != pytest.approx(scores["ssim_3d"], abs=1e-4)
    assert agreement(noisy, truth) == {key: scores[key] for key in ("correlation_xyt", "correlation_frame", "snr_db")}


@pytest.mark.parametrize("piece", [1, 20 * 11 * 13, 20 * 14 * 17, 2**30])
def test_the_size_of_pieces_does_not_change_the_metrics(
    truth: np.ndarray, noisy: np.ndarray, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ssim(noisy[:, 0], truth[:, 0], truth.max() - truth.min())
    monkeypatch.setattr(module, "_PIECE", piece)
    assert paper_metrics(noisy, truth)["ssim_3d"] == pytest.approx(expected, abs=1e-12)


def test_a_small_example_computed_by_hand() -> None:
    movie = np.array([[3.0, 4.0], [0.0, 0.0]])[:, None, None, :]
    truth = np.array([[3.0, 3.0], [0.0, 0.0]])[:, None, None, :]
    scores = agreement(movie, truth)
    assert scores["snr_db"] == pytest.approx(20 * math.log10(5 / 1))  # the movie, not the truth, in the numerator
    assert scores["correlation_xyt"] == pytest.approx(21 / math.sqrt(51 * 9))
    assert scores["correlation_frame"] == 0.0  # each frame of the truth is constant


def test_swapping_movie_and_truth_changes_the_snr(truth: np.ndarray) -> None:
    assert agreement(2 * truth, truth)["snr_db"] == pytest.approx(20 * math.log10(2))
    assert agreement(truth, 2 * truth)["snr_db"] == pytest.approx(0.0)


def test_metrics_of_identical_constant_and_zero_movies_are_finite(truth: np.ndarray) -> None:
    same = paper_metrics(truth, truth)
    assert same["snr_db"] == SNR_LIMIT_DB
    assert same["correlation_xyt"] == pytest.approx(1)
    assert same["ssim_2d"] == pytest.approx(1)
    assert same["ssim_3d"] == pytest.approx(1)
    constant = np.full(truth.shape, 0.1)
    assert paper_metrics(constant, truth)["correlation_xyt"] == 0.0
    assert paper_metrics(0 * truth, truth)["snr_db"] == -SNR_LIMIT_DB
    for movie in (constant, 0 * truth, truth):
        json.dumps(paper_metrics(movie, 0 * truth), allow_nan=False)


def test_correlation_of_small_signals_on_large_offsets() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(0, 1, (20, 1, 16, 16))
    movie = truth + rng.normal(0, 1, truth.shape)
    expected = agreement(movie, truth)["correlation_xyt"]
    assert agreement(movie + 1e7, truth + 1e7)["correlation_xyt"] == pytest.approx(expected, abs=1e-7)


def test_channels_have_equal_weight(truth: np.ndarray, noisy: np.ndarray) -> None:
    two_truths, two = (np.concatenate([a, a], axis=1) for a in (truth, noisy))
    one = paper_metrics(noisy, truth)
    assert paper_metrics(two, two_truths) == pytest.approx(one, abs=1e-12)


def test_files_and_arrays_give_the_same_metrics(tmp_path: Path, truth: np.ndarray, noisy: np.ndarray) -> None:
    for name, pixels in {"truth": truth.astype(np.float32), "noisy": noisy}.items():
        writer = TiffMovieWriter(tmp_path / f"{name}.tif")
        for number, frame in enumerate(pixels):
            writer.append(frame, number, 0.0)
        writer.close()
    with TiffMovie(tmp_path / "truth.tif") as t, TiffMovie(tmp_path / "noisy.tif") as n:
        assert paper_metrics(n, t) == paper_metrics(noisy, truth.astype(np.float32))


def test_movies_are_read_frame_by_frame(truth: np.ndarray) -> None:
    class LongMovie:
        shape = (4_000, 1, 31, 20)
        largest_read = 0

        def read(self, t0: int, t1: int) -> np.ndarray:
            self.largest_read = max(self.largest_read, t1 - t0)
            return np.broadcast_to(truth[:1], (t1 - t0, *self.shape[1:]))

    movie = LongMovie()
    agreement(movie, movie)
    assert movie.largest_read == 1


@pytest.mark.parametrize("shape", [(10, 1, 20, 20), (20, 1, 10, 20), (20, 1, 20, 10)])
def test_refuses_movies_smaller_than_the_window(shape: tuple[int, ...]) -> None:
    with pytest.raises(StreamError) as info:
        paper_metrics(np.zeros(shape), np.zeros(shape))
    assert str(info.value) == (
        f"a movie of shape (T, C, Y, X) = {shape}; expected at least 11 frames, lines and pixels for the structural "
        "similarity; evaluate a longer or larger movie."
    )


def test_refuses_different_shapes(truth: np.ndarray) -> None:
    with pytest.raises(StreamError, match="to compare with one of"):
        paper_metrics(truth[1:], truth)
