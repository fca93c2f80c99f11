"""Refusals of the command line: one sentence, exit code 2, and no incomplete files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
import zmq

from deepbid_rt.card import METADATA_KEY
from deepbid_rt.frame import Frame, ScanGeometry, StreamInfo
from deepbid_rt.runtimes import DEFAULT_ENGINE, find_engine
from deepbid_rt.wire.codec import Encoder
from deepbid_rt.zmq_io import ZmqSink
from tests.e2e.commands import run, started


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, np.zeros((20, 16, 16), np.int16))
    return path


def refused(*args: str | Path) -> str:
    finished = run(*args)
    assert finished.code == 2, finished.stderr
    lines = [line for line in finished.stderr.splitlines() if line.startswith("deepbid-rt: ")]
    assert len(lines) == 1, finished.stderr
    assert "Traceback" not in finished.stderr
    return lines[0].removeprefix("deepbid-rt: ")


def test_engine_that_does_not_exist(movie: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.onnx"
    assert refused("denoise", movie, tmp_path / "out.tif", "--engine", missing) == (
        f"no engine file at {missing}; expected an .onnx file written by deepbid-rt export; "
        "check the path, or name a shipped engine."
    )
    assert "no engine named 'nonsense'" in refused("serve", "--source", "tcp://127.0.0.1:9", "--engine", "nonsense")
    assert not (tmp_path / "out.tif").exists()


def test_stabilizing_with_an_engine_that_does_not_estimate_motion(movie: Path, tmp_path: Path) -> None:
    message = "registration with engine 'echo' of kind echo, which does not estimate motion"
    options = ("--engine", "echo", "--stabilize")
    assert refused("denoise", movie, tmp_path / "out.tif", *options).startswith(message)
    assert refused("serve", "--source", "tcp://127.0.0.1:9", "--record", tmp_path / "s", *options).startswith(message)
    assert refused("demo", "--out", tmp_path / "demo", *options).startswith(message)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [movie.name]


@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_damaged_engine(movie: Path, tmp_path: Path, damage: str) -> None:
    whole = find_engine(DEFAULT_ENGINE).read_bytes()
    engine = tmp_path / "damaged.onnx"
    engine.write_bytes({"cut": whole[: len(whole) // 2], "noise": bytes(range(256)) * 40, "empty": b""}[damage])
    assert str(engine) in refused("denoise", movie, tmp_path / "out.tif", "--engine", engine)
    assert not list(tmp_path.glob("out*"))


def test_export_of_a_network_that_answers_one_and_the_same(tmp_path: Path) -> None:
    from deepbid_rt.train.checkpoint import BEST, Checkpoint, save_checkpoint
    from deepbid_rt.train.network import make_net
    from tests.training import TINY

    weights = make_net(TINY).state_dict()
    checkpoint = Checkpoint(TINY, ("x collinear",), 12, weights, weights, {}, 1.01, 1.01, 12, response=0.0)
    save_checkpoint(tmp_path / BEST, checkpoint)
    assert refused("export", tmp_path, "-o", tmp_path / "model.onnx") == (
        f"{tmp_path / BEST}, a network that collapsed: its outputs on held-out frames vary by 0 of the noise; expected "
        "outputs that vary by 0.001 standard deviations of the noise or more; train again into an empty folder, at a "
        "lower learning_rate, with another seed or on brighter recordings."
    )
    assert [path.name for path in tmp_path.iterdir()] == [BEST]


def test_engine_trained_for_another_scan(movie: Path, tmp_path: Path) -> None:
    model = onnx.load(find_engine("window"))
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    card = json.loads(entry.value) | {"scan": ["collinear"], "name": "lines"}
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(card)})  # the digest would not fit any more
    engine, folder = tmp_path / "lines.onnx", tmp_path / "session"
    onnx.save(model, engine)
    with started("replay", movie, "--bind", "tcp://127.0.0.1:*", "--wait") as replay:
        options = ("--record", folder, "--record-raw", "--idle-timeout", "3", "--json")
        finished = run("serve", "--source", replay.line(), "--engine", engine, *options)
    message = finished.stderr.splitlines()[-1].removeprefix("deepbid-rt: ")
    assert finished.code == 2
    assert message == (
        "engine 'lines' was trained for collinear scans and the stream is ordinary; expected an engine trained for the "
        "stream's scan; choose another engine, or correct the layout of the scan."
    )
    assert finished.result["frames_out"] == finished.result["frames_in"] > 0, "raw frames pass through"
    assert [alarm["kind"] for alarm in finished.result["alarms"]] == ["safe-mode"]
    assert len(list(folder.glob("*_raw.tif"))) == 1


def test_recording_folder_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    message = refused("serve", "--source", "tcp://127.0.0.1:9", "--engine", "echo", "--record", blocked / "folder")
    assert str(blocked / "folder") in message


def test_port_in_use(movie: Path) -> None:
    sink = ZmqSink("tcp://127.0.0.1:*", role="raw")
    try:
        serve = ("serve", "--source", "tcp://127.0.0.1:9", "--engine", "echo", "--publish", sink.endpoint)
        assert sink.endpoint in refused(*serve)
        assert sink.endpoint in refused("replay", movie, "--bind", sink.endpoint)
        assert sink.endpoint in refused("simulate", "--size", "16", "--frames", "1", "--bind", sink.endpoint)
    finally:
        sink.close()


def test_publishing_beyond_this_computer_needs_consent(movie: Path) -> None:
    assert "insecure" in refused("replay", movie, "--bind", "tcp://0.0.0.0:*")


def test_malformed_addresses() -> None:
    assert "nonsense" in refused("serve", "--source", "nonsense", "--engine", "echo")


def test_inputs_that_are_not_movies(tmp_path: Path) -> None:
    text = tmp_path / "text.tif"
    text.write_text("not a movie")
    assert str(text) in refused("denoise", text, tmp_path / "out.tif", "--engine", "echo")
    assert str(tmp_path / "none.tif") in refused("replay", tmp_path / "none.tif")
    assert str(text) in refused("evaluate", text, "--truth", text)
    assert not list(tmp_path.glob("out*"))


def test_evaluate_refuses_in_one_sentence(tmp_path: Path) -> None:
    """Faults of the movies themselves are tested with `evaluate`."""
    good, flat, none = (tmp_path / f"{name}.tif" for name in ("good", "flat", "none"))
    tifffile.imwrite(good, np.random.default_rng(0).normal(100, 9, (20, 16, 16)).astype(np.float32))
    tifffile.imwrite(flat, np.full((20, 16, 16), 7, np.int16))
    assert "no movie to evaluate" in refused("evaluate", "--truth", good)
    assert "two movies to evaluate" in refused("evaluate", good, "--denoised", good, "--truth", good)
    assert str(none) in refused("evaluate", good, "--truth", none)
    assert "the movie with 7 counts in every pixel" in refused("evaluate", flat, "--truth", good)
    assert "of 20 pages" in refused("evaluate", good, "--truth", good, "--cells", good)
    cells = tmp_path / "cells.tif"
    tifffile.imwrite(cells, np.eye(16, dtype=np.uint8))
    assert str(none) in refused("evaluate", good, "--truth", good, "--cells", cells, "--traces", none)


def test_output_is_never_overwritten(movie: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    out.write_bytes(b"precious")
    assert "exists already" in refused("denoise", movie, out, "--engine", "echo")
    assert out.read_bytes() == b"precious"


def test_unknown_options_are_refused(movie: Path) -> None:
    finished = run("serve", "--source", "tcp://127.0.0.1:9", "--nonsense", "1")
    assert finished.code == 2
    assert "--nonsense" in finished.stderr


def test_contradictory_scan(movie: Path, tmp_path: Path) -> None:
    message = refused(
        "denoise", movie, tmp_path / "o.tif", "--scan", "collinear", "--unidirectional", "--engine", "echo"
    )
    assert "a collinear scan that is not bidirectional" in message


def test_a_sender_that_describes_no_series_is_named_and_its_frames_are_counted() -> None:
    """Frames arrive, and no start or beat: a session that used none of them does not end as if all were well."""
    context = zmq.Context()
    sender = context.socket(zmq.XPUB)
    port = sender.bind_to_random_port("tcp://127.0.0.1")
    encoder = Encoder(StreamInfo((1, 16, 16), np.dtype("<i2"), 30.0, ScanGeometry()))
    encoder.start()  # is never sent
    serve = ("serve", "--source", f"tcp://127.0.0.1:{port}", "--engine", "echo", "--idle-timeout", "1", "--json")
    try:
        with started(*serve) as session:
            index = 0
            while session.process.poll() is None:
                sender.send_multipart(encoder.frame(Frame(index, np.zeros((1, 16, 16), "<i2"))))
                sender.poll(20)  # subscriptions arrive here; otherwise the pause between two frames
                while sender.poll(0):
                    sender.recv()
                index += 1
            finished = session.finish()
    finally:
        sender.close(0)
        context.term()
    assert finished.code == 2, finished.stderr
    assert "none of which could be used" in finished.stderr
    assert "frames of scope1 arrive" in " ".join(finished.stderr.split())  # the log wraps its lines
    assert finished.result["frames_in"] == 0
    assert finished.result["refused"]["undescribed"] > 0
