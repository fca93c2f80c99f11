"""The loop that all connectors share."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from deepbid_rt import relay as module
from deepbid_rt.errors import StageError, StreamError
from deepbid_rt.frame import Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.relay import add_scan_options, parser, relay, scan_of
from deepbid_rt.zmq_io import ZmqSource
from tests import ROOT
from tests.fakes import ListSink, ListSource, stamped_frames, stream

INFO = stream((2, 8, 16))


def played(steps, **rest):
    source, sink, said = ListSource(steps), ListSink(), []
    summary = relay(source, sink, threading.Event(), say=said.append, **rest)
    return source, sink, said, summary


def test_series_frames_and_gaps_are_published_in_order():
    frames = stamped_frames(INFO, 5)
    steps = [INFO, *frames[:2], Gap(2, 1, "source"), *frames[3:], StreamEnd("done"), None, INFO, StreamEnd("timeout")]
    source, sink, said, summary = played(steps, series=2)
    assert [type(event) for event in sink.events] == [
        StreamInfo, Frame, Frame, Gap, Frame, Frame, StreamEnd, StreamInfo, StreamEnd,
    ]  # fmt: skip
    assert (summary.series, summary.frames, summary.lost) == (2, 4, 1)
    assert (source.opened, source.closed) == (1, 1)
    assert said == [
        "series 1: 2 x 8 x 16 int16 at 30 frames/s",
        "series 1 ended (done): 4 frames, 1 lost before the relay",
        "series 2: 2 x 8 x 16 int16 at 30 frames/s",
        "series 2 ended (timeout): 0 frames, 0 lost before the relay",
    ]


def test_a_series_that_begins_before_the_last_one_ended_replaces_it():
    _, sink, _, summary = played([INFO, *stamped_frames(INFO, 1), INFO, StreamEnd("done")], series=2)
    assert [event.reason for event in sink.events if isinstance(event, StreamEnd)] == ["replaced", "done"]
    assert summary.series == 2


def test_a_stop_ends_the_series_as_aborted():
    stop = threading.Event()
    source, sink = ListSource([INFO, *stamped_frames(INFO, 1), stop.set, None]), ListSink()
    relay(source, sink, stop)
    assert sink.events[-1] == StreamEnd("abort")
    assert source.closed == 1


@pytest.mark.parametrize("error", [StageError("x", expected="y", todo="z"), ZeroDivisionError()])
def test_a_source_that_fails_ends_the_series_with_an_error_after_all_its_frames(error):
    source, sink = ListSource([INFO, *stamped_frames(INFO, 3), error]), ListSink()
    with pytest.raises(type(error)):
        relay(source, sink, threading.Event())
    assert [type(event) for event in sink.events] == [StreamInfo, Frame, Frame, Frame, StreamEnd]
    assert sink.events[-1] == StreamEnd("error")
    assert source.closed == 1


def test_options_describe_the_scan():
    made = parser("Reads.")
    add_scan_options(made, mirrored=False, first="backward")
    assert scan_of(made.parse_args([])) == ScanGeometry(first="backward", mirrored=False)
    given = made.parse_args(["--scan", "collinear", "--first", "forward", "--mirrored"])
    assert scan_of(given) == ScanGeometry("collinear")
    with pytest.raises(StreamError):
        scan_of(made.parse_args(["--scan", "collinear", "--no-bidirectional"]))


def run_with(source, *arguments):
    return module.run(lambda: source, parser("Reads.").parse_args(["--bind", "tcp://127.0.0.1:0", *arguments]))


def test_run_prints_address_series_and_summary(capsys):
    assert run_with(ListSource([INFO, *stamped_frames(INFO, 2), StreamEnd("done")]), "--series", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("publishing on tcp://127.0.0.1:")
    assert json.loads(lines[-1]) == {"series": 1, "frames": 2, "lost": 0}


def test_run_says_in_one_sentence_what_is_refused_and_what_failed(capsys):
    refusal = StreamError("a ruler", expected="a microscope", todo="connect one")
    assert run_with(ListSource([], refuse=refusal)) == 2
    assert capsys.readouterr().err == f"error: {refusal}\n"
    assert run_with(ListSource([INFO, StageError("smoke", expected="none", todo="open a window")])) == 1
    assert "smoke" in capsys.readouterr().err


CONNECTOR = """
import sys
for name in ("tifffile", "scipy", "psutil", "typer", "rich", "openvino", "skimage", "torch"):
    sys.modules[name] = None
from deepbid_rt.relay import parser, run
from tests.fakes import ListSource, stamped_frames, stream
info = stream((1, 8, 16))
sys.exit(run(lambda: ListSource([info, *stamped_frames(info, 3)]), parser("Reads.").parse_args()))
"""


@pytest.mark.parametrize("one", [signal.SIGINT, signal.SIGTERM])
def test_a_connector_needs_few_packages_and_stops_when_asked(one):
    """The process waits for a subscriber first, so that this test gets every frame."""
    command = [sys.executable, "-c", CONNECTOR, "--bind", "tcp://127.0.0.1:0", "--wait", "60", "--name", "rig7"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        try:
            source = ZmqSource(process.stdout.readline().removeprefix("publishing on ").strip())
            source.open()
            try:
                events, until_s = [], time.monotonic() + 60
                while len(events) < 4 and time.monotonic() < until_s:
                    event = source.read(1)
                    events += [event] if event is not None else []
                assert events[0].source == "rig7"
                assert [event.index for event in events[1:]] == [0, 1, 2]
                process.send_signal(one)
                while not isinstance(event, StreamEnd) and time.monotonic() < until_s:
                    event = source.read(1)
                assert event == StreamEnd("abort")
            finally:
                source.close()
            assert process.wait(60) == 0
            assert json.loads(process.stdout.read().splitlines()[-1])["frames"] == 3
        finally:
            process.kill()
