from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, shift

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation.edges import EDGE_LIMIT, edge_width_ratio

SIGMA = 2.0  # of the edges of the disc, pixels
Y, X = np.ogrid[:64, :72]


def disc(y: float, x: float) -> np.ndarray:
    return 100 + 300 * gaussian_filter((np.hypot(Y - y, X - x) < 16).astype(float), SIGMA)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    rng = np.random.default_rng(2)
    return np.stack([disc(32 + dy, 36 + dx) for dy, dx in rng.normal(0, 2, (20, 2))])[:, None]


@pytest.mark.parametrize("sigma", [0.8, 1.5, 2.5])
def test_a_blur_widens_edges_as_theory_predicts(truth: np.ndarray, sigma: float) -> None:
    found = edge_width_ratio(gaussian_filter(truth, (0, 0, sigma, sigma), mode="nearest"), truth)
    assert found == pytest.approx(np.hypot(1, sigma / SIGMA), rel=0.08)  # the blur lowers the rise a little as well


def test_averaging_in_time_widens_moving_edges(truth: np.ndarray) -> None:
    rolled = np.stack([truth[max(0, t - 7) : t + 1].mean(0) for t in range(len(truth))])
    frozen = np.broadcast_to(truth.mean(0), truth.shape)
    assert edge_width_ratio(rolled, truth) > 1.2
    assert edge_width_ratio(frozen, truth) > 1.4


@settings(deadline=None, max_examples=15)
@given(gain=st.floats(0.05, 40), offset=st.floats(-1e4, 1e4), seed=st.integers(0, 99))
def test_gain_offset_and_order_of_frames_do_not_change_the_ratio(gain: float, offset: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.stack([disc(32 + dy, 36 + dx) for dy, dx in rng.normal(0, 2, (5, 2))])[:, None]
    movie = gaussian_filter(truth, (0, 0, 1, 1))
    expected = edge_width_ratio(movie, truth)
    order = rng.permutation(len(truth))
    assert edge_width_ratio(truth, truth) == pytest.approx(1, abs=1e-9)
    assert edge_width_ratio(gain * movie + offset, truth) == pytest.approx(expected, rel=1e-6)
    assert edge_width_ratio(movie[order], truth[order]) == pytest.approx(expected, rel=1e-9)
    assert edge_width_ratio(movie[..., ::-1], truth[..., ::-1]) == pytest.approx(
        expected, rel=0.02
    )  # the blocks lie elsewhere in a mirrored frame


@pytest.mark.parametrize("sigma", [0, 2])
def test_noise_does_not_change_the_mean_ratio(truth: np.ndarray, sigma: float) -> None:
    movie = gaussian_filter(truth, (0, 0, sigma, sigma)) if sigma else truth
    rng = np.random.default_rng(5)
    noisy = [1 / edge_width_ratio(movie + rng.normal(0, 100, truth.shape), truth) for _ in range(20)]
    assert np.mean(noisy) == pytest.approx(1 / edge_width_ratio(movie, truth), rel=0.1)


def test_still_edges_do_not_count(truth: np.ndarray) -> None:
    """A blurred still stripe beside a sharp moving disc does not change the ratio."""
    still = np.zeros(truth.shape)
    still[..., 2:6] = 300  # steeper than the disc
    blurred_still = gaussian_filter(still, (0, 0, 2, 2))
    assert edge_width_ratio(truth + blurred_still, truth + still) == pytest.approx(1, abs=0.1)


def test_a_mask_restricts_where_edges_count(truth: np.ndarray) -> None:
    two = np.concatenate([truth, truth], axis=3)
    half = np.concatenate([truth, gaussian_filter(truth, (0, 0, 3, 3))], axis=3)
    near = np.zeros(two.shape[1:], bool)
    near[..., :64] = True
    assert edge_width_ratio(half, two, near) == pytest.approx(1, abs=0.05)
    assert edge_width_ratio(half, two, ~near) > 1.5


def test_a_movie_without_edges_has_the_limit_and_a_still_truth_has_no_ratio(truth: np.ndarray) -> None:
    assert edge_width_ratio(np.full(truth.shape, 3.0), truth) == EDGE_LIMIT
    assert edge_width_ratio(-truth, truth) == EDGE_LIMIT
    still = np.broadcast_to(truth[:1], truth.shape)
    assert edge_width_ratio(still, still) is None
    flat = np.full(truth.shape, 0.1)
    assert edge_width_ratio(truth, flat) is None
    with pytest.raises(StreamError, match="to compare with one of"):
        edge_width_ratio(truth[1:], truth)


def test_a_sharp_edge_in_the_wrong_place_counts_as_blurred(truth: np.ndarray) -> None:
    moved = shift(truth, (0, 0, 4, 4), mode="nearest")
    assert edge_width_ratio(moved, truth) > 1.5
