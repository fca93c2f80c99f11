"""Simulator, replay, serve and recorder over TCP loopback, in separate processes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import get_args

import msgpack
import numpy as np
import pytest
import tifffile
import zmq

from deepbid_rt.frame import Frame, MotionStatus, StreamEnd, StreamInfo
from deepbid_rt.recording.motion_trace import read_motions
from deepbid_rt.recording.sidecar import read_sidecar
from deepbid_rt.runtimes import DEFAULT_ENGINE
from deepbid_rt.simulator.frame_stamp import read_stamp
from deepbid_rt.wire.codec import Encoder
from deepbid_rt.zmq_io import ZmqSink, ZmqSource
from tests.e2e.commands import Finished, page_count, run, started

SERVE_KEYS = {
    "refused",
    *("frames_in", "frames_out", "lost", "latency_ms", "motion", "recordings", "engine", "sha256"),
    *("line_phase_px", "aligned_px"),
    *("inside", "duplicates", "unexplained", "alarms", "clock_problem", "picture", "unprotected"),
}
LOST_KEYS = {"source", "transport", "ring", "engine", "skipped", "recorder"}


def serve(publisher: tuple[str | Path, ...], *options: str | Path) -> tuple[Finished, Finished]:
    """Serve the stream of a publishing command; return the results of both."""
    with started(*publisher, "--bind", "tcp://127.0.0.1:*", "--wait", "--json") as sender:
        endpoint = sender.line()
        served = run("serve", "--source", endpoint, "--json", "--max-latency", "none", *options)
        return sender.finish(), served


def recording(folder: Path, stream: str) -> np.ndarray:
    (path,) = folder.glob(f"*_{stream}*.tif")
    with tifffile.TiffFile(path) as tif:
        return np.stack([page.asarray() for page in tif.pages])


def test_simulated_frames_are_recorded_to_the_last_bit(tmp_path: Path) -> None:
    raw, truth, folder = tmp_path / "raw.tif", tmp_path / "truth.tif", tmp_path / "session"
    simulate = ("simulate", "--frames", "40", "--size", "32", "--rate", "200", "--stamped")
    sent, served = serve(
        (*simulate, "--raw", raw, "--truth", truth),
        *("--engine", "echo", "--merge", "interleave", "--record", folder, "--record-raw", "--frames", "40"),
    )
    assert (sent.code, served.code) == (0, 0), served.stderr
    assert set(served.result) == SERVE_KEYS
    assert set(served.result["lost"]) == LOST_KEYS
    assert served.result["frames_in"] == served.result["frames_out"] == 40
    assert not any(served.result["lost"].values())
    assert {Path(p).name.rpartition("_")[2] for p in served.result["recordings"]} == {"raw.tif", "denoised.tif"}
    expected = tifffile.imread(raw)
    np.testing.assert_array_equal(recording(folder, "raw"), expected)
    np.testing.assert_array_equal(recording(folder, "denoised"), expected)
    assert [read_stamp(frame[None]) for frame in expected] == list(range(40))
    assert tifffile.imread(truth).shape == (40, 32, 32)
    (log,) = folder.glob("*.jsonl")
    kinds = [line["kind"] for line in read_sidecar(log)]
    assert kinds[0] == "start"
    assert kinds[-1] == "summary"
    assert {"engine", "file", "recorded"} <= set(kinds)


def test_a_lossless_session_denoises_every_frame_although_hardly_any_may_wait(tmp_path: Path) -> None:
    sent, served = serve(
        ("simulate", "--frames", "150", "--size", "32", "--rate", "2000", "--lossless"),
        *("--engine", "average", "--lossless", "--record", tmp_path, "--record-raw", "--lag-frames", "2"),
        *("--idle-timeout", "3"),
    )
    assert (sent.code, served.code) == (0, 0), served.stderr
    assert served.result["frames_in"] == served.result["frames_out"] == 150
    assert not any(served.result["lost"].values())
    assert len(recording(tmp_path, "denoised")) == len(recording(tmp_path, "raw")) == 150


def test_frames_lost_on_the_wire_are_counted_and_logged(tmp_path: Path) -> None:
    sent, served = serve(
        ("simulate", "--frames", "120", "--size", "16", "--rate", "300", "--drop", "0.1"),
        *("--engine", "echo", "--record", tmp_path, "--idle-timeout", "2"),
    )
    dropped = sent.result["dropped"]
    assert dropped > 0
    # A loss at the very end of a series shows only in the end message, as no later frame follows.
    assert served.result["frames_in"] == 120 - dropped
    assert served.result["lost"] == dict.fromkeys(LOST_KEYS, 0) | {"transport": dropped}
    (log,) = tmp_path.glob("*.jsonl")
    gaps = [line for line in read_sidecar(log) if line["kind"] == "gap"]
    assert sum(gap["count"] for gap in gaps) == dropped
    assert {gap["cause"] for gap in gaps} == {"transport"}
    assert len(recording(tmp_path, "denoised")) == 120 - dropped


def test_a_restart_of_the_source_makes_a_second_recording(tmp_path: Path) -> None:
    sent, served = serve(
        ("simulate", "--frames", "60", "--size", "16", "--rate", "200", "--restart", "25"),
        *("--engine", "echo", "--record", tmp_path, "--idle-timeout", "2"),
    )
    assert len(sent.result["series"]) == 3
    lengths = sorted(page_count(path) for path in served.result["recordings"])
    assert lengths == [10, 25, 25]


@pytest.mark.parametrize("engine", ["default", "window", "average"])
def test_live_equals_offline(tmp_path: Path, engine: str) -> None:
    raw, folder, offline = tmp_path / "raw.tif", tmp_path / "session", tmp_path / "offline.tif"
    made, _ = serve(("simulate", "--frames", "45", "--size", "32", "--raw", raw), "--engine", "echo", "--frames", "45")
    assert made.code == 0, made.stderr
    with_engine = () if engine == DEFAULT_ENGINE else ("--engine", engine)
    _, served = serve(("replay", raw, "--scan", "collinear"), "--record", folder, "--idle-timeout", "3", *with_engine)
    assert served.result["frames_out"] == 45, served.stderr
    denoised = run("denoise", raw, offline, "--scan", "collinear", "--json", *with_engine)
    assert denoised.code == 0, denoised.stderr
    assert denoised.result["engine"] == served.result["engine"] == engine
    live = recording(folder, "denoised")
    assert live.dtype == np.int16
    np.testing.assert_array_equal(live, tifffile.imread(offline))
    assert not np.array_equal(live, tifffile.imread(raw)[:, ::2])


def test_a_stabilized_session_equals_offline_and_reports_the_motion(tmp_path: Path) -> None:
    raw, folder, offline = tmp_path / "raw.tif", tmp_path / "session", tmp_path / "offline.tif"
    made, plain = serve(
        ("simulate", "--frames", "40", "--size", "96", "--photons", "2", "--motion", "2", "--raw", raw),
        *("--engine", "average", "--record", tmp_path / "plain", "--frames", "40"),
    )
    assert made.code == 0, made.stderr
    options = ("--engine", "average", "--stabilize")
    _, served = serve(("replay", raw, "--scan", "collinear"), "--record", folder, "--frames", "40", *options)
    denoised = run("denoise", raw, offline, "--scan", "collinear", "--json", *options)
    assert denoised.code == 0, denoised.stderr
    live = recording(folder, "denoised")
    np.testing.assert_array_equal(live, tifffile.imread(offline))
    assert not np.array_equal(live, recording(tmp_path / "plain", "denoised"))
    assert served.result["motion"] == plain.result["motion"] == denoised.result["motion"]
    assert served.result["motion"]["restarted"] >= 1
    (log,) = folder.glob("*.jsonl")
    lines = read_sidecar(log)
    motions = read_motions(lines)
    assert list(motions) == list(range(40))
    statuses = [motion.status for motion in motions.values()]
    counts = {status: statuses.count(status) for status in get_args(MotionStatus)}
    assert counts.items() <= served.result["motion"].items()
    (engine,) = (line for line in lines if line["kind"] == "engine")
    assert (engine["stabilized"], engine["gap"]) == (True, "hold")


def test_denoised_frames_are_published_on_the_same_wire() -> None:
    info = StreamInfo((2, 16, 16), np.dtype("<i2"), 100.0)
    raw = ZmqSink("tcp://127.0.0.1:*", role="raw")
    try:
        with started(
            "serve", "--source", raw.endpoint, "--engine", "echo", "--publish", "tcp://127.0.0.1:*"
        ) as command:
            endpoint = command.process.stderr.readline().removeprefix("publishing on ").strip()
            denoised = ZmqSource(endpoint, topic=b"den/")
            denoised.open()
            try:
                assert raw.wait_for_subscriber(60.0)
                raw.start(info)
                got: list[StreamInfo | Frame] = []
                # Frames sent before the subscription are lost, so send until frames arrive.
                for index in range(2000):
                    raw.put(Frame(index, np.full(info.shape, index, np.int16), t_ns=7 + index))
                    event = denoised.read(0.02)
                    if event is None:
                        continue
                    got.append(event)
                    if isinstance(event, Frame):
                        break
            finally:
                denoised.close()
    finally:
        raw.close()
    described, frame = got[0], got[-1]
    assert isinstance(described, StreamInfo)
    assert (described.shape, described.dtype) == (info.shape, info.dtype)
    assert described.parent == info.series
    assert described.user["engine"] == "echo"
    assert isinstance(frame, Frame)
    np.testing.assert_array_equal(frame.pixels, np.full(info.shape, frame.index, np.int16))


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process alone on Windows")
def test_ctrl_c_flushes_and_prints_the_summary(tmp_path: Path) -> None:
    info = StreamInfo((1, 16, 16), np.dtype("<i2"), 30.0)
    sink = ZmqSink("tcp://127.0.0.1:*", role="raw")
    try:
        options = ("--engine", "echo", "--record", tmp_path, "--json", "--max-latency", "none")
        with started("serve", "--source", sink.endpoint, *options) as command:
            assert sink.wait_for_subscriber(60.0)
            sink.start(info)
            for index in range(20):
                sink.put(Frame(index, np.full(info.shape, index, np.int16)))
            while not list(tmp_path.glob("*_denoised.tif")):
                assert command.process.poll() is None, command.process.stderr.read()
            command.process.send_signal(signal.SIGINT)
            served = command.finish()
    finally:
        sink.close()
    assert served.code == 0, served.stderr
    assert served.result["frames_in"] == served.result["frames_out"] == len(recording(tmp_path, "denoised"))


def test_a_frame_of_another_shape_is_refused_and_the_series_goes_on(tmp_path: Path) -> None:
    info = StreamInfo((1, 16, 16), np.dtype("<i2"), 30.0)
    encoder = Encoder(info)
    messages = [encoder.start()]
    messages += [encoder.frame(Frame(index, np.full(info.shape, index, np.int16))) for index in range(6)]
    messages.append(encoder.end(StreamEnd("done")))
    topic, header, payload = messages[4]
    smaller = msgpack.unpackb(header) | {"shape": [1, 8, 16]}
    messages[4] = [topic, msgpack.packb(smaller), bytes(payload)[: 8 * 16 * 2]]
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        options = ("--engine", "echo", "--record", tmp_path, "--frames", "5", "--json")
        with started("serve", "--source", f"tcp://127.0.0.1:{port}", *options) as command:
            assert socket.poll(60_000), "nobody subscribed"
            for message in messages:
                socket.send_multipart(message)
            served = command.finish()
    assert served.code == 0
    assert "(1, 8, 16)" in served.stderr
    assert served.result["refused"]["mismatched"] == 1
    assert len(recording(tmp_path, "denoised")) == 5
    assert served.result["recordings"] == [str(p) for p in tmp_path.glob("*_denoised.tif")]
