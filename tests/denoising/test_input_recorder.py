"""`InputRecorder`: which inputs it keeps, and who answers them."""

from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.denoising.input_recorder import InputRecorder
from tests.fakes import STREAM_CARD, SpyEngine

SHAPE = STREAM_CARD.depth, 2, 3


def inputs(count: int) -> list[np.ndarray]:
    return [np.full(SHAPE, number, np.float32) for number in range(count)]


def test_all_inputs_are_kept_as_copies_and_answered_by_the_engine() -> None:
    engine = SpyEngine(STREAM_CARD, lambda window: 2 * window[:1])
    recorder = InputRecorder(STREAM_CARD, engine)
    recorder.warm_up(SHAPE)
    for number, window in enumerate(inputs(5)):
        assert np.array_equal(recorder.infer(window), 2 * window[:1])
        window.fill(-1)
        assert np.array_equal(recorder.inputs[number], np.full(SHAPE, number))
    recorder.close()


def test_without_an_engine_the_view_is_the_answer() -> None:
    recorder = InputRecorder(STREAM_CARD)
    window = inputs(2)[1]
    window[1:] = 7
    assert np.array_equal(recorder.infer(window), np.ones((1, *SHAPE[1:])))


@pytest.mark.parametrize("count", [1, 4, 50])
def test_a_sample_has_at_most_that_many_inputs_and_is_the_same_every_time(count: int) -> None:
    kept = []
    for _ in range(2):
        recorder = InputRecorder(STREAM_CARD, count=count)
        for window in inputs(20):
            recorder.infer(window)
        kept.append([float(window[0, 0, 0]) for window in recorder.inputs])
    assert kept[0] == kept[1]
    assert len(set(kept[0])) == min(count, 20)
