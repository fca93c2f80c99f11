from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.evaluation.traces import (
    extract_traces,
    find_cells,
    find_events,
    match_events,
    trace_correlations,
    trace_scores,
)


def cells(shift: int = 0) -> np.ndarray:
    """Return a movie of two flashing cells, ``shift`` frames late."""
    movie = np.full((80, 1, 30, 30), 100.0)
    for t0, place in ((20, np.s_[4:9, 4:9]), (50, np.s_[4:9, 4:9]), (30, np.s_[18:24, 20:25])):
        t = np.arange(80) - t0 - shift
        pulse = 50 * np.where(t >= 0, np.exp(-t / 5), np.exp(np.minimum(t, 0) * 2.0))
        movie[:, 0, place[0], place[1]] += pulse[:, None, None]
    return movie


def scores(movie: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    places = find_cells(truth)
    return trace_scores(extract_traces(movie, places), extract_traces(truth, places))


def test_cells_are_active_regions_ordered_by_size() -> None:
    places = find_cells(cells())
    assert places.shape == (1, 30, 30)
    assert np.bincount(places.ravel()).tolist() == [900 - 55, 30, 25]
    assert (places[0, 18:24, 20:25] == 1).all()
    assert not find_cells(np.ones((5, 1, 8, 8))).any()


def test_traces_are_means_over_cells() -> None:
    truth = cells()
    found = extract_traces(truth, find_cells(truth))
    assert found.shape == (2, 80)
    np.testing.assert_allclose(found[0], truth[:, 0, 18:24, 20:25].mean((1, 2)))
    np.testing.assert_allclose(found[1], truth[:, 0, 4:9, 4:9].mean((1, 2)))
    gap = np.where(find_cells(truth) == 2, 3, 0)  # numbers 1 and 2 have no pixels
    np.testing.assert_allclose(extract_traces(truth, gap)[2], found[1])
    assert not extract_traces(truth, gap)[:2].any()


def test_the_truth_has_ideal_scores_and_a_late_movie_a_shift() -> None:
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


def test_unit_and_offset_of_a_trace_do_not_change_the_scores() -> None:
    rng = np.random.default_rng(3)
    true = extract_traces(cells(), find_cells(cells()))
    measured = true + rng.normal(0, 2, true.shape)
    assert trace_scores(3 * measured - 500, true / 100) == pytest.approx(trace_scores(measured, true))


def test_correlations_equal_numpys() -> None:
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


def test_only_peaks_above_the_noise_are_events() -> None:
    rng = np.random.default_rng(1)
    trace = rng.normal(0, 1, 300)
    trace[[60, 200]] += 15
    assert find_events(trace).tolist() == [60, 200]
    assert find_events(np.zeros(9)).size == 0


def test_matching_makes_as_many_pairs_as_possible() -> None:
    assert sorted(match_events(np.array([10, 13]), np.array([12, 15]), 2).tolist()) == [-2, -2]
    assert match_events(np.array([10, 11]), np.array([11]), 3).tolist() == [0]
    assert match_events(np.array([10]), np.array([20]), 3).size == 0
