"""One session from its plan to its outcome, with stand-ins for source, engine, publisher and page."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from deepbid_rt.cli.session import SessionPlan, run_session, status_line
from deepbid_rt.errors import EngineError, FileError, StageError
from deepbid_rt.frame import Motion, ScanGeometry, StreamEnd
from deepbid_rt.live.event_queue import Overflow
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.motion_stats import MotionStats
from deepbid_rt.live.pipeline import Pipeline
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits, SessionState, SessionStatus
from deepbid_rt.ports import Note
from deepbid_rt.recording.sidecar import Sidecar, read_sidecar
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.runtimes.average import AverageEngine
from deepbid_rt.wire.source_status import SourceStatus
from tests.fakes import FIXED, STREAM_CARD, ListSink, ListSource, SpyEngine, echo_card, raise_, stamped_frames, stream

GUARD_S = 30.0
"""No wait is meant to last; this ends one that does."""
INFO = stream((1, 8, 6), "<i2", ScanGeometry("collinear"))


class Source(ListSource):
    """A `ListSource` that has an address and counts what never came."""

    endpoint = "tcp://scope-pc:5590"

    def status(self):
        return SourceStatus("live", 0, {"source": 1, "transport": 2, "ring": 3}, {}, 0, 0)


class Publisher(ListSink):
    """Keeps what would go out with every beat."""

    def tell(self, report):
        self.report = report


class Page:
    """Keeps what it would show."""

    def __init__(self):
        self.board = self
        self.raw, self.denoised = ListSink(), ListSink()
        self.shown = []

    @contextmanager
    def showing(self, look):
        self.look = look
        self.shown.append(look())
        yield
        self.shown.append(look())


def series(name, count=3, **rest):
    info = replace(INFO, series=name, **rest)
    return [info, *stamped_frames(info, count), StreamEnd("done")]


def session(steps, **plan):
    plan.setdefault("engine", SpyEngine(echo_card(normalization=FIXED), lambda given: given))
    ends = sum(isinstance(step, StreamEnd) for step in steps)
    return run_session(SessionPlan(Source(steps), sha256="00ff", limits=SessionLimits(series=ends), **plan))


def lines_of(log, kind):
    return [line for line in read_sidecar(log) if line["kind"] == kind]


def test_the_log_says_how_each_series_is_denoised_and_what_all_came_to(tmp_path):
    outcome = session([*series("a"), *series("b", 2)], record=tmp_path, merge="forward", gap="hold")
    assert outcome.error is None
    assert outcome.summary | {"latency_ms": None} == {
        "frames_in": 5,
        "frames_out": 5,
        "lost": {"source": 1, "transport": 2, "ring": 3, "engine": 0, "recorder": 0},
        "latency_ms": None,
        "motion": None,
        "line_phase_px": None,
        "aligned_px": 0.0,
        "recordings": [str(tmp_path / f"{name}_denoised.tif") for name in "ab"],
        "engine": "small",
        "sha256": "00ff",
    }
    for name in "ab":
        [note] = lines_of(tmp_path / f"{name}.jsonl", "engine")
        assert {key: note[key] for key in note if key != "t_ns"} == {
            "kind": "engine",
            "name": "small",
            "sha256": "00ff",
            "runtime": "spy",
            "merge": "forward",
            "gap": "hold",
            "stabilized": False,
            "line_phase": "auto",
            "delay_frames": 0,
        }
        [summary] = lines_of(tmp_path / f"{name}.jsonl", "summary")
        assert (summary["frames_in"], summary["error"], len(summary["normalization"])) == (5, None, 2)
        with TiffMovie(tmp_path / f"{name}_denoised.tif", 1) as movie:
            assert movie.shape == (3 if name == "a" else 2, 1, 4, 6)
            assert np.array_equal(movie.frame(0), stamped_frames(INFO, 1)[0].pixels[:, ::2])


def test_a_session_that_is_to_stabilize_needs_an_engine_that_estimates_motion(tmp_path):
    source = Source(series("a"))
    plan = SessionPlan(source, SpyEngine(echo_card()), None, record=tmp_path / "new", stabilize=True)
    with pytest.raises(EngineError, match="does not estimate motion"):
        run_session(plan)
    assert source.opened == 0
    assert not (tmp_path / "new").exists()
    outcome = session(series("b"), engine=AverageEngine(), record=tmp_path, stabilize=True)
    assert outcome.error is None
    [note] = lines_of(tmp_path / "b.jsonl", "engine")
    assert note["stabilized"] is True
    assert [line["info"]["user"].get("stabilized") for line in lines_of(tmp_path / "b.jsonl", "start")] == [None, True]


def test_a_folder_that_cannot_be_written_is_refused_before_the_source_is_opened(tmp_path):
    (tmp_path / "file").write_text("")
    source = Source(series("a"))
    with pytest.raises(FileError):
        run_session(SessionPlan(source, SpyEngine(echo_card()), None, record=tmp_path / "file"))
    assert source.opened == 0


@pytest.mark.parametrize("raw", [False, True])
def test_subscribers_are_told_the_session_as_it_is(tmp_path, raw):
    told, heard = [], threading.Event()

    def put(frame):
        if frame.index == 2:
            told.append(publisher.report())
            heard.set()

    publisher = Publisher(on_put=put)
    *frames, end = series("a")
    steps = [lambda: told.append(publisher.report()), *frames, lambda: heard.wait(GUARD_S), end]
    outcome = session(steps, publish=publisher, record=tmp_path, record_raw=raw)
    assert outcome.error is None
    first, last = told
    assert (first["state"], first["engine"], first["runtime"]) == ("waiting", "small", "spy")
    assert not {"delay_frames", "latency_ms"} & first.keys()
    assert first["record_bytes_per_s"] == 0
    assert last["latency_ms"].keys() == {"p50", "p95"}
    assert (last["state"], last["frames_in"], last["delay_frames"]) == ("running", 3, 0)
    assert (last["raw_endpoint"], last["recording"]) == ("tcp://scope-pc:5590", True)
    assert last["disk_free_bytes"] > 0
    assert last["record_bytes_per_s"] == 30 * 2 * 6 * (4 + 8 * raw)
    assert last["lost"] == {"source": 1, "transport": 2, "ring": 3, "engine": 0, "recorder": 0, "publisher": 0}
    assert len(outcome.summary["recordings"]) == 1 + raw


def test_without_a_folder_nothing_is_said_of_a_disk():
    told = []
    publisher = Publisher(on_put=lambda _: told.append(publisher.report()))
    session(series("a", 1), publish=publisher)
    assert told[0]["recording"] is False
    assert not {"disk_free_bytes", "record_bytes_per_s"} & told[0].keys()


def test_a_disk_that_does_not_say_its_room_ends_no_session(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: raise_(OSError("no answer")))
    told = []
    publisher = Publisher(on_put=lambda _: told.append(publisher.report()))
    assert session(series("a", 1), publish=publisher, record=tmp_path).error is None
    assert "disk_free_bytes" not in told[0]


class WhoPrepares(SpyEngine):
    """Takes whole frames, if that is what it is for, or says why not."""

    def __init__(self, room, look_ahead=0):
        card = replace(STREAM_CARD, normalization=FIXED, look_ahead=look_ahead)
        super().__init__(card, lambda given: given[:1])
        self._room = room

    def open_planes(self, info, merge):
        if not self._room:
            raise EngineError("the GPU has no room for frames of this size", expected="room", todo="take less")
        return [WholeFrames()]


class WholeFrames:
    description = "whole frames on spy, 2 CUDA graphs"

    def set_scale(self, normalizers, bias=None):
        pass

    def set_line_offset(self, line_offset):
        pass

    def reset(self):
        pass

    def skip(self, count):
        pass

    def push(self, pixels):
        return pixels, Note(Motion(0.0, 0.0, 9.0, "tracked"), np.zeros(1))


@pytest.mark.parametrize(
    ("room", "look_ahead", "says"),
    [
        (True, 0, "spy, whole frames on spy, 2 CUDA graphs"),
        (False, 0, "spy, frames prepared on the host: the GPU has no room for frames of this size"),
        (True, 1, "spy, frames prepared on the host: the engine looks ahead"),
    ],
)
def test_who_prepares_the_frames_is_said_in_the_log_to_subscribers_and_on_the_page(
    tmp_path, caplog, room, look_ahead, says
):
    caplog.set_level("INFO")
    page, told = Page(), []
    publisher = Publisher(on_put=lambda _: told.append((publisher.report()["runtime"], page.look().runtime)))
    steps = series("a", scan=ScanGeometry())
    outcome = session(steps, engine=WhoPrepares(room, look_ahead), record=tmp_path, publish=publisher, page=page)
    assert outcome.error is None
    assert outcome.status.frames_out == 3
    assert set(told) == {(says, says)}
    assert f"engine stream: {says}" in caplog.messages
    [note] = lines_of(tmp_path / "a.jsonl", "engine")
    assert note["runtime"] == says
    assert [snapshot.runtime for snapshot in page.shown] == ["spy", says]


def test_the_page_shows_raw_and_denoised_frames_and_the_files(tmp_path):
    page = Page()
    session(series("a"), page=page, record=tmp_path, record_raw=True)
    assert [len(sink.frames) for sink in (page.raw, page.denoised)] == [3, 3]
    assert [sink.frames[0].pixels.shape for sink in (page.raw, page.denoised)] == [(1, 8, 6), (1, 4, 6)]
    before, after = page.shown
    assert (before.status.state, before.recordings, before.engine) == (SessionState.WAITING, [], "small")
    assert (after.status.frames_out, after.source.state) == (3, "live")
    assert [path.rpartition("_")[2] for path in after.recordings] == ["denoised.tif", "raw.tif"]
    assert after.lost["ring"] == 3


def test_a_recorder_that_loses_frames_is_counted_as_such(tmp_path, monkeypatch):
    def put(self, frame):
        raise StageError("a full disk", expected="room", todo="make some")

    monkeypatch.setattr("deepbid_rt.recording.recorder.Recorder.put", put)
    outcome = session(series("a"), record=tmp_path)
    assert str(outcome.error).startswith("a full disk")
    assert outcome.summary["lost"]["recorder"] > 0
    assert outcome.summary["error"] == str(outcome.error)
    assert lines_of(tmp_path / "a.jsonl", "summary")[0]["error"] == str(outcome.error)


def test_frames_the_engine_gave_up_are_counted_as_such():
    def answer(given):
        raise StageError("the GPU failed", expected="a GPU", todo="see nvidia-smi")

    outcome = session(series("a", 2), engine=SpyEngine(echo_card(normalization=FIXED), answer))
    assert str(outcome.error).startswith("the GPU failed")
    assert outcome.summary["lost"]["engine"] == outcome.summary["frames_in"] > 0


def test_a_log_that_cannot_be_closed_is_an_error_unless_another_came_first(tmp_path, monkeypatch):
    refused = StageError("the disk is full", expected="room", todo="make some")
    monkeypatch.setattr("deepbid_rt.recording.sidecar.Sidecar.close", lambda *_a, **_k: raise_(refused))
    outcome = session(series("a"), record=tmp_path)
    assert (outcome.error, outcome.summary["error"]) == (refused, str(refused))
    first = StageError("the cable was drawn", expected="a cable", todo="put it back")
    broken = [*series("b")[:2], first]
    outcome = run_session(
        SessionPlan(Source(broken), SpyEngine(echo_card()), None, record=tmp_path, limits=SessionLimits(series=1))
    )
    assert outcome.error is first


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to oneself ends the process on Windows")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_ctrl_c_ends_a_session_and_the_second_breaks_through(number):
    caught = []
    before = signal.signal(number, lambda *_: caught.append("outside"))
    try:
        steps = [
            replace(INFO, series="a"),
            *(replace(frame, arrived_ns=1) for frame in stamped_frames(INFO, 3)),
            lambda: os.kill(os.getpid(), number),
            lambda: caught.append("inside"),
            lambda: os.kill(os.getpid(), number),
        ]
        limits = SessionLimits(idle_s=GUARD_S)
        outcome = run_session(
            SessionPlan(Source(steps), SpyEngine(echo_card(normalization=FIXED)), None, limits=limits)
        )
        assert caught == ["inside", "outside"]
        assert (outcome.error, outcome.status.state) == (None, SessionState.DONE)
        assert outcome.status.frames_out == 3
        os.kill(os.getpid(), number)
        assert caught[2:] == ["outside"]
    finally:
        signal.signal(number, before)


def test_a_session_that_ends_by_itself_leaves_signals_as_they_were():
    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.getsignal(number) for number in numbers]
    assert session(series("a")).error is None
    assert [signal.getsignal(number) for number in numbers] == before


def test_how_many_frames_may_wait_and_stand_in_a_file_is_handed_on(tmp_path, monkeypatch):
    made, lags = {}, []

    def outlet(name, sink, *rest, **more):
        made[name] = rest
        return SinkSettings(name, sink, *rest, **more)

    def pipeline(*args, lag_frames, **rest):
        lags.append(lag_frames)
        return Pipeline(*args, lag_frames=lag_frames, **rest)

    monkeypatch.setattr("deepbid_rt.cli.session.SinkSettings", outlet)
    monkeypatch.setattr("deepbid_rt.cli.session.Pipeline", pipeline)
    ways = {"record_raw": True, "roll_frames": 2, "lag_frames": 11, "recorder_frames": 7}
    outcome = session(series("a"), record=tmp_path, **ways)
    assert lags == [11]
    kept = made.pop("the denoised recorder"), made.pop("the raw recorder")
    assert kept == ((Overflow.FAIL, 7),) * 2
    assert made == {"the line phase": ()}, "what only looks may lose frames"
    assert sorted(path.rpartition("a_")[2] for path in outcome.summary["recordings"]) == [
        *(f"denoised_0000{n}.tif" for n in (1, 2)),
        *(f"raw_0000{n}.tif" for n in (1, 2)),
    ]


def test_latencies_are_written_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("deepbid_rt.cli.session_log.NOTE_EVERY_S", 0.001)
    noted, note = threading.Event(), Sidecar.note

    def listen(self, kind, /, **rest):
        note(self, kind, **rest)
        if kind == "latency":
            noted.set()

    monkeypatch.setattr(Sidecar, "note", listen)
    *frames, end = series("a")
    session([*frames, lambda: noted.wait(GUARD_S), end], record=tmp_path)
    assert noted.is_set()


# The line that people see.


def status(*verdicts):
    tally = MotionStats()
    for verdict in verdicts:
        tally.add(Motion(1.26, -0.44, 9.0, verdict))
    return SessionStatus(
        SessionState.RUNNING, 9, 8, 1.0, 1, {"publisher": 2}, 3, 0, {"total": LatencyHistogram()}, tally
    )


def test_the_line_counts_every_loss():
    assert (
        status_line(status(), {"source": 1, "recorder": 5})
        == "running  in 9  out 8  lost 6  waiting 0  latency p50 - ms  p99 - ms"
    )


def test_the_line_tells_the_last_shift_and_what_was_not_tracked():
    assert status_line(status("restarted", "tracked"), {}).endswith("p99 - ms  shift +1.3 -0.4 px  restarted 1")
    assert status_line(status("held", "held", "foreign"), {}).endswith("px  held 2  foreign 1")
