"""The offline commands denoise, evaluate, train, export and demo, run as processes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings
from tests.e2e.commands import page_count, run

EVALUATE_KEYS = {
    *("correlation_xyt", "correlation_frame", "snr_db", "ssim_2d", "ssim_3d"),
    *("snr_affine_db", "correlation_dynamic", "sharpness"),
}
DEMO_KEYS = {
    *("frames_in", "frames_out", "frames_lost", "fps", "delay_frames", "latency_ms", "correlation_xyt", "snr_db"),
    *("engine", "recording", "picture"),
}


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write a small collinear movie and its clean movie."""
    folder = tmp_path_factory.mktemp("movie")
    source = SyntheticSource(SceneSettings(seed=2), ScanSettings(size=(48, 48), seed=2), 64)
    raw, truth = zip(*(source.render(index) for index in range(64)), strict=True)
    tifffile.imwrite(folder / "raw.tif", np.stack(raw)[:, 0])
    tifffile.imwrite(folder / "truth.tif", np.stack(truth)[:, 0])
    return folder / "raw.tif", folder / "truth.tif"


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<i2", "<f4", ">u2"])
def test_denoise_keeps_type_count_and_size(tmp_path: Path, dtype: str) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.poisson(20.0, (19, 21, 30)).astype(dtype)
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    finished = run("denoise", tmp_path / "in.tif", tmp_path / "out.tif", "--json")
    assert finished.code == 0, finished.stderr
    out = tifffile.imread(tmp_path / "out.tif")
    assert out.shape == pixels.shape
    assert out.dtype == pixels.dtype.newbyteorder("=")
    assert out.astype(float).std() < 0.7 * pixels.std()
    assert abs(out.mean() - pixels.mean()) < 0.05 * pixels.mean()


def test_denoise_halves_the_lines_of_collinear_movies_and_evaluate_measures_the_gain(
    movie: tuple[Path, Path], tmp_path: Path
) -> None:
    raw, truth = movie
    out = tmp_path / "out.tif"
    finished = run("denoise", raw, out, "--scan", "collinear", "--json")
    assert finished.code == 0, finished.stderr
    assert finished.result["frames_out"] == 64
    assert tifffile.imread(out).shape == (64, 48, 48)
    evaluated = run("evaluate", out, "--truth", truth, "--raw", raw, "--json")
    assert evaluated.code == 0, evaluated.stderr
    result = evaluated.result
    assert set(result) >= EVALUATE_KEYS | {"raw", "baselines"}
    assert set(result["raw"]) >= EVALUATE_KEYS
    assert set(result["baselines"]) == {
        *("rolling mean 8", "exponential average 4", "best linear filter", "average engine"),
    }
    for column in (result, result["raw"], *result["baselines"].values()):
        assert all(isinstance(column[key], float) for key in EVALUATE_KEYS)
    assert result["correlation_xyt"] > result["raw"]["correlation_xyt"] + 0.2
    assert result["snr_db"] > result["raw"]["snr_db"] + 8
    average = result["baselines"]["average engine"]
    assert average["correlation_dynamic"] > result["baselines"]["rolling mean 8"]["correlation_dynamic"]
    for key in EVALUATE_KEYS:
        assert key in evaluated.stderr  # the table holds them as well
    report = tmp_path / "report"
    alone = run("evaluate", out, "--truth", truth, "--report", report, "--json")
    assert alone.code == 0, alone.stderr
    assert {key: alone.result[key] for key in EVALUATE_KEYS} == {key: result[key] for key in EVALUATE_KEYS}
    assert "raw" not in alone.result
    assert alone.result["baselines"] == {}
    assert {"report.md", "frames.png", "yt.png", "error_map.png"} <= {path.name for path in report.iterdir()}


def test_evaluate_without_a_truth_and_with_cells(movie: tuple[Path, Path], tmp_path: Path) -> None:
    raw, truth = movie
    out, cells, traces = tmp_path / "out.tif", tmp_path / "cells.tif", tmp_path / "traces.csv"
    finished = run("denoise", raw, out, "--scan", "collinear", "--engine", "average")
    assert finished.code == 0, finished.stderr
    blind = run("evaluate", "--raw", raw, "--denoised", out, "--json")
    assert blind.code == 0, blind.stderr
    assert blind.result["snr_db"] is None
    assert blind.result["temporal_noise_ratio"] < 0.5
    assert blind.result["baselines"]["average engine"] == pytest.approx(
        {key: blind.result[key] for key in blind.result["baselines"]["average engine"]}, abs=0.02
    )  # this engine made the movie, whose pixels were rounded to integers
    assert "not computed, as a reference is missing: correlation_xyt" in blind.stderr
    places = np.zeros((48, 48), np.uint16)
    places[10:16, 10:16], places[30:36, 20:26] = 1, 2
    tifffile.imwrite(cells, places)
    true = np.stack([tifffile.imread(truth)[:, places == number].mean(1) for number in (1, 2)], axis=1)
    rows = [f"{frame},{first},{second}" for frame, (first, second) in enumerate(true)]
    traces.write_text("\n".join(["frame,cell_1,cell_2", *rows]) + "\n")
    with_cells = run("evaluate", truth, "--truth", truth, "--cells", cells, "--traces", traces, "--json")
    assert with_cells.code == 0, with_cells.stderr
    assert with_cells.result["trace_correlation"] == pytest.approx(1)
    with_reference = run("evaluate", out, "--raw", raw, "--reference", truth, "--json")
    assert with_reference.result["rsp"] > 0.3


def test_train_export_denoise(movie: tuple[Path, Path], tmp_path: Path) -> None:
    raw, _ = movie
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "width = 2\npatch = [16, 24, 24]\nsteps = 30\nwarm_up_steps = 3\nvalidate_every = 15\n"
        "held_out_pairs = 1\nwindow = 24\ncalibration_frames = 16\n"
    )
    run_dir, engine = tmp_path / "run", tmp_path / "mine.onnx"
    train = (
        "train",
        raw,
        "--scan",
        "collinear",
        "--mode",
        "mp-collinear",
        "--recipe",
        recipe,
        "--out",
        run_dir,
        "--json",
    )
    trained = run(*train)
    assert trained.code == 0, trained.stderr
    assert trained.result["step"] == 30
    assert trained.result["interrupted"] is False
    exported = run("export", run_dir, "-o", engine, "--json")
    assert exported.code == 0, exported.stderr
    assert exported.result["card"]["window"] == 24
    finished = run("denoise", raw, tmp_path / "out.tif", "--scan", "collinear", "--engine", engine, "--json")
    assert finished.code == 0, finished.stderr
    assert finished.result["engine"] == "mine"
    ordinary = run("denoise", raw, tmp_path / "out2.tif", "--scan", "ordinary", "--engine", engine)
    assert ordinary.code == 2
    assert "was trained for collinear scans" in ordinary.stderr


def test_demo_with_the_default_engine(tmp_path: Path) -> None:
    finished = run("demo", "--seconds", "4", "--size", "48", "--rate", "15", "--out", tmp_path, "--json")
    assert finished.code == 0, finished.stderr
    result = finished.result
    assert set(result) >= DEMO_KEYS
    assert result["frames_in"] == result["frames_out"] == 60
    assert result["frames_lost"] == 0
    assert result["correlation_xyt"]["denoised"] > result["correlation_xyt"]["raw"]
    assert Path(result["picture"]).read_bytes().startswith(b"\x89PNG")
    assert page_count(result["recording"]) == 60
    assert json.dumps(result) == finished.stdout.strip().splitlines()[-1]
