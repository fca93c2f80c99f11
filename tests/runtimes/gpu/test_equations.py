"""The equations of the strips on the device against numpy's inverse, here with torch on the CPU."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
from deepbid_rt.motion.nonrigid import _TETHER, NonrigidMotionEstimator  # noqa: E402  # after the check for torch
from deepbid_rt.runtimes.gpu.equations import Equations  # noqa: E402

WALK = NonrigidMotionEstimator((64, 64))._walk
STRIPS = len(WALK)


def shown_by(strips, most, seed):
    """What images show of each strip, yy, yx and xx (3, K), of very unlike sizes."""
    rng = np.random.default_rng(seed)
    yy, xx = most * rng.uniform(0, 1, (2, strips)) ** 4
    return np.stack([yy, rng.uniform(-1, 1, strips) * np.sqrt(yy * xx), xx])


def precision_of(walk, shown, variance):
    """The matrix as `deepbid_rt.motion.nonrigid` makes it."""
    strips, k = len(walk), np.arange(len(walk))
    precision = np.zeros((strips, 2, strips, 2))
    for axis, seen in enumerate((shown[0], shown[2])):
        precision[:, axis, :, axis] = walk / variance + _TETHER * np.eye(strips) + np.diag(seen)
    precision[k, 0, k, 1] = precision[k, 1, k, 0] = shown[1]
    return precision.reshape(2 * strips, 2 * strips)


def in_order(equations, matrix):
    """A matrix of all unknowns with the strips in the order of the equations."""
    places = (2 * equations.order[:, None] + np.arange(2)).ravel()
    return matrix[np.ix_(places, places)]


@pytest.mark.parametrize("variance", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("most", [0.0, 1.0, 1e5])
@pytest.mark.parametrize("strips", [1, 2, 3, 7, STRIPS])
def test_the_equations_are_solved_whatever_the_strips_show(strips, variance, most):
    steps = np.diff(np.eye(strips), axis=0)
    walk = steps.T @ steps
    equations = Equations(walk, _TETHER, torch.device("cpu"))
    assert sorted(equations.order) == list(range(strips))
    prior = equations.prior(torch.tensor(variance, dtype=torch.float64))
    for seed in range(5):
        shown = shown_by(strips, most, seed)
        expected = np.linalg.inv(in_order(equations, precision_of(walk, shown, variance)))
        got = equations.invert(prior, torch.from_numpy(shown[:, equations.order].copy())).numpy()
        assert np.allclose(got, expected, rtol=1e-6, atol=1e-6 * expected.max())


def test_the_pull_is_what_images_show_less_what_the_prior_wants():
    equations = Equations(WALK, _TETHER, torch.device("cpu"))
    rng = np.random.default_rng(0)
    seen, strips = rng.normal(size=(2, STRIPS)), rng.normal(size=(STRIPS, 2))
    expected = seen.T - (WALK / 0.1 + _TETHER * np.eye(STRIPS)) @ strips
    order = equations.order
    prior = equations.prior(torch.tensor(0.1, dtype=torch.float64))
    got = equations.pull(prior, torch.from_numpy(seen[:, order]), torch.from_numpy(strips[order]))
    assert np.allclose(got.numpy().reshape(STRIPS, 2), expected[order])


def test_roughness_is_that_of_the_estimated_and_of_the_unknown_steps():
    equations = Equations(WALK, _TETHER, torch.device("cpu"))
    strips = np.random.default_rng(0).normal(size=(STRIPS, 2))
    covariance = np.linalg.inv(precision_of(WALK, shown_by(STRIPS, 1.0, 0), 0.1))
    variances = covariance.diagonal()
    unknown = variances[:-2] + variances[2:] - 2 * covariance.diagonal(2)
    expected = np.mean(np.diff(strips, axis=0) ** 2) + np.mean(unknown)
    shuffled = torch.from_numpy(in_order(equations, covariance).copy())
    got = equations.roughness(torch.from_numpy(strips[equations.order]), shuffled)
    assert float(got) == pytest.approx(expected)


def test_half_of_a_chain_leaves_at_once():
    """Three operations on the device for each of these steps: their number is what a frame costs there."""
    equations = Equations(WALK, _TETHER, torch.device("cpu"))
    assert [len(range(2 * STRIPS)[step]) for step in equations._steps] == [8, 8, 4, 4, 2, 2, 1, 1, 1, 1]
