"""Every tool, run at a tiny size; its last line on stdout is one JSON object."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.train.collapse import collapse_error
from tests import ROOT

TINY = {
    "bench_connectors.py": (
        "--connectors",
        "tiff",
        "raw",
        "tcp",
        "--size",
        "16",
        "--seconds",
        "1",
        "--folder",
        "{tmp}",
    ),
    "bench_doctor.py": ("--size", "64", "--frames", "40", "--seeds", "1", "--photons", "3", "--faults", "drop"),
    "bench_engine.py": ("--size", "16", "--frames", "16", "--runs", "1", "--engines", "default,window,average"),
    "bench_gpu.py": ("--tiny", "--out", "{tmp}/figures"),
    "bench_leakage.py": ("--engine", "echo", "--size", "16"),
    "bench_line_phase.py": ("--size", "32", "--seeds", "1", "--recordings", "{tmp}/movie.tif"),
    "bench_live.py": ("--size", "16", "--seconds", "0.2", "--soak", "60"),
    "bench_quality.py": (
        *("--size", "16", "--frames", "32", "--seeds", "1", "--views", "each"),
        *("--pictures", "{tmp}/movie.tif", "--line-phase", "0.5", "--align", "auto", "off"),
    ),
    "bench_real.py": ("--data", "{tmp}", "--engines", "average"),
    "bench_recordings.py": ("{tmp}/movie.tif", "--out", "{tmp}", "--rate", "60"),
    "bench_training.py": ("--width", "2", "--frames", "8", "--size", "16", "--steps", "2"),
    "bench_viewer.py": ("--size", "16", "--minutes", "0.05", "--engine", "echo"),
    "bench_window.py": ("--size", "16", "--frames", "64", "--seeds", "1"),
    "draw_presets.py": ("--out", "{tmp}/presets.png", "--size", "32", "--frames", "16"),
    "fuzz_control_socket.py": ("--messages", "3000"),
    "fuzz_messages.py": ("--messages", "3000"),
    "make_golden.py": ("--out", "{tmp}"),
    "make_kernels.py": ("--out", "{tmp}/kernels.ptx"),
    "output_digests.py": ("--size", "32", "--frames", "12", "--steps", "0", "--engines", "echo", "average"),
    "paper_table.py": ("{tmp}",),
    "reproduce_paper.py": (
        *(
            "--out",
            "{tmp}/paper",
            "--minutes",
            "0.002",
            "--seeds",
            "1",
            "--unseen",
            "1",
            "--methods",
            "mp-ssl",
            "stream",
        ),
        *("--size", "32", "--frames", "32", "--judged-frames", "16", "--width", "2", "--patch", "16"),
        *("--patch-frames", "8"),
    ),
    "soak_session.py": ("overload", "--seconds", "3", "--size", "16"),
    "soak_kills.py": ("--kills", "1", "--size", "16", "--seconds", "0.2"),
    "train_engine.py": (
        *("--recipe", "{tmp}/recipe.toml", "--run", "{tmp}/run", "--out", "{tmp}/engine"),
        *("--movies", "5", "--frames", "40", "--size", "48"),
    ),
    "search_networks.py": (
        *(
            "--out",
            "{tmp}/search",
            "--trials",
            "three-32",
            "apart",
            "blocks",
            "mixture",
            "ahead-2",
            "contrast",
            "state",
            "space-16",
            "space-24-2-ungated",
            "space-alone",
        ),
        *("--trainings", "1", "--steps", "2", "--movies", "1", "--frames", "40", "--size", "32"),
        *("--patch", "16", "--seeds", "1", "--timed", "32", "--runs", "1"),
    ),
    "write_docs.py": ("--check",),
}

WINDOW_RECIPE = "width = 2\npatch = [16, 24, 24]\nsteps = 2\nwarm_up_steps = 1\nheld_out_pairs = 1\n"
STREAM_RECIPE = 'mode = "stream"\nwidth = 2\npatch = [1, 24, 24]\nsteps = 2\nwarm_up_steps = 1\nheld_out_pairs = 1\n'


def test_every_tool_is_run() -> None:
    assert {path.name for path in (ROOT / "tools").glob("*.py")} == set(TINY)


def run(name: str, folder: Path, arguments: tuple[str, ...]) -> None:
    command = [sys.executable, ROOT / "tools" / name, *(argument.format(tmp=folder) for argument in arguments)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    assert isinstance(json.loads(finished.stdout.strip().splitlines()[-1]), dict)


@pytest.mark.parametrize("name", TINY)
def test_tool(name: str, tmp_path: Path) -> None:
    if name == "bench_viewer.py" and not os.environ.get("DISPLAY") and shutil.which("Xvfb") is None:
        pytest.skip("no screen: neither DISPLAY nor Xvfb (Debian: apt-get install xvfb)")
    if name == "make_kernels.py" and importlib.util.find_spec("nvidia") is None:
        pytest.skip("no NVRTC (pip install nvidia-cuda-nvrtc-cu12==12.1.*)")
    tifffile.imwrite(tmp_path / "movie.tif", np.random.default_rng(0).poisson(9, (20, 16, 16)).astype(np.int16))
    (tmp_path / "recipe.toml").write_text(WINDOW_RECIPE)
    run(name, tmp_path, TINY[name])


def test_training_a_stream_engine(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(STREAM_RECIPE)
    run("train_engine.py", tmp_path, TINY["train_engine.py"])


def test_reproduce_paper_continues_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Complete folders are not run again; others are run again with the planned number of steps."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    tool = importlib.import_module("reproduce_paper")
    arguments = [argument.format(tmp=tmp_path) for argument in TINY["reproduce_paper.py"]]
    monkeypatch.setattr(sys, "argv", ["reproduce_paper.py", *arguments])
    tool.main()
    level = tmp_path / "paper" / "r0.44"
    folder, kept = level / "mp-ssl-1", (level / "stream-1" / "engine.onnx").stat().st_mtime_ns
    plan, scores = (json.loads((folder / name).read_text()) for name in ("plan.json", "scores.json"))
    for left in (folder / "scores.json", tmp_path / "paper" / "table.md"):
        left.unlink()
    tool.main()
    assert (level / "stream-1" / "engine.onnx").stat().st_mtime_ns == kept
    assert json.loads((folder / "plan.json").read_text()) == plan
    again = json.loads((folder / "scores.json").read_text())
    assert again["steps"] == scores["steps"] == plan["steps"]
    assert again["scores"] == scores["scores"]
    table = (tmp_path / "paper" / "table.md").read_text()
    assert "| mp-ssl |" in table
    assert "| floor | wanted | mp-ssl | stream |" in table
    assert "| x-y-t correlation | >= 0.92 | 0." in table
    assert {path.name for path in (tmp_path / "paper").glob("*.png")} == {
        *("correlation_xyt-r0.44.png", "snr_affine_db-r0.44.png", "frame-r0.44.png", "yt-r0.44.png")
    }
    assert "mp-ssl" in json.loads(capsys.readouterr().out.splitlines()[-1])["levels"]["0.44"]


def test_reproduce_paper_reports_a_collapsed_training_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    tool = importlib.import_module("reproduce_paper")
    options = ("--out", str(tmp_path), "--seeds", "1", "--methods", "tp-ssl", "stream")
    monkeypatch.setattr(sys, "argv", ["reproduce_paper.py", *options])
    done = []

    def run_method(_options: object, method: str, _correlation: float, _seed: int, folder: Path) -> None:
        if method == "tp-ssl":
            raise collapse_error(0.0, 7, 0)
        done.append(folder.name)

    monkeypatch.setattr(tool, "run_method", run_method)
    monkeypatch.setattr(tool, "run_references", lambda *_: None)
    tool.main()
    output = capsys.readouterr()
    assert done == ["stream-1"]
    assert "tp-ssl-1: after 7 steps a network that collapsed: " in output.err
    assert json.loads(output.out)["failed"] == [str(tmp_path / "r0.44" / "tp-ssl-1")]
