"""The command that shows how a running session does."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from deepbid_rt.cli import app
from deepbid_rt.cli.status import alarms_of, facts_of, status_rows
from deepbid_rt.errors import OptionError, StageError
from deepbid_rt.frame import StreamEnd, StreamInfo
from deepbid_rt.wire.alarm import Alarm
from deepbid_rt.wire.beat_status import BeatStatus
from deepbid_rt.wire.message import BeatMessage
from deepbid_rt.zmq_io import ZmqSink

INFO = StreamInfo((1, 64, 48), np.dtype("<i2"), 30.0, series="day-0001")
STATUS = BeatStatus(
    state="running",
    frames_in=90,
    frames_out=80,
    waiting=3,
    lost={"transport": 4, "engine": 0, "recorder": 2},
    latency_ms={"p50": 11.6, "p95": 30.2},
    engine="default",
    runtime="OpenVINO",
    recording=True,
    disk_free_bytes=60e9,
    record_bytes_per_s=1e7,
    raw_endpoint="tcp://127.0.0.1:5590",
    peers=3,
)


def a_beat(status: BeatStatus = STATUS, **more: object) -> BeatMessage:
    names = ("den", "scope1", "day-0001", 3, 5, "0")
    beat = BeatMessage(*names, info=INFO, last_seq=3, last_fn=2, end=None, status=status.to_map())
    return replace(beat, **more)


@pytest.fixture
def publisher() -> Iterator[ZmqSink]:
    sink = ZmqSink("tcp://127.0.0.1:*", role="den", beat_s=0.02)
    sink.set_status(STATUS.to_map)
    sink.start(INFO)
    yield sink
    sink.close()


def test_the_table_shows_what_a_beat_says() -> None:
    assert status_rows(a_beat()) == [
        ("state", "running"),
        ("source", "scope1, 1x64x48 at 30 Hz, from tcp://127.0.0.1:5590"),
        ("series", "day-0001"),
        ("engine", "default: OpenVINO"),
        ("frames in / out / waiting", "90 / 80 / 3"),
        ("lost", "4 transport, 2 recorder"),
        ("latency p50 / p95", "12 / 30 ms"),
        ("recording", "60.0 GB free, 100 minutes"),
        ("connections", "3"),
    ]


def test_the_table_says_what_strangers_can_do() -> None:
    rows = dict(status_rows(a_beat(replace(STATUS, unprotected="anyone can receive it"))))
    assert rows["UNPROTECTED"] == "anyone can receive it"


def test_a_beat_that_says_nothing_makes_a_table_of_dashes() -> None:
    rows = dict(status_rows(a_beat(BeatStatus(), end=StreamEnd("done"))))
    assert rows["state"] == "unknown"
    assert rows["series"] == "day-0001 (ended)"
    assert rows["frames in / out / waiting"] == "- / - / -"
    assert rows["recording"] == "unknown"


def test_alarms_come_first_and_in_capitals() -> None:
    assert alarms_of(a_beat()) == []
    behind = replace(STATUS, state="behind")
    assert dict(status_rows(a_beat(behind)))["state"] == "BEHIND"
    assert alarms_of(a_beat(behind))[0].startswith("BEHIND: the engine is slower")
    told = replace(behind, alarms=(Alarm("behind", "it is slow"), Alarm("sink", "the raw recorder has failed")))
    assert alarms_of(a_beat(told)) == ["BEHIND: it is slow", "SINK: the raw recorder has failed"]
    assert alarms_of(a_beat(replace(STATUS, disk_free_bytes=3e9))) == ["DISK: full in 5 minutes"]


def test_one_state_as_json(publisher: ZmqSink) -> None:
    done = CliRunner().invoke(app, ["status", publisher.endpoint, "--once", "--json", "--timeout", "60"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["frames_in"] == 90
    assert facts["lost"] == {"transport": 4, "recorder": 2, "engine": 0}
    assert facts["minutes_left"] == pytest.approx(100)
    assert set(facts) == set(facts_of(a_beat()))


def test_one_state_as_a_table_without_a_terminal(publisher: ZmqSink) -> None:
    done = CliRunner().invoke(app, ["status", publisher.endpoint])
    assert done.exit_code == 0, done.output
    assert "90 / 80 / 3" in done.stderr
    assert done.stdout == ""


def test_no_answer_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = CliRunner().invoke(app, ["status", f"tcp://127.0.0.1:{port}", "--once", "--timeout", "0.1"]).exception
    assert isinstance(error, StageError)
    assert str(error).startswith(f"no beat from tcp://127.0.0.1:{port} in 0.1 s; expected a session that publishes")


def test_a_time_limit_needs_once() -> None:
    error = CliRunner().invoke(app, ["status", "--timeout", "3"]).exception
    assert isinstance(error, OptionError)
