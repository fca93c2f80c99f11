"""Every script of examples/ runs as its README says."""

import os
import re
import subprocess
import sys

import pytest
import tifffile
import zmq

from tests import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def start(command, folder, **kwargs):
    return subprocess.Popen(
        [sys.executable, "-u", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **kwargs,
    )


def finish(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out


def example(number, *arguments):
    [script] = [path for path in EXAMPLES if path.name.startswith(f"{number:02}_")]
    return [str(script), *map(str, arguments)]


def test_every_example_is_in_the_readme_and_run_here():
    readme = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES] == re.findall(r"^\| `(\S+\.py)`", readme, re.M)
    tested = [int(n) for n in re.findall(r"example\((\d+)[,)]", (ROOT / "tests" / "test_examples.py").read_text())]
    assert sorted(set(tested)) == list(range(1, len(EXAMPLES) + 1))


def test_an_array_is_denoised(tmp_path):
    out = finish(start(example(1), tmp_path))
    before, after = map(float, re.search(r"error ([\d.]+) -> ([\d.]+)", out).groups())
    assert after < before / 4


def test_a_file_is_denoised(tmp_path):
    assert "denoised with" in finish(start(example(2, "--engine", "average"), tmp_path))
    assert tifffile.imread(tmp_path / "denoised.tif").shape == tifffile.imread(tmp_path / "noisy.tif").shape


def test_a_source_in_python_is_denoised_live_and_followed(tmp_path):
    """Three processes, as a lab would run them: the source, the session, and a consumer of its frames."""
    source = start(example(3, "--endpoint", "tcp://127.0.0.1:0", "--frames", 150, "--rate", 60), tmp_path)
    raw = re.search(r"tcp://\S+", source.stdout.readline())[0]
    # The consumer is there before the session, so the address must be known before the session binds it.
    context = zmq.Context()
    probe = context.socket(zmq.PUB)
    port = probe.bind_to_random_port("tcp://127.0.0.1")
    probe.close(0)
    context.term()
    denoised = f"tcp://127.0.0.1:{port}"
    consumer = start(example(4, "--endpoint", denoised), tmp_path)
    assert "waiting" in consumer.stdout.readline()
    options = (
        "--source",
        raw,
        "--publish",
        denoised,
        "--engine",
        "average",
        "--frames",
        "150",
        "--max-latency",
        "none",
    )
    session = start(["-m", "deepbid_rt", "serve", *options], tmp_path)
    assert "sent 150 frames" in finish(source)
    finish(session)
    lines = finish(consumer).splitlines()
    # The consumer finds the session within a second of its start, and misses what was published before.
    assert sum(line.startswith("frame") for line in lines) >= 40
    assert "series over" in lines[-1]


def test_an_engine_is_trained_and_exported(tmp_path):
    pytest.importorskip("torch", reason="the train extra is not installed")
    out = finish(start(example(5, tmp_path / "trained", "--steps", 3), tmp_path))
    assert "denoised 80 frames" in out
    assert (tmp_path / "trained" / "mine.onnx").is_file()


def test_a_session_runs_with_a_sink_of_ones_own(tmp_path):
    out = finish(start(example(6), tmp_path))
    assert re.search(r"brightest frame \d+", out)
