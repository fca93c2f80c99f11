from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from deepbid_rt.errors import StreamError
from deepbid_rt.evaluation import evaluate as module
from deepbid_rt.evaluation.edges import edge_width_ratio
from deepbid_rt.evaluation.evaluate import evaluate
from deepbid_rt.evaluation.metrics import METRICS
from deepbid_rt.evaluation.movie import MovieReader, as_movie
from deepbid_rt.evaluation.references import References
from deepbid_rt.evaluation.scores import score

PAPER = {"correlation_xyt", "correlation_frame", "snr_db", "ssim_2d", "ssim_3d"}
TRAP_FREE = {"snr_affine_db", "correlation_dynamic", "sharpness", "edge_width_ratio", "event_f1"}
FRAMES, SIDE = 60, 32
CENTRES = ((9, 9), (9, 23), (23, 9), (23, 23))
_Y, _X = np.ogrid[:SIDE, :SIDE]
CELLS = np.zeros((SIDE, SIDE), np.uint16)
for _number, (_y, _x) in enumerate(CENTRES, 1):
    CELLS[np.hypot(_Y - _y, _X - _x) < 4] = _number


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a movie of four flashing cells in a vibrating scene, and the same movie with noise."""
    rng = np.random.default_rng(seed)
    texture = 60 * gaussian_filter(rng.normal(0, 1, (SIDE + 12, SIDE + 12)), 1) / 0.28
    bright = np.full((4, FRAMES), 100.0)
    for cell, first in enumerate(rng.permutation(4) * 3 + 8):
        for t0 in (first, first + 30):
            bright[cell, t0:] += 400 * np.exp(-np.arange(FRAMES - t0) / 5)
    movie = []
    for t in range(FRAMES):
        dy, dx = rng.integers(-2, 3, 2)
        frame = 300 + texture[6 + dy : 6 + dy + SIDE, 6 + dx : 6 + dx + SIDE]
        for cell, (y, x) in enumerate(CENTRES):
            frame = frame + bright[cell, t] / (1 + np.exp(2 * (np.hypot(_Y - y + dy, _X - x + dx) - 4)))
        movie.append(frame)
    truth = np.stack(movie)[:, None]
    return truth, truth + rng.normal(0, 100, truth.shape)


@pytest.fixture(scope="module")
def movies() -> tuple[np.ndarray, np.ndarray]:
    return scene(3)


def scores(movie: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    return evaluate(movie, truth, cells=CELLS).result()


def test_every_column_has_every_metric(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    names: list[str] = []
    result = evaluate(truth, truth, raw, filters={"mine": as_movie(raw)}, watch=names.append).result()
    json.dumps(result, allow_nan=False)
    assert list(result)[: len(METRICS)] == list(METRICS)
    assert set(result) == METRICS.keys() | {"raw", "baselines", "unknown"}
    assert result["unknown"] == []
    assert list(result["baselines"]) == ["rolling mean 8", "exponential average 4", "best linear filter", "mine"]
    assert sorted(names) == sorted(["denoised", "raw", *result["baselines"]])
    for column in (result, result["raw"], *result["baselines"].values()):
        assert [name for name in METRICS if column[name] is None] == []
    assert result["baselines"]["mine"] == result["raw"]
    assert result["raw"].keys() == METRICS.keys()
    assert result["flicker"] == 0.0
    assert result["raw"]["flicker"] == 1.0
    assert 0.05 < result["baselines"]["rolling mean 8"]["flicker"] < 0.8
    for name in TRAP_FREE - {"edge_width_ratio", "event_f1"}:  # a filter loses what the truth has
        assert all(column[name] < result[name] for column in result["baselines"].values())
    best = result["baselines"]["best linear filter"]["snr_affine_db"]
    assert all(best >= column["snr_affine_db"] for column in (result["raw"], *result["baselines"].values()))


def test_the_number_of_threads_does_not_change_the_metrics(
    movies: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, raw = movies
    results = []
    for threads in (1, 4):
        monkeypatch.setattr(module, "_THREADS", threads)
        results.append(evaluate((truth + raw) / 2, truth, raw).result())
    assert results[0] == results[1]


@pytest.mark.parametrize("late", [0, 1])
def test_an_error_of_one_movie_cancels_the_others(
    movies: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    """The other movies would be read for ever, or wait in the queue."""
    started, reading, number = [], Event(), count()

    def score(movie: MovieReader, *_: object) -> None:
        started.append(movie)
        if next(number) == late:
            assert reading.wait(60)
            raise StreamError("a bad movie", expected="a good one", todo="look")
        while True:
            movie.read(0, 1)
            reading.set()

    monkeypatch.setattr(module, "_THREADS", 2)
    monkeypatch.setattr(module, "score", score)
    truth, raw = movies
    with pytest.raises(StreamError, match="a bad movie"):
        evaluate(truth, truth, raw, filters={"mine": as_movie(raw)})
    assert len(started) <= 3


def test_the_truth_has_the_ideal_metrics(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    result = evaluate(truth, truth, raw).result()
    ideal = {name: float(metric.ideal) for name, metric in METRICS.items() if metric.ideal not in ("high", "low")}
    noisy = {name for name in METRICS if name.startswith(("residual", "split_half", "mean_image", "next_frc"))}
    for name in ideal.keys() - noisy:
        assert result[name] == pytest.approx(ideal[name], abs=0.02), name
    assert max(abs(result[f"residual_{axis}"]) for axis in "tyx") < 0.05
    assert result["temporal_noise_ratio"] < 0.7
    assert result["snr_affine_db"] > 100


@settings(deadline=None, max_examples=4)
@given(gain=st.floats(0.1, 20), offset=st.floats(-500, 5000), seed=st.integers(0, 9))
def test_gain_and_offset_do_not_change_affine_metrics(gain: float, offset: float, seed: int) -> None:
    truth, raw = scene(seed)
    movie = gaussian_filter(raw, (1, 0, 1, 1))
    references = References(truth=as_movie(truth))
    plain, changed = (score(as_movie(m), references, 9).metrics for m in (movie, gain * movie + offset))
    free = PAPER - {"snr_db", "ssim_2d", "ssim_3d"} | TRAP_FREE - {"event_f1"}
    for name in free | {"correlation_xt", "correlation_yt", "frc_cutoff", "transfer_cutoff", "rsp"}:
        assert changed[name] == pytest.approx(plain[name], rel=1e-3), name


def test_the_order_of_frames_changes_only_metrics_of_time(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    order = np.random.default_rng(1).permutation(FRAMES)
    plain, mixed = scores(raw, truth), scores(raw[order], truth[order])
    for name in ("correlation_xyt", "correlation_frame", "snr_db", "ssim_2d", "trace_correlation", *TRAP_FREE):
        if name != "event_f1":
            assert mixed[name] == pytest.approx(plain[name], rel=1e-9), name
    assert mixed["ssim_3d"] != plain["ssim_3d"]
    wrong = scores(truth[order], truth)
    assert wrong["correlation_dynamic"] < 0.3  # the right frames at the wrong times


@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 40))
def test_blurred_and_frozen_movies_raise_the_papers_snr_but_lower_the_added_metrics(seed: int) -> None:
    truth, raw = scene(seed)
    noisy = scores(raw, truth)
    frozen = scores(np.broadcast_to(raw.mean(0), raw.shape), truth)
    blurred = scores(gaussian_filter(raw, (0, 0, 3, 3)), truth)
    for trap in (frozen, blurred):
        assert trap["snr_db"] > noisy["snr_db"] + 1  # an improvement by the papers' metric
        assert trap["sharpness"] < 0.6 * 0.5
    assert blurred["edge_width_ratio"] > 2.5
    assert frozen["correlation_dynamic"] == 0.0
    assert frozen["event_f1"] == 0.0
    assert blurred["sharpness"] < noisy["sharpness"]
    sharp = gaussian_filter(truth, (0, 0, 1, 1))
    noise = np.random.default_rng(seed).normal(0, 60, truth.shape)
    assert scores(sharp + noise, truth)["sharpness"] <= scores(sharp, truth)["sharpness"] + 0.02


def test_a_frozen_mean_has_wide_edges_on_average_over_scenes() -> None:
    """One scene of four cells is not enough: the rise measured in a still, noisy image is partly chance."""
    widths = []
    for seed in range(10, 22):
        truth, raw = scene(seed)
        widths.append(edge_width_ratio(as_movie(np.broadcast_to(raw.mean(0), raw.shape)), as_movie(truth)))
    assert np.mean(widths) > 1.5


@pytest.mark.parametrize("layout", [lambda raw: raw, lambda raw: np.repeat(raw, 2, axis=2)])
def test_line_pairs_of_a_collinear_recording_are_averaged(
    movies: tuple[np.ndarray, np.ndarray], layout: Callable[[np.ndarray], np.ndarray]
) -> None:
    truth, raw = movies
    result = evaluate(raw, truth, layout(raw)).result()
    assert result["raw"] == {name: result[name] for name in METRICS}


def test_without_a_truth_the_metrics_of_the_recording_remain(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    found = evaluate(gaussian_filter(raw, (0, 0, 1, 1)), raw=raw)
    result = found.result()
    json.dumps(result, allow_nan=False)
    assert set(result) == METRICS.keys() | {"raw", "baselines", "unknown"}
    assert set(result["unknown"]) == {name for name, metric in METRICS.items() if metric.requires not in ("raw", None)}
    for column in (result, result["raw"], *result["baselines"].values()):
        assert {name for name in METRICS if column[name] is None} == set(result["unknown"])
    assert list(result["baselines"]) == ["rolling mean 8", "exponential average 4"]
    assert result["temporal_noise_ratio"] < 0.6
    assert result["mean_ratio"] == pytest.approx(1, abs=0.01)
    assert (found.movie.frame_correlations, found.movie.error_map, found.truth) == (None, None, None)
    sharp = evaluate(raw, raw=raw, reference=truth.mean(0)[0]).result()
    assert sharp["rsp"] > 0.5
    assert "rsp" not in sharp["unknown"]


def test_given_cells_and_traces_replace_those_of_the_truth(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    true = np.stack([truth[:, 0, number == CELLS].mean(1) for number in range(1, 5)])
    by_truth = evaluate(raw, truth, cells=CELLS).movie
    assert by_truth.trace_correlations is not None
    assert by_truth.trace_correlations.shape == (4,)
    given = evaluate(raw, truth, cells=CELLS, traces=true / 100 - 3).movie
    for name in ("trace_correlation", "event_f1", "event_shift", "event_distance"):
        assert given.metrics[name] == pytest.approx(by_truth.metrics[name]), name
    assert given.metrics["event_f1"] > 0.9
    alone = evaluate(raw, raw=raw, cells=CELLS, traces=true).result()
    assert alone["event_f1"] == given.metrics["event_f1"]
    assert "event_f1" not in alone["unknown"]


def test_given_cells_restrict_where_edges_count(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, _ = movies
    half = np.concatenate([truth[..., :16], gaussian_filter(truth, (0, 0, 2, 2))[..., 16:]], axis=3)
    left, right = np.zeros((2, SIDE, SIDE), np.uint16)
    left[6:12, 6:11], right[6:12, 22:27] = 1, 1
    assert evaluate(half, truth, cells=left).result()["edge_width_ratio"] < 1.1
    assert evaluate(half, truth, cells=right).result()["edge_width_ratio"] > 1.3


def test_an_evaluation_holds_what_a_report_draws(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    found = evaluate(raw, truth)
    np.testing.assert_array_equal(found.movie.preview.picture, raw[FRAMES // 2, 0])
    assert found.truth is not None
    assert found.movie.preview.column.shape == found.truth.column.shape == (SIDE, FRAMES)
    columns = [x for x in range(SIDE) if np.array_equal(found.truth.column, truth[:, 0, :, x].T)]
    assert columns
    assert columns[0] in range(4, 28)  # a column with a cell
    assert found.movie.frame_correlations is not None
    assert found.movie.frame_correlations.mean() == pytest.approx(found.movie.metrics["correlation_frame"])
    assert found.movie.error_map is not None


def refusal(*args: np.ndarray | None, **more: np.ndarray) -> str:
    with pytest.raises(StreamError) as info:
        evaluate(*args, **more)
    return str(info.value)


def test_refuses_movies_that_cannot_be_evaluated(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    assert refusal(raw) == (
        "a movie alone; expected its clean truth, its raw recording, or both; give --truth or --raw."
    )
    assert "to compare with one of" in refusal(raw, truth[1:])
    assert "to compare with one of" in refusal(raw, truth, np.repeat(raw, 3, axis=2))
    assert refusal(raw[:1], truth[:1]) == (
        "a movie of shape (T, C, Y, X) = (1, 1, 32, 32); expected at least 11 frames, lines and pixels; evaluate a "
        "longer or larger movie."
    )
    broken = truth.copy()
    broken[7, 0, 3, 3] = np.nan
    assert refusal(raw, broken) == (
        "the truth: frame 7 with pixels that are not finite; expected finite counts; check how the movie was made."
    )
    for args in ((broken, truth), (raw, truth, broken)):
        assert "frame 7 with pixels that are not finite" in refusal(*args)
    flat = np.full(truth.shape, 5.0)
    assert refusal(raw, flat) == (
        "the truth with 5 counts in every pixel; expected pixels that differ; check how the movie was made."
    )
    assert "the movie with 5 counts" in refusal(flat, truth)
    assert "the raw movie with 5 counts" in refusal(raw, truth, flat)


def test_refuses_cells_and_traces_that_do_not_fit(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    cells = np.zeros((SIDE, SIDE), np.uint16)
    assert "an image of cells with 0 in every pixel" in refusal(raw, truth, cells=cells)
    assert refusal(raw, truth, cells=cells[1:]) == (
        "cells of shape (31, 32) for frames of 32 x 32 pixels; expected an image (Y, X) of the size of a frame; give "
        "the image of this recording."
    )
    cells[5:9, 5:9] = 2
    assert refusal(raw, truth, cells=cells, traces=np.zeros((1, FRAMES))) == (
        "true traces of 1 cells in 60 frames; expected 2 cells in 60 frames, as the cells and the movie have; give the "
        "traces of this recording."
    )
    assert "in 59 frames" in refusal(raw, truth, cells=cells, traces=np.zeros((2, FRAMES - 1)))
    assert "true traces without cells" in refusal(raw, truth, traces=np.zeros((2, FRAMES)))
    assert "a reference of shape" in refusal(raw, raw=raw, reference=np.zeros((3, 3)))
    assert "not finite" in refusal(raw, raw=raw, reference=np.full((SIDE, SIDE), np.nan))


def test_a_truth_without_cells_has_no_trace_metrics() -> None:
    rng = np.random.default_rng(0)
    truth = 100 + 50 * gaussian_filter(rng.normal(0, 1, (1, 1, 24, 24)), (0, 0, 1, 1)) * np.ones((20, 1, 1, 1))
    result = evaluate(truth + rng.normal(0, 5, truth.shape), truth).result()
    assert result["trace_correlation"] is None
    assert result["event_f1"] is None
    assert result["edge_width_ratio"] is None
    assert result["correlation_dynamic"] == 0.0
