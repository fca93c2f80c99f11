"""`StripEquations` with torch on the CPU against numpy's inverse."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
from deepbid_rt.motion.nonrigid import NONRIGID_SETTINGS, random_walk_precision  # noqa: E402  # after the check for torch
from deepbid_rt.runtimes.gpu.strip_equations import StripEquations  # noqa: E402

STRIPS, TETHER = NONRIGID_SETTINGS.strips, NONRIGID_SETTINGS.tether
WALK = random_walk_precision(STRIPS)


def random_products(strips, most, seed):
    """Products yy, yx and xx (3, K) of very different sizes."""
    rng = np.random.default_rng(seed)
    yy, xx = most * rng.uniform(0, 1, (2, strips)) ** 4
    return np.stack([yy, rng.uniform(-1, 1, strips) * np.sqrt(yy * xx), xx])


def precision_of(walk, products, variance):
    """The precision matrix as `NonrigidMotionEstimator` makes it."""
    strips, k = len(walk), np.arange(len(walk))
    precision = np.zeros((strips, 2, strips, 2))
    for axis, product in enumerate((products[0], products[2])):
        precision[:, axis, :, axis] = walk / variance + TETHER * np.eye(strips) + np.diag(product)
    precision[k, 0, k, 1] = precision[k, 1, k, 0] = products[1]
    return precision.reshape(2 * strips, 2 * strips)


def in_order(equations, matrix):
    """The matrix with its strips in the order of the equations."""
    places = (2 * equations.order[:, None] + np.arange(2)).ravel()
    return matrix[np.ix_(places, places)]


@pytest.mark.parametrize("variance", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("most", [0.0, 1.0, 1e5])
@pytest.mark.parametrize("strips", [1, 2, 3, 7, STRIPS])
def test_inverse_equals_numpy_for_any_products(strips, variance, most):
    steps = np.diff(np.eye(strips), axis=0)
    walk = steps.T @ steps
    equations = StripEquations(walk, TETHER, torch.device("cpu"))
    assert sorted(equations.order) == list(range(strips))
    prior = equations.prior(torch.tensor(variance, dtype=torch.float64))
    for seed in range(5):
        products = random_products(strips, most, seed)
        expected = np.linalg.inv(in_order(equations, precision_of(walk, products, variance)))
        got = equations.invert(prior, torch.from_numpy(products[:, equations.order].copy())).numpy()
        assert np.allclose(got, expected, rtol=1e-6, atol=1e-6 * expected.max())


def test_pull_is_that_of_images_minus_that_of_the_prior():
    equations = StripEquations(WALK, TETHER, torch.device("cpu"))
    rng = np.random.default_rng(0)
    image_pull, strips = rng.normal(size=(2, STRIPS)), rng.normal(size=(STRIPS, 2))
    expected = image_pull.T - (WALK / 0.1 + TETHER * np.eye(STRIPS)) @ strips
    order = equations.order
    prior = equations.prior(torch.tensor(0.1, dtype=torch.float64))
    got = equations.pull(prior, torch.from_numpy(image_pull[:, order]), torch.from_numpy(strips[order]))
    assert np.allclose(got.numpy().reshape(STRIPS, 2), expected[order])


def test_roughness_adds_squared_steps_and_their_uncertainty():
    equations = StripEquations(WALK, TETHER, torch.device("cpu"))
    strips = np.random.default_rng(0).normal(size=(STRIPS, 2))
    covariance = np.linalg.inv(precision_of(WALK, random_products(STRIPS, 1.0, 0), 0.1))
    variances = covariance.diagonal()
    unknown = variances[:-2] + variances[2:] - 2 * covariance.diagonal(2)
    expected = np.mean(np.diff(strips, axis=0) ** 2) + np.mean(unknown)
    shuffled = torch.from_numpy(in_order(equations, covariance).copy())
    got = equations.roughness(torch.from_numpy(strips[equations.order]), shuffled)
    assert float(got) == pytest.approx(expected)


def test_half_of_the_strips_are_eliminated_at_once():
    """Each step is three operations on the device, and the number of operations decides the time of a frame."""
    equations = StripEquations(WALK, TETHER, torch.device("cpu"))
    assert [len(range(2 * STRIPS)[step]) for step in equations._steps] == [8, 8, 4, 4, 2, 2, 1, 1, 1, 1]
