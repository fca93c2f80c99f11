"""Scores of one movie: all metrics that the references allow, no others, each computed from the movie itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deepbid_rt.evaluation import scores as module
from deepbid_rt.evaluation.error_map import error_map
from deepbid_rt.evaluation.metrics import METRICS
from deepbid_rt.evaluation.movie import as_movie
from deepbid_rt.evaluation.references import make_references
from deepbid_rt.evaluation.scores import Preview, score

FRAMES, SIDE = 40, 24
RNG = np.random.default_rng(1)
_Y, _X = np.ogrid[:SIDE, :SIDE]
CELLS = (np.hypot(_Y - 12, _X - 12) < 4).astype(np.uint8)
FLASH = np.exp(-(np.arange(FRAMES) % 13) / 3)[:, None, None, None]
TEXTURE = 20 * gaussian_filter(RNG.normal(0, 1, (SIDE, SIDE)), 1)
TRUTH = as_movie(200 + TEXTURE + 100 * FLASH * CELLS)
RAW = as_movie(TRUTH.read(0, FRAMES) + RNG.normal(0, 20, TRUTH.shape))
MOVIE = as_movie(TRUTH.read(0, FRAMES) + RNG.normal(0, 5, TRUTH.shape))
EVERYTHING = replace(make_references(TRUTH.shape, TRUTH, RAW, CELLS, None, None), reference=TRUTH.read(0, 1)[0, 0])


@pytest.mark.parametrize("left_out", [set(), {"truth"}, {"raw"}, {"traces", "cells"}, {"truth", "reference"}])
def test_metrics_are_those_that_the_references_allow(left_out: set[str]) -> None:
    references = replace(EVERYTHING, **dict.fromkeys(left_out))
    found = score(MOVIE, references, 12)
    assert list(found.metrics) == list(METRICS)
    computed = {name for name, value in found.metrics.items() if value is not None}
    assert computed == {name for name, f in METRICS.items() if f.requires is None or f.requires in references.available}
    assert (found.frame_correlations is None) == ("truth" in left_out)
    assert (found.trace_correlations is None) == ("traces" in left_out)
    assert (found.error_map is None) == ("reference" not in references.available)


def test_metrics_are_of_the_movie_and_not_of_the_recording() -> None:
    better, worse = (score(movie, EVERYTHING, 12).metrics for movie in (MOVIE, RAW))
    for name in ("correlation_xyt", "snr_affine_db", "trace_correlation", "rsp", "split_half_correlation"):
        assert better[name] > worse[name], name
    assert better["temporal_noise_ratio"] < 0.5
    assert worse["temporal_noise_ratio"] == 1
    assert better["flicker"] < 0.4 < worse["flicker"]


def test_the_error_map_is_of_the_middle_frame_and_prefers_the_reference_to_the_truth() -> None:
    by_reference = score(MOVIE, EVERYTHING, 12).error_map
    by_truth = score(MOVIE, replace(EVERYTHING, reference=None), 12).error_map
    middle = FRAMES // 2
    image, truth = (movie.read(middle, middle + 1)[0, 0] for movie in (MOVIE, TRUTH))
    for found, reference in ((by_reference, EVERYTHING.reference), (by_truth, truth)):
        assert found is not None
        np.testing.assert_allclose(found.error, error_map(image, reference).error)


def test_a_preview_shows_the_middle_frame_and_a_column_of_at_most_512_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    preview = Preview.of(MOVIE, 5)
    np.testing.assert_array_equal(preview.picture, MOVIE.read(20, 21)[0, 0])
    np.testing.assert_array_equal(preview.column, MOVIE.read(0, FRAMES)[:, 0, :, 5].T)
    monkeypatch.setattr(module, "_PREVIEW_FRAMES", 7)
    np.testing.assert_array_equal(Preview.of(MOVIE, 5).column, MOVIE.read(0, 7)[:, 0, :, 5].T)
