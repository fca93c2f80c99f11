"""The test chart: seeded, lit everywhere, and sharper than tissue."""

import numpy as np
import pytest

from deepbid_rt.simulator.anatomy import draw
from deepbid_rt.simulator.resolution_target import chart


def test_equal_seeds_draw_equal_charts():
    first, second, other = (chart(np.random.default_rng(seed), (80, 96)) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert first.shape == (80, 96)
    assert first.dtype == np.float32


@pytest.mark.parametrize("shape", [(1, 1), (8, 300), (300, 8), (64, 64)])
def test_every_size_is_lit(shape):
    for seed in range(5):
        canvas = chart(np.random.default_rng(seed), shape)
        assert np.isfinite(canvas).all()
        assert canvas.min() > 0


def test_a_chart_is_sharper_than_tissue():
    """The largest steps from one pixel to the next, in shares of the contrast."""

    def sharpness(kind, seed):
        rest = draw(kind, (128, 128), 6.0, seed).rest
        low, high = np.quantile(rest, [0.001, 0.999])
        return np.quantile(np.abs(np.diff(rest, axis=1)), 0.995) / (high - low)

    charts, tissues = ([sharpness(kind, n) for n in range(12)] for kind in ("chart", "dense"))
    assert np.median(charts) > 1.3 * np.median(tissues)


@pytest.mark.parametrize("seed", range(20))
def test_blurring_makes_no_darkness_below_the_darkest(seed):
    assert chart(np.random.default_rng(seed), (200, 200)).min() > 0.01


def test_as_an_anatomy_it_has_no_cells_and_no_blood():
    anatomy = draw("chart", (64, 64), None, 3)
    assert (anatomy.units, anatomy.footprints, anatomy.vessels) == (0, (), ())
    assert not anatomy.neuropil.any()
