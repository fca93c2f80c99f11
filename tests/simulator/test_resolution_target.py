"""The resolution target: reproducible by its seed, nowhere dark, and sharper than tissue."""

import numpy as np
import pytest

from deepbid_rt.simulator.anatomy import draw_anatomy
from deepbid_rt.simulator.resolution_target import draw_resolution_target


def test_equal_seeds_draw_equal_targets():
    first, second, other = (draw_resolution_target(np.random.default_rng(seed), (80, 96)) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert first.shape == (80, 96)
    assert first.dtype == np.float32


@pytest.mark.parametrize("shape", [(1, 1), (8, 300), (300, 8), (64, 64)])
def test_targets_of_every_size_are_nowhere_dark(shape):
    for seed in range(5):
        canvas = draw_resolution_target(np.random.default_rng(seed), shape)
        assert np.isfinite(canvas).all()
        assert canvas.min() > 0


def test_a_target_is_sharper_than_tissue():
    """Sharpness is the 99.5th percentile of the steps from pixel to pixel, relative to the contrast."""

    def sharpness(kind, seed):
        rest = draw_anatomy(kind, (128, 128), 6.0, seed).rest
        low, high = np.quantile(rest, [0.001, 0.999])
        return np.quantile(np.abs(np.diff(rest, axis=1)), 0.995) / (high - low)

    targets, tissues = ([sharpness(kind, n) for n in range(12)] for kind in ("chart", "dense"))
    assert np.median(targets) > 1.3 * np.median(tissues)


@pytest.mark.parametrize("seed", range(20))
def test_blurring_does_not_undershoot(seed):
    assert draw_resolution_target(np.random.default_rng(seed), (200, 200)).min() > 0.01


def test_as_an_anatomy_it_has_no_cells_and_no_blood():
    anatomy = draw_anatomy("chart", (64, 64), None, 3)
    assert (anatomy.units, anatomy.footprints, anatomy.vessels) == (0, (), ())
    assert not anatomy.neuropil.any()
