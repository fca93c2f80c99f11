"""The inputs on which a plan is compared, and the answers that are refused."""

from dataclasses import replace

import numpy as np
import pytest

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.tensorrt.parity import LEAST_CORRELATION, MOST_INPUTS, compare_engines, inputs_from
from tests.fakes import FIXED, STREAM_CARD, SpyEngine

SIZE = (24, 32)


def engine(answer=lambda given: given[:1]):
    return SpyEngine(replace(STREAM_CARD, normalization=FIXED), answer)


def movie(dtype=np.uint16):
    rng = np.random.default_rng(0)
    return [rng.poisson(40, SIZE).astype(dtype) for _ in range(20)]


@pytest.mark.parametrize(("dtype", "top"), [(np.uint16, 65535), (np.int16, 32767), (np.float32, 65535)])
def test_the_last_three_inputs_are_dark_bright_and_saturated(dtype, top):
    inputs = inputs_from(engine(), movie(dtype), SIZE)
    assert len(inputs) == MOST_INPUTS + 3
    assert {given.shape for given in inputs} == {(STREAM_CARD.depth, *SIZE)}
    *picked, dark, bright, saturated = inputs
    assert (np.unique(dark), np.unique(bright)) == (0, 200)
    assert set(np.unique(np.abs(saturated))) <= {0, top}
    assert np.abs(saturated).max() == top
    assert all(0 < given[0].std() < 200 for given in picked)
    assert not np.array_equal(picked[0], picked[-1])


@pytest.mark.parametrize("bad", range(1, 4))
def test_one_answer_that_is_not_finite_is_refused(bad):
    inputs = inputs_from(engine(), movie(), SIZE)
    extreme = inputs[-bad]
    plan = engine(lambda given: given[:1] * (np.nan if np.array_equal(given, extreme) else 1))
    with pytest.raises(EngineError, match=rf"answers input {len(inputs) + 1 - bad} of {len(inputs)} with values that"):
        compare_engines(plan, engine(), inputs)


@pytest.mark.parametrize(("noise", "accepted"), [(0.005, True), (0.1, False)])
def test_the_correlation_leaves_out_the_extreme_inputs(noise, accepted):
    """The extreme inputs, thousands of times larger, would hide any error."""
    inputs = inputs_from(engine(), movie(), SIZE)
    scale = float(np.std([given[0] for given in inputs[:-3]]))
    rng = np.random.default_rng(0)
    plan = engine(lambda given: given[:1] + scale * noise * rng.normal(size=given[:1].shape))
    if accepted:
        assert LEAST_CORRELATION <= compare_engines(plan, engine(), inputs)["correlation"] < 1
    else:
        with pytest.raises(EngineError, match=r"correlate with those of the ONNX file by 0\.99"):
            compare_engines(plan, engine(), inputs)


def test_constant_answers_are_refused():
    inputs = inputs_from(engine(), movie(), SIZE)
    flat = engine(lambda given: np.zeros_like(given[:1]))
    with np.errstate(invalid="ignore", divide="ignore"), pytest.raises(EngineError, match=r"correlate with .* by nan"):
        compare_engines(flat, engine(), inputs)
