"""Arguments that cannot take effect are refused, as options of the command line are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepbid_rt as rt
from deepbid_rt.errors import EndpointError, EngineError, OptionError
from deepbid_rt.runtimes.echo import EchoEngine
from tests.fakes import ListSource

MOVIE = np.zeros((4, 8, 8), np.int16)
LOOPBACK, NOWHERE = "tcp://127.0.0.1:0", "nowhere"


def serve(engine: Any = "echo", source: Any = NOWHERE, **given: Any) -> object:
    return rt.serve(source, engine, **given)


def for_array(engine: Any = "echo", **given: Any) -> object:
    return rt.Denoiser.for_array(engine, shape=(8, 8), **given)


def denoise(engine: Any = "echo", **given: Any) -> object:
    return rt.denoise(MOVIE, engine, **given)


def load_engine(engine: str = "echo", **given: Any) -> object:
    return rt.load_engine(engine, **given)


ENGINE_ARGUMENTS: tuple[dict[str, Any], ...] = (
    {"precision": "f32"},
    {"threads": 2},
    {"runtime": "torch"},
    {"runtime": "openvino"},
    {"trust": True},
)


@pytest.mark.parametrize("given", ENGINE_ARGUMENTS, ids=str)
@pytest.mark.parametrize("function", [serve, for_array, denoise, load_engine])
def test_arguments_about_a_network_are_refused_for_engines_without_one(
    function: Callable[..., object], given: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match="for engine 'echo', which has no network"):
        function(**given)


@pytest.mark.parametrize("given", ENGINE_ARGUMENTS, ids=str)
@pytest.mark.parametrize("function", [serve, for_array, denoise])
def test_arguments_about_a_network_are_refused_for_an_open_engine(
    function: Callable[..., object], given: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match="for engine 'echo', which is open already"):
        function(EchoEngine(), **given)


@pytest.mark.parametrize(
    ("engine", "given", "message"),
    [
        ("m.plan", {"precision": "bf16"}, "precision bf16 for the plan m.plan"),
        ("m.plan", {"threads": 1}, "threads 1 for the plan m.plan"),
        ("m.plan", {"runtime": "torch"}, "runtime torch for the plan m.plan"),
        ("m.onnx", {"trust": True}, "trust for m.onnx, which is no .plan"),
        ("m.onnx", {"runtime": "torch", "threads": 1}, "threads 1 for runtime torch"),
    ],
)
def test_arguments_that_a_runtime_ignores_are_refused(engine: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=f"^{message}"):
        rt.load_engine(engine, **given)


@pytest.mark.parametrize("given", [{"trust": True}, {}], ids=str)
def test_a_plan_may_be_trusted_wherever_it_is(given: dict[str, bool], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no plan at"):
        rt.load_engine(str(tmp_path / "m.plan"), **given)


@pytest.mark.parametrize("function", [for_array, denoise])
@pytest.mark.parametrize("merge", ["forward", "backward", "interleave"])
def test_a_merge_of_an_ordinary_scan_is_refused(function: Callable[..., object], merge: str) -> None:
    with pytest.raises(OptionError, match=f"^merge='{merge}' for an ordinary scan, which scans each line once"):
        function(merge=merge)
    function(merge=merge, scan="collinear")


@pytest.mark.parametrize("function", [serve, for_array])
def test_a_gap_policy_for_an_engine_without_temporal_state_is_refused(function: Callable[..., object]) -> None:
    with pytest.raises(OptionError, match=r"^gap='hold' for engine 'echo', which has no temporal state"):
        function(gap="hold")


def test_recording_raw_frames_needs_a_folder() -> None:
    with pytest.raises(OptionError, match=r"^record_raw without a folder; expected record=FOLDER beside it"):
        serve(record_raw=True)


def test_the_scan_of_a_source_that_states_it_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^scan='ordinary' for a source that is no address"):
        serve(source=ListSource([]), scan="ordinary", idle_s=0.1)


@pytest.mark.parametrize("function", [serve, lambda **given: rt.subscribe(NOWHERE, **given)])
def test_only_the_layout_of_a_live_stream_can_be_given(function: Callable[..., object]) -> None:
    with pytest.raises(OptionError, match="for a live stream, of which only the layout can be given"):
        function(scan=rt.ScanGeometry("collinear", mirrored=False))
    for scan in ("collinear", rt.ScanGeometry("collinear")):
        with pytest.raises(EndpointError, match=NOWHERE):
            function(scan=scan)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rt.subscribe(LOOPBACK, insecure_lan=True), "insecure_lan=True with tcp://127.0.0.1:0, which"),
        (lambda: rt.subscribe(LOOPBACK, keys="k"), "keys without server_key"),
        (lambda: rt.subscribe(LOOPBACK, server_key="s.pub"), "server_key without keys"),
        (lambda: rt.publish("tcp://*:0", shape=(8, 8), keys="k", insecure_lan=True), "insecure_lan=True with .* keys"),
        (lambda: serve(source=LOOPBACK, insecure_lan=True), "insecure_lan=True with tcp://127.0.0.1:0, which"),
        (lambda: serve(source=LOOPBACK, keys="k"), "keys without source_key"),
        (lambda: serve(source=LOOPBACK, source_key="s.pub"), "source_key without keys"),
        (lambda: serve(source=ListSource([]), source_key="s.pub", keys="k"), "source_key for a source that is no addr"),
        (lambda: serve(source=LOOPBACK, lossless=True), "lossless=True with max_latency_ms=200.0"),
        (lambda: serve(source=ListSource([]), lossless=True, max_latency_ms=None), "lossless=True with"),
    ],
)
def test_keys_and_access_that_cannot_take_effect_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(OptionError, match=f"^{message}"):
        call()


def test_access_from_other_computers_to_a_loopback_address_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^insecure_lan=True with tcp://127.0.0.1:0, which only this computer"):
        rt.publish(LOOPBACK, shape=(8, 8), insecure_lan=True)


CHECKED = {"merge", "gap", "record_raw", "insecure_lan", "precision", "threads", "runtime", "trust"}
CHECKED |= {"keys", "server_key", "source_key", "lossless"}
TAKE_EFFECT = {
    rt.denoise: {"movie", "engine", "scan", "rate_hz", "planes", "stabilize", "line_phase", "denoise_channels"},
    rt.Denoiser.for_array: {
        "engine",
        "shape",
        "dtype",
        "rate_hz",
        "scan",
        "planes",
        "stabilize",
        "line_phase",
        "denoise_channels",
    },
    # dataset, shape and dtype are checked too, see tests/movies/test_open_movie.py; name and sync_s in test_serve.py.
    rt.open: {"path", "channels", "planes", "flyback", "scan", "rate_hz", "dataset", "shape", "dtype"},
    rt.publish: {"endpoint", "shape", "dtype", "rate_hz", "scan", "planes", "name"},
    # scan is checked too, see above.
    rt.serve: {"source", "engine", "sinks", "publish", "record", "scan", "stabilize", "line_phase", "denoise_channels"}
    | {"frames", "series", "idle_s", "stop", "max_latency_ms", "name", "sync_s"},
    rt.subscribe: {"endpoint", "series", "timeout_s", "scan"},
    rt.load_engine: {"name"},
}


@pytest.mark.parametrize("function", TAKE_EFFECT, ids=lambda function: function.__name__)
def test_every_argument_takes_effect_or_has_a_test_of_its_refusal(function: Callable[..., object]) -> None:
    """A new argument must be put into one of the two lists."""
    assert set(inspect.signature(function).parameters) - CHECKED == TAKE_EFFECT[function]
