"""References: which names they make available, and how missing cells and traces are completed."""

from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.evaluation.movie import as_movie
from deepbid_rt.evaluation.references import References, make_references
from deepbid_rt.evaluation.traces import extract_traces

SHAPE = (12, 2, 24, 20)
RNG = np.random.default_rng(0)
MOVIE = as_movie(RNG.normal(100, 10, SHAPE))
CELLS = np.zeros(SHAPE[2:], np.uint8)
CELLS[10, 9], CELLS[16, 4] = 1, 2


@pytest.mark.parametrize(
    ("references", "available"),
    [
        (References(), set()),
        (References(truth=MOVIE), {"truth", "reference"}),
        (References(raw=MOVIE), {"raw"}),
        (References(reference=np.ones(SHAPE[2:])), {"reference"}),
        (References(raw=MOVIE, traces=np.ones((1, 12))), {"raw", "traces"}),
    ],
)
def test_each_given_reference_is_available(references: References, available: set[str]) -> None:
    assert references.available == available


def test_given_cells_belong_to_the_first_channel_and_edges_count_around_them() -> None:
    references = make_references(SHAPE, MOVIE, None, CELLS, None, None)
    assert references.cells is not None
    assert references.edges_near is not None
    assert references.cells.shape == references.edges_near.shape == SHAPE[1:]
    np.testing.assert_array_equal(references.cells[0], CELLS)
    assert not references.cells[1].any()
    assert not references.edges_near[1].any()
    y, x = np.ogrid[: SHAPE[2], : SHAPE[3]]
    near = np.zeros(SHAPE[2:], np.bool_)
    for row, column in ((10, 9), (16, 4)):
        near |= abs(y - row) + abs(x - column) <= 3
    np.testing.assert_array_equal(references.edges_near[0], near)


def test_missing_traces_are_computed_from_the_truth() -> None:
    references = make_references(SHAPE, MOVIE, None, CELLS, None, None)
    assert references.traces is not None
    assert references.cells is not None
    assert references.traces.shape == (2, 12)
    np.testing.assert_array_equal(references.traces, extract_traces(MOVIE, references.cells))
    given = RNG.normal(0, 1, (2, 12))
    assert make_references(SHAPE, MOVIE, None, CELLS, given, None).traces is given
    assert make_references(SHAPE, None, MOVIE, CELLS, None, None).traces is None


def test_cells_found_in_the_truth_do_not_restrict_where_edges_count() -> None:
    y, x = np.ogrid[: SHAPE[2], : SHAPE[3]]
    flash = np.exp(-(np.arange(12) % 6) / 2)[:, None, None, None]
    truth = 10 + 100 * flash * (np.hypot(y - 12, x - 10) < 4) * np.ones(SHAPE)
    references = make_references(SHAPE, as_movie(truth), None, None, None, None)
    assert references.cells is not None
    assert references.cells.any()
    assert references.traces is not None
    assert references.edges_near is None
    nothing = make_references(SHAPE, None, MOVIE, None, None, None)
    assert (nothing.cells, nothing.traces, nothing.edges_near) == (None, None, None)


def test_a_reference_image_becomes_float64() -> None:
    references = make_references(SHAPE, None, MOVIE, None, None, np.full(SHAPE[2:], 7, np.uint8))
    assert references.reference is not None
    assert references.reference.dtype == np.float64
    assert references.available == {"raw", "reference"}
