"""Every tool, run at a tiny size; its last line on stdout is one JSON object."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

ROOT = Path(__file__).parents[1]

TINY = {
    "bench_engine.py": ("--size", "16", "--frames", "16"),
    "bench_leakage.py": ("--engine", "echo", "--size", "16"),
    "bench_live.py": ("--size", "16", "--seconds", "0.2", "--soak", "60"),
    "bench_quality.py": ("--size", "16", "--frames", "32", "--seeds", "1"),
    "bench_recordings.py": ("{tmp}/movie.tif", "--out", "{tmp}", "--rate", "60"),
    "bench_viewer.py": ("--size", "16", "--minutes", "0.05", "--engine", "echo"),
    "bench_window.py": ("--size", "16", "--frames", "64", "--seeds", "1"),
    "make_golden.py": ("--out", "{tmp}"),
    "train_engine.py": (
        *("--recipe", "{tmp}/recipe.toml", "--run", "{tmp}/run", "--out", "{tmp}/engine"),
        *("--movies", "5", "--frames", "40", "--size", "48"),
    ),
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
    tifffile.imwrite(tmp_path / "movie.tif", np.random.default_rng(0).poisson(9, (20, 16, 16)).astype(np.int16))
    (tmp_path / "recipe.toml").write_text(WINDOW_RECIPE)
    run(name, tmp_path, TINY[name])


def test_training_a_stream_engine(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(STREAM_RECIPE)
    run("train_engine.py", tmp_path, TINY["train_engine.py"])
