"""``deepbid-rt synth``, run as a process: correct files, nothing overwritten, errors in one sentence."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.e2e.commands import run

NAMES = {"raw.tif", "truth.tif", "traces.csv", "cells.tif", "cells.json"}


@pytest.mark.parametrize("preset", ["calcium-vibrating", "vessels-flow", "heart-beating"])
def test_a_preset_writes_a_movie_with_its_ground_truth(tmp_path: Path, preset: str) -> None:
    out = tmp_path / "new" / "folder"
    finished = run("synth", "--preset", preset, "--frames", "20", "--size", "64", "--seed", "2", "--out", out, "--json")
    assert finished.code == 0, finished.stderr
    assert {path.name for path in out.iterdir()} == NAMES
    raw, truth, labels = (tifffile.imread(out / f"{name}.tif") for name in ("raw", "truth", "cells"))
    assert raw.shape == (20, 128, 64)
    assert raw.dtype == np.uint16
    assert truth.shape == (20, 64, 64)
    assert labels.shape == (64, 64)
    views = (raw[:, 0::2].astype(float) + raw[:, 1::2]) / 2
    measured = np.corrcoef(views.ravel(), truth.ravel())[0, 1]
    assert finished.result["correlation_xyt_raw"] == pytest.approx(measured, abs=1e-3)
    facts = json.loads((out / "cells.json").read_text())
    with (out / "traces.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert list(rows[0]) == ["frame", "t_s", *(f"cell_{cell['label']}" for cell in facts["cells"])]
    assert len(facts["cells"]) == labels.max() == finished.result["cells"]
    assert facts["preset"] == preset


def test_scan_and_digitiser_can_be_chosen(tmp_path: Path) -> None:
    options = ("--scan", "ordinary", "--bits", "8", "--unmirrored", "--sinusoidal", "0.8", "--photons", "3")
    finished = run("synth", "--frames", "12", "--size", "48", "--out", tmp_path, *options, "--json")
    assert finished.code == 0, finished.stderr
    raw, truth = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("raw", "truth"))
    assert raw.dtype == np.uint8
    upright = raw.astype(float)
    upright[:, 1::2] = upright[:, 1::2, ::-1]
    expected = np.corrcoef(upright.ravel(), truth.ravel())[0, 1]
    assert finished.result["correlation_xyt_raw"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("taken", ["truth.tif", "cells.json"])
def test_existing_files_are_not_overwritten(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_bytes(b"mine")
    finished = run("synth", "--frames", "2", "--size", "32", "--out", tmp_path)
    assert finished.code == 2
    assert f"{tmp_path / taken} exists already; expected" in finished.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {taken: b"mine"}


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    finished = run("synth", "--out", tmp_path / "file" / "movie")
    assert finished.code == 2
    (line,) = [line for line in finished.stderr.splitlines() if line.startswith("deepbid-rt: ")]
    assert line.startswith(f"deepbid-rt: the folder {tmp_path / 'file' / 'movie'} cannot be created (Not a directory);")


FULL = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit, out = int(sys.argv[1]), sys.argv[2]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.argv = ["deepbid-rt", "synth", "--frames", "40", "--size", "32", "--out", out]
runpy.run_module("deepbid_rt", run_name="__main__")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="only POSIX has file size limits")
def test_a_full_disk_gives_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, "60000", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("deepbid-rt: ")]
    assert line.startswith(f"deepbid-rt: frame 13 could not be written to {tmp_path / 'raw.tif'} (File too large);")
    with tifffile.TiffFile(tmp_path / "raw.tif") as tif:
        assert len(tif.pages) == 13
