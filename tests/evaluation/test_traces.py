from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.evaluation.traces import cells_of, events_of, matched, trace_correlations, trace_scores, traces_of


def cells(shift: int = 0) -> np.ndarray:
    movie = np.full((80, 1, 30, 30), 100.0)
    for t0, place in ((20, np.s_[4:9, 4:9]), (50, np.s_[4:9, 4:9]), (30, np.s_[18:24, 20:25])):
        t = np.arange(80) - t0 - shift
        pulse = 50 * np.where(t >= 0, np.exp(-t / 5), np.exp(np.minimum(t, 0) * 2.0))
        movie[:, 0, place[0], place[1]] += pulse[:, None, None]
    return movie


def scores(movie: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    places = cells_of(truth)
    return trace_scores(traces_of(movie, places), traces_of(truth, places))


def test_cells_are_what_flickers() -> None:
    places = cells_of(cells())
    assert places.shape == (1, 30, 30)
    assert np.bincount(places.ravel()).tolist() == [900 - 55, 30, 25]
    assert (places[0, 18:24, 20:25] == 1).all()
    assert not cells_of(np.ones((5, 1, 8, 8))).any()


def test_traces_are_means_of_cells() -> None:
    truth = cells()
    found = traces_of(truth, cells_of(truth))
    assert found.shape == (2, 80)
    np.testing.assert_allclose(found[0], truth[:, 0, 18:24, 20:25].mean((1, 2)))
    np.testing.assert_allclose(found[1], truth[:, 0, 4:9, 4:9].mean((1, 2)))
    gap = np.where(cells_of(truth) == 2, 3, 0)  # numbers 1 and 2 have no pixels
    np.testing.assert_allclose(traces_of(truth, gap)[2], found[1])
    assert not traces_of(truth, gap)[:2].any()


def test_a_movie_is_as_good_as_itself_and_a_late_one_is_late() -> None:
    truth = cells()
    assert scores(truth, truth) == {
        "trace_correlation": pytest.approx(1),
        "event_f1": 1.0,
        "event_shift": 0.0,
        "event_distance": 0.0,
    }
    late = scores(cells(2), truth)
    assert (late["event_f1"], late["event_shift"]) == (1.0, 2.0)
    assert scores(cells(-1), truth)["event_shift"] == -1.0
    assert scores(cells(5), truth)["event_f1"] == 0.0


def test_unit_and_offset_of_a_trace_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    true = traces_of(cells(), cells_of(cells()))
    seen = true + rng.normal(0, 2, true.shape)
    assert trace_scores(3 * seen - 500, true / 100) == pytest.approx(trace_scores(seen, true))


def test_correlations_are_numpys() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(0, 1, (2, 5, 40))
    np.testing.assert_allclose(trace_correlations(a, b), [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)])
    assert trace_correlations(a[:0], b[:0]).shape == (0,)


def test_a_frozen_movie_has_no_events() -> None:
    truth = cells()
    frozen = scores(np.full(truth.shape, 7.0), truth)
    assert (frozen["trace_correlation"], frozen["event_f1"], frozen["event_shift"]) == (0.0, 0.0, None)
    none = np.empty((0, 80))
    assert trace_scores(none, none)["event_f1"] is None


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
