from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.evaluation.traces import events_of, masks_of, matched, trace_scores, traces_of


def cells(shift: int = 0) -> np.ndarray:
    movie = np.full((80, 1, 30, 30), 100.0)
    for t0, place in ((20, np.s_[4:9, 4:9]), (50, np.s_[4:9, 4:9]), (30, np.s_[18:24, 20:25])):
        t = np.arange(80) - t0 - shift
        pulse = 50 * np.where(t >= 0, np.exp(-t / 5), np.exp(np.minimum(t, 0) * 2.0))
        movie[:, 0, place[0], place[1]] += pulse[:, None, None]
    return movie


def test_masks_are_the_cells_that_flicker() -> None:
    masks = masks_of(cells())
    assert [int(m.sum()) for m in masks] == [30, 25]
    assert masks[0][0, 18:24, 20:25].all()
    assert masks_of(np.ones((5, 1, 8, 8))).shape == (0, 1, 8, 8)


def test_a_movie_is_as_good_as_itself_and_a_late_one_is_late() -> None:
    truth, masks = cells(), masks_of(cells())
    np.testing.assert_allclose(traces_of(truth, masks)[1], truth[:, 0, 5, 5])
    assert trace_scores(truth, truth, masks) == {
        "trace_correlation": pytest.approx(1),
        "event_f1": 1.0,
        "event_shift": 0.0,
        "event_distance": 0.0,
    }
    late = trace_scores(cells(2), truth, masks)
    assert (late["event_f1"], late["event_shift"]) == (1.0, 2.0)
    assert trace_scores(cells(5), truth, masks)["event_f1"] == 0.0


def test_a_frozen_movie_has_no_events() -> None:
    truth, masks = cells(), masks_of(cells())
    frozen = trace_scores(np.full(truth.shape, 7.0), truth, masks)
    assert (frozen["trace_correlation"], frozen["event_f1"], frozen["event_shift"]) == (0.0, 0.0, None)
    assert trace_scores(truth, truth, masks[:0])["event_f1"] is None


def test_events_stand_out_of_noise() -> None:
    rng = np.random.default_rng(1)
    trace = rng.normal(0, 1, 300)
    trace[[60, 200]] += 15
    assert events_of(trace).tolist() == [60, 200]
    assert events_of(np.zeros(9)).size == 0


def test_matching_takes_as_many_pairs_as_there_are() -> None:
    assert sorted(matched(np.array([10, 13]), np.array([12, 15]), 2).tolist()) == [-2, -2]
    assert matched(np.array([10, 11]), np.array([11]), 3).tolist() == [0]
    assert matched(np.array([10]), np.array([20]), 3).size == 0
