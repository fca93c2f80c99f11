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
from deepbid_rt.evaluation.figures import FIGURES
from deepbid_rt.evaluation.movie import Movie, as_movie
from deepbid_rt.evaluation.references import References
from deepbid_rt.evaluation.scores import judge

PAPER = {"correlation_xyt", "correlation_frame", "snr_db", "ssim_2d", "ssim_3d"}
TRAP_FREE = {"snr_affine_db", "correlation_dynamic", "sharpness", "edge_width_ratio", "event_f1"}
FRAMES, SIDE = 60, 32
CENTRES = ((9, 9), (9, 23), (23, 9), (23, 23))
_Y, _X = np.ogrid[:SIDE, :SIDE]
CELLS = np.zeros((SIDE, SIDE), np.uint16)
for _number, (_y, _x) in enumerate(CENTRES, 1):
    CELLS[np.hypot(_Y - _y, _X - _x) < 4] = _number


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw four cells that flash and, with all else, vibrate; and the same scene with noise."""
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


def test_every_column_has_every_figure(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    names: list[str] = []
    result = evaluate(truth, truth, raw, filters={"mine": as_movie(raw)}, watch=names.append).result()
    json.dumps(result, allow_nan=False)
    assert list(result)[: len(FIGURES)] == list(FIGURES)
    assert set(result) == FIGURES.keys() | {"raw", "baselines", "unknown"}
    assert result["unknown"] == []
    assert list(result["baselines"]) == ["rolling mean 8", "exponential average 4", "best linear filter", "mine"]
    assert sorted(names) == sorted(["denoised", "raw", *result["baselines"]])
    for column in (result, result["raw"], *result["baselines"].values()):
        assert [name for name in FIGURES if column[name] is None] == []
    assert result["baselines"]["mine"] == result["raw"]
    assert result["raw"].keys() == FIGURES.keys()
    assert result["flicker"] == 0.0
    assert result["raw"]["flicker"] == 1.0
    assert 0.05 < result["baselines"]["rolling mean 8"]["flicker"] < 0.8
    for name in TRAP_FREE - {"edge_width_ratio", "event_f1"}:  # a filter loses what the truth has
        assert all(column[name] < result[name] for column in result["baselines"].values())
    best = result["baselines"]["best linear filter"]["snr_affine_db"]
    assert all(best >= column["snr_affine_db"] for column in (result["raw"], *result["baselines"].values()))


def test_figures_do_not_depend_on_how_many_movies_are_judged_at_a_time(
    movies: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, raw = movies
    results = []
    for threads in (1, 4):
        monkeypatch.setattr(module, "_THREADS", threads)
        results.append(evaluate((truth + raw) / 2, truth, raw).result())
    assert results[0] == results[1]


@pytest.mark.parametrize("late", [0, 1])
def test_an_error_of_one_movie_calls_the_others_off(
    movies: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    """Those that are judged at the time would go on for ever, and others wait for their turn."""
    begun, going, number = [], Event(), count()

    def judge(movie: Movie, *_: object) -> None:
        begun.append(movie)
        if next(number) == late:
            assert going.wait(60)
            raise StreamError("a bad movie", expected="a good one", todo="look")
        while True:
            movie.read(0, 1)
            going.set()

    monkeypatch.setattr(module, "_THREADS", 2)
    monkeypatch.setattr(module, "judge", judge)
    truth, raw = movies
    with pytest.raises(StreamError, match="a bad movie"):
        evaluate(truth, truth, raw, filters={"mine": as_movie(raw)})
    assert len(begun) <= 3


def test_a_truth_is_ideal(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    result = evaluate(truth, truth, raw).result()
    ideal = {name: float(figure.ideal) for name, figure in FIGURES.items() if figure.ideal not in ("high", "low")}
    found_by_noise = {name for name in FIGURES if name.startswith(("residual", "split_half", "mean_image", "next_frc"))}
    for name in ideal.keys() - found_by_noise:
        assert result[name] == pytest.approx(ideal[name], abs=0.02), name
    assert max(abs(result[f"residual_{axis}"]) for axis in "tyx") < 0.05
    assert result["temporal_noise_ratio"] < 0.7
    assert result["snr_affine_db"] > 100


@settings(deadline=None, max_examples=4)
@given(gain=st.floats(0.1, 20), offset=st.floats(-500, 5000), seed=st.integers(0, 9))
def test_gain_and_offset_do_not_matter_where_they_should_not(gain: float, offset: float, seed: int) -> None:
    truth, raw = scene(seed)
    movie = gaussian_filter(raw, (1, 0, 1, 1))
    known = References(truth=as_movie(truth))
    plain, changed = (judge(as_movie(m), known, 9).figures for m in (movie, gain * movie + offset))
    free = PAPER - {"snr_db", "ssim_2d", "ssim_3d"} | TRAP_FREE - {"event_f1"}
    for name in free | {"correlation_xt", "correlation_yt", "frc_cutoff", "transfer_cutoff", "rsp"}:
        assert changed[name] == pytest.approx(plain[name], rel=1e-3), name


def test_the_order_of_frames_does_not_matter_where_it_should_not(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    order = np.random.default_rng(1).permutation(FRAMES)
    plain, mixed = scores(raw, truth), scores(raw[order], truth[order])
    for name in ("correlation_xyt", "correlation_frame", "snr_db", "ssim_2d", "trace_correlation", *TRAP_FREE):
        if name != "event_f1":
            assert mixed[name] == pytest.approx(plain[name], rel=1e-9), name
    assert mixed["ssim_3d"] != plain["ssim_3d"]
    wrong = scores(truth[order], truth)
    assert wrong["correlation_dynamic"] < 0.3  # the right frames at wrong times


@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 40))
def test_no_trap_catches_what_should_stand_beside_the_papers_figures(seed: int) -> None:
    truth, raw = scene(seed)
    noisy = scores(raw, truth)
    frozen = scores(np.broadcast_to(raw.mean(0), raw.shape), truth)
    blurred = scores(gaussian_filter(raw, (0, 0, 3, 3)), truth)
    for trap in (frozen, blurred):
        assert trap["snr_db"] > noisy["snr_db"] + 1  # by the papers' figure, a success
        assert trap["sharpness"] < 0.6 * 0.5
    assert blurred["edge_width_ratio"] > 2.5
    assert frozen["correlation_dynamic"] == 0.0
    assert frozen["event_f1"] == 0.0
    assert blurred["sharpness"] < noisy["sharpness"]
    sharp = gaussian_filter(truth, (0, 0, 1, 1))
    noise = np.random.default_rng(seed).normal(0, 60, truth.shape)
    assert scores(sharp + noise, truth)["sharpness"] <= scores(sharp, truth)["sharpness"] + 0.02


def test_a_frozen_mean_has_wide_edges_on_the_mean() -> None:
    """One scene of four cells is too few to tell: what a still, noisy picture rises by is then partly chance."""
    widths = []
    for seed in range(10, 22):
        truth, raw = scene(seed)
        widths.append(edge_width_ratio(as_movie(np.broadcast_to(raw.mean(0), raw.shape)), as_movie(truth)))
    assert np.mean(widths) > 1.5


@pytest.mark.parametrize("layout", [lambda raw: raw, lambda raw: np.repeat(raw, 2, axis=2)])
def test_a_collinear_recording_is_averaged(
    movies: tuple[np.ndarray, np.ndarray], layout: Callable[[np.ndarray], np.ndarray]
) -> None:
    truth, raw = movies
    result = evaluate(raw, truth, layout(raw)).result()
    assert result["raw"] == {name: result[name] for name in FIGURES}


def test_without_a_truth_the_recording_tells(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    found = evaluate(gaussian_filter(raw, (0, 0, 1, 1)), raw=raw)
    result = found.result()
    json.dumps(result, allow_nan=False)
    assert set(result) == FIGURES.keys() | {"raw", "baselines", "unknown"}
    assert set(result["unknown"]) == {name for name, f in FIGURES.items() if f.need not in ("raw", None)}
    for column in (result, result["raw"], *result["baselines"].values()):
        assert {name for name in FIGURES if column[name] is None} == set(result["unknown"])
    assert list(result["baselines"]) == ["rolling mean 8", "exponential average 4"]
    assert result["temporal_noise_ratio"] < 0.6
    assert result["mean_ratio"] == pytest.approx(1, abs=0.01)
    assert (found.movie.frames, found.movie.error, found.truth) == (None, None, None)
    sharp = evaluate(raw, raw=raw, reference=truth.mean(0)[0]).result()
    assert sharp["rsp"] > 0.5
    assert "rsp" not in sharp["unknown"]


def test_known_cells_and_traces(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    true = np.stack([truth[:, 0, number == CELLS].mean(1) for number in range(1, 5)])
    by_truth = evaluate(raw, truth, cells=CELLS).movie
    assert by_truth.cells is not None
    assert by_truth.cells.shape == (4,)
    told = evaluate(raw, truth, cells=CELLS, traces=true / 100 - 3).movie
    for name in ("trace_correlation", "event_f1", "event_shift", "event_distance"):
        assert told.figures[name] == pytest.approx(by_truth.figures[name]), name
    assert told.figures["event_f1"] > 0.9
    alone = evaluate(raw, raw=raw, cells=CELLS, traces=true).result()
    assert alone["event_f1"] == told.figures["event_f1"]
    assert "event_f1" not in alone["unknown"]


def test_known_cells_say_where_edges_count(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, _ = movies
    half = np.concatenate([truth[..., :16], gaussian_filter(truth, (0, 0, 2, 2))[..., 16:]], axis=3)
    left, right = np.zeros((2, SIDE, SIDE), np.uint16)
    left[6:12, 6:11], right[6:12, 22:27] = 1, 1
    assert evaluate(half, truth, cells=left).result()["edge_width_ratio"] < 1.1
    assert evaluate(half, truth, cells=right).result()["edge_width_ratio"] > 1.3


def test_what_a_report_draws(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    found = evaluate(raw, truth)
    np.testing.assert_array_equal(found.movie.view.picture, raw[FRAMES // 2, 0])
    assert found.truth is not None
    assert found.movie.view.column.shape == found.truth.column.shape == (SIDE, FRAMES)
    columns = [x for x in range(SIDE) if np.array_equal(found.truth.column, truth[:, 0, :, x].T)]
    assert columns
    assert columns[0] in range(4, 28)  # one that shows a cell
    assert found.movie.frames is not None
    assert found.movie.frames.mean() == pytest.approx(found.movie.figures["correlation_frame"])
    assert found.movie.error is not None


def refusal(*args: np.ndarray | None, **more: np.ndarray) -> str:
    with pytest.raises(StreamError) as info:
        evaluate(*args, **more)
    return str(info.value)


def test_refuses_what_cannot_be_judged(movies: tuple[np.ndarray, np.ndarray]) -> None:
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
        "the truth with 5 counts in every pixel; expected a picture of something; check how the movie was made."
    )
    assert "the movie with 5 counts" in refusal(flat, truth)
    assert "the raw movie with 5 counts" in refusal(raw, truth, flat)


def test_refuses_cells_and_traces_that_do_not_fit(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    cells = np.zeros((SIDE, SIDE), np.uint16)
    assert "cells of which there are none" in refusal(raw, truth, cells=cells)
    assert refusal(raw, truth, cells=cells[1:]) == (
        "cells of shape (31, 32) for frames of 32 x 32 pixels; expected a picture (Y, X) of the size of a frame; give "
        "the picture of this recording."
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


def test_a_truth_without_cells_has_no_figures_of_traces() -> None:
    rng = np.random.default_rng(0)
    truth = 100 + 50 * gaussian_filter(rng.normal(0, 1, (1, 1, 24, 24)), (0, 0, 1, 1)) * np.ones((20, 1, 1, 1))
    result = evaluate(truth + rng.normal(0, 5, truth.shape), truth).result()
    assert result["trace_correlation"] is None
    assert result["event_f1"] is None
    assert result["edge_width_ratio"] is None
    assert result["correlation_dynamic"] == 0.0
