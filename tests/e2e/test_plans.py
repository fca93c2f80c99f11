"""Plans on the command line: each refusal is one sentence and exit code 2, before `serve` waits for a stream."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from deepbid_rt.runtimes.tensorrt.sidecar import read_facts, sidecar_path, write_plan
from tests.e2e.commands import run
from tests.e2e.test_refusals import refused

HAS_TENSORRT = importlib.util.find_spec("tensorrt") is not None
NO_STREAM = ("serve", "--source", "tcp://127.0.0.1:9")


@pytest.fixture
def plan(simulated_plans: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPBID_RT_ENGINES", str(tmp_path))
    path = tmp_path / "m.plan"
    write_plan(path, simulated_plans["stream"].read_bytes(), read_facts(simulated_plans["stream"]))
    return path


def test_a_plan_outside_the_engines_folder_needs_trust(
    plan: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEEPBID_RT_ENGINES", str(tmp_path / "engines"))
    assert "a plan is a program; expected a plan in" in refused(*NO_STREAM, "--engine", plan)
    if not HAS_TENSORRT:
        assert "the Python package tensorrt is not installed" in refused(*NO_STREAM, "--engine", plan, "--trust")


@pytest.mark.parametrize("damage", ["missing", "cut", "lying", "silent"])
def test_a_plan_that_does_not_match_its_sidecar_is_refused(plan: Path, damage: str) -> None:
    if damage == "missing":
        plan.unlink()
    elif damage == "cut":
        plan.write_bytes(plan.read_bytes()[:1000])
    elif damage == "lying":
        facts = json.loads(sidecar_path(plan).read_text())
        sidecar_path(plan).write_text(json.dumps(facts | {"plan_sha256": "00" * 32}))
    else:
        sidecar_path(plan).unlink()
    message = refused(*NO_STREAM, "--engine", plan)
    assert str(plan) in message
    assert "deepbid-rt build" in message


def test_a_build_needs_a_size_and_tensorrt(tmp_path: Path) -> None:
    out = ("-o", tmp_path / "m.plan")
    assert "expected one of --size and --source" in refused("build", "default", *out)
    if not HAS_TENSORRT:
        message = refused("build", "default", *out, "--size", "16x16")
        assert "the Python package tensorrt is not installed" in message
    assert not list(tmp_path.iterdir())


def test_trtexec_commands_are_printed_without_tensorrt(tmp_path: Path) -> None:
    network = tmp_path / "net.onnx"
    arguments = ("--size", "16x24", "--keep-onnx", network, "--print-trtexec")
    finished = run("build", "default", "-o", tmp_path / "m.plan", *arguments)
    assert finished.code == 0, finished.stderr
    build, time = finished.stdout.splitlines()
    assert build.startswith(f"trtexec --onnx={network} --saveEngine={tmp_path / 'm.plan'} ")
    assert "--useCudaGraph" in time
    assert network.stat().st_size > 50_000
