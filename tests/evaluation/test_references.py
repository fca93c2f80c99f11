"""What is known beside a movie: what it allows, and what it is completed with."""

from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.evaluation.movie import as_movie
from deepbid_rt.evaluation.references import References, gather
from deepbid_rt.evaluation.traces import traces_of

SHAPE = (12, 2, 24, 20)
RNG = np.random.default_rng(0)
MOVIE = as_movie(RNG.normal(100, 10, SHAPE))
CELLS = np.zeros(SHAPE[2:], np.uint8)
CELLS[10, 9], CELLS[16, 4] = 1, 2


@pytest.mark.parametrize(
    ("known", "needs"),
    [
        (References(), set()),
        (References(truth=MOVIE), {"truth", "reference"}),
        (References(raw=MOVIE), {"raw"}),
        (References(reference=np.ones(SHAPE[2:])), {"reference"}),
        (References(raw=MOVIE, traces=np.ones((1, 12))), {"raw", "traces"}),
    ],
)
def test_each_thing_known_meets_its_need(known: References, needs: set[str]) -> None:
    assert known.needs == needs


def test_cells_are_those_of_the_first_channel_and_edges_count_around_them() -> None:
    known = gather(SHAPE, MOVIE, None, CELLS, None, None)
    assert known.cells is not None
    assert known.edges_near is not None
    assert known.cells.shape == known.edges_near.shape == SHAPE[1:]
    np.testing.assert_array_equal(known.cells[0], CELLS)
    assert not known.cells[1].any()
    assert not known.edges_near[1].any()
    y, x = np.ogrid[: SHAPE[2], : SHAPE[3]]
    near = np.zeros(SHAPE[2:], np.bool_)
    for row, column in ((10, 9), (16, 4)):
        near |= abs(y - row) + abs(x - column) <= 3
    np.testing.assert_array_equal(known.edges_near[0], near)


def test_traces_not_given_are_those_of_the_truth() -> None:
    known = gather(SHAPE, MOVIE, None, CELLS, None, None)
    assert known.traces is not None
    assert known.cells is not None
    assert known.traces.shape == (2, 12)
    np.testing.assert_array_equal(known.traces, traces_of(MOVIE, known.cells))
    given = RNG.normal(0, 1, (2, 12))
    assert gather(SHAPE, MOVIE, None, CELLS, given, None).traces is given
    assert gather(SHAPE, None, MOVIE, CELLS, None, None).traces is None


def test_cells_found_in_the_truth_do_not_say_where_edges_count() -> None:
    y, x = np.ogrid[: SHAPE[2], : SHAPE[3]]
    flash = np.exp(-(np.arange(12) % 6) / 2)[:, None, None, None]
    truth = 10 + 100 * flash * (np.hypot(y - 12, x - 10) < 4) * np.ones(SHAPE)
    known = gather(SHAPE, as_movie(truth), None, None, None, None)
    assert known.cells is not None
    assert known.cells.any()
    assert known.traces is not None
    assert known.edges_near is None
    nothing = gather(SHAPE, None, MOVIE, None, None, None)
    assert (nothing.cells, nothing.traces, nothing.edges_near) == (None, None, None)


def test_a_reference_is_taken_as_numbers() -> None:
    known = gather(SHAPE, None, MOVIE, None, None, np.full(SHAPE[2:], 7, np.uint8))
    assert known.reference is not None
    assert known.reference.dtype == np.float64
    assert known.needs == {"raw", "reference"}
