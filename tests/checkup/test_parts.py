"""Processor, memory, clock, packages, GPU, sockets and engine: each level of each check."""

from __future__ import annotations

from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from deepbid_rt.checkup import processor
from deepbid_rt.checkup.clock import check_resolution, check_synchronised
from deepbid_rt.checkup.engine import _speed, check_engine
from deepbid_rt.checkup.gpu import check_gpu
from deepbid_rt.checkup.memory import check_descriptors, check_memory
from deepbid_rt.checkup.packages import check_packages
from deepbid_rt.checkup.processor import check_cores, check_instructions
from deepbid_rt.checkup.sockets import check_loopback, check_port
from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.probe import Gpu
from deepbid_rt.zmq_io import ZmqSink

GPU = Gpu("H200", "9.0", "580.1 (CUDA 13.0)")


def refuse(*_: object) -> Any:
    raise EngineError("a plan, but nothing is here", expected="something", todo="install it")


@pytest.mark.parametrize(("usable", "level"), [(1, "problem"), (2, "warning"), (4, "ok")])
def test_cores(usable: int, level: str) -> None:
    assert check_cores(usable).level == level
    assert check_cores().text.split()[0].isdigit()


@pytest.mark.parametrize(
    ("flags", "level", "text"),
    [
        ({"amx_bf16", "amx_tile", "avx2"}, "ok", "AMX"),
        ({"avx512_bf16", "avx512f", "avx2"}, "ok", "AVX-512 with bf16"),
        ({"avx512f", "avx2"}, "warning", "AVX-512 without bf16"),
        ({"avx2"}, "warning", "AVX2"),
        ({"asimd"}, "warning", "ARM"),
        ({"sse2"}, "problem", "neither"),
        (set(), "warning", "unknown"),
    ],
)
def test_instructions(flags: set[str], level: str, text: str) -> None:
    found = check_instructions(frozenset(flags))
    assert (found.level, found.text[: len(text)]) == (level, text)


def test_instructions_of_this_computer(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nflags\t\t: fpu avx2 avx512f\nflags : fpu\n", encoding="utf-8")
    monkeypatch.setattr(processor, "CPU_INFO", info)
    assert check_instructions().text.startswith("AVX-512 without bf16")
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "none")
    assert check_instructions().text.startswith("AVX")  # as OpenVINO says


@pytest.mark.parametrize(("gib", "level"), [(1, "problem"), (3, "warning"), (8, "ok")])
def test_memory(gib: int, level: str) -> None:
    assert check_memory(gib * 2**30).level == level


@pytest.mark.parametrize(("limit", "level"), [(256, "warning"), (65536, "ok"), (None, "ok")])
def test_descriptors(limit: int | None, level: str) -> None:
    assert check_descriptors(lambda: limit).level == level


@pytest.mark.parametrize(("answer", "level"), [(True, "ok"), (False, "warning"), (None, "warning")])
def test_a_clock_that_is_kept_right(answer: bool | None, level: str) -> None:
    assert check_synchronised(lambda: answer).level == level


def test_the_clock_of_this_computer() -> None:
    assert check_resolution().text.startswith("a resolution of ")
    assert check_synchronised().part == "time"


def test_a_needed_package_that_is_missing_is_a_problem_and_an_extra_is_not() -> None:
    def version(name: str) -> str:
        if name in ("openvino", "torch"):
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    found = {finding.part: finding for finding in check_packages(version)}
    assert (found["packages"].level, found["packages"].text) == ("problem", "openvino missing")
    assert found["extras"].level == "ok"
    assert "no torch (extra train)" in found["extras"].text


def test_a_gpu_and_its_libraries() -> None:
    (none,) = check_gpu(refuse)
    assert (none.part, none.level, none.todo) == ("GPU", "warning", "install it")
    gpu, without = check_gpu(lambda: GPU, refuse)
    assert (gpu.level, gpu.text) == ("ok", "H200, compute capability 9.0, 580.1 (CUDA 13.0)")
    assert (without.part, without.text) == ("TensorRT", "nothing is here: .plan files do not run")
    tensorrt: Any = SimpleNamespace(__version__="10.9")
    assert [f.level for f in check_gpu(lambda: GPU, lambda: tensorrt, refuse)] == ["ok", "ok", "warning"]
    memory: Any = object()
    assert [f.level for f in check_gpu(lambda: GPU, lambda: tensorrt, lambda: memory)] == ["ok", "ok", "ok"]


def test_a_frame_goes_round_and_a_port_in_use_is_found() -> None:
    assert check_loopback(30.0).text.startswith("a frame of 512x512 ")
    sink = ZmqSink("tcp://127.0.0.1:*")
    try:
        found = check_port(int(sink.endpoint.rpartition(":")[2]))
        assert (found.level, found.text) == ("warning", f"port in use {sink.endpoint}")
    finally:
        sink.close()


def test_an_engine_that_is_missing_or_too_slow_is_a_problem() -> None:
    (missing,) = check_engine("nonsense", 16, 1.0)
    assert (missing.level, missing.text) == ("problem", "no engine named 'nonsense'")
    opened, speed = check_engine("average", 16, 1.0, frames=2)
    assert (opened.level, speed.level) == ("ok", "ok")
    assert [_speed(fps, 16, 30.0).level for fps in (29.0, 38.0, 40.0)] == ["problem", "warning", "ok"]


def test_an_engine_that_fails_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("driver")

    monkeypatch.setattr("deepbid_rt.checkup.engine.Denoiser.push", fail)
    found = check_engine("average", 16, 1.0)[-1]
    assert (found.level, found.text) == ("problem", "average does not denoise frames of 16x16: RuntimeError: driver")
