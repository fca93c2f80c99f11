"""A session from its settings to its report, with stand-ins for source, engine and publisher."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from deepbid_rt.denoising.device import FrameStats
from deepbid_rt.errors import EngineError, FileError, StageError, StreamError
from deepbid_rt.frame import Gap, Motion, ScanGeometry, StreamEnd
from deepbid_rt.live import session_log
from deepbid_rt.live.pipeline import Pipeline
from deepbid_rt.live.session import Session, SessionSettings
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits, SessionState
from deepbid_rt.recording.sidecar import Sidecar, read_sidecar
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.runtimes.average import AverageEngine
from deepbid_rt.wire.publisher_status import PublisherStatus
from deepbid_rt.wire.source_status import SourceStatus
from tests.fakes import FIXED, STREAM_CARD, ListSink, ListSource, SpyEngine, echo_card, raise_, stamped_frames, stream

GUARD_S = 30.0
"""Limit of every wait in these tests; a passing test does not reach it."""
INFO = stream((1, 8, 6), "<i2", ScanGeometry("collinear"))


class Source(ListSource):
    """A `ListSource` that has an address and counts what never came."""

    endpoint = "tcp://scope-pc:5590"

    def status(self):
        count = self.frames_read + 3
        return SourceStatus("live", count, {"source": 1, "transport": 2, "ring": 3}, {}, {}, 0, arrived=count)


class Publisher(ListSink):
    """Keeps the status that beats would carry."""

    def set_status(self, status):
        self.beat = status

    def status(self):
        return PublisherStatus(peers=2, unprotected="anyone can receive it")


def series(name, count=3, **rest):
    info = replace(INFO, series=name, **rest)
    return [info, *stamped_frames(info, count), StreamEnd("done")]


def a_session(steps, *, engine=None, publisher=None, raw=(), denoised=(), **settings):
    ends = sum(isinstance(step, StreamEnd) for step in steps)
    return Session(
        Source(steps),
        engine or SpyEngine(echo_card(normalization=FIXED), lambda given: given),
        SessionSettings(limits=SessionLimits(series=ends or None), **settings),
        sha256="00ff",
        publisher=publisher,
        raw=raw,
        denoised=denoised,
    )


def failing_run(session):
    with pytest.raises(StageError) as failed:
        session.run()
    return failed.value


def test_frames_of_which_none_could_be_used_are_an_error(tmp_path):
    class Undescribed(Source):
        def status(self):
            return SourceStatus("undescribed", 0, {"source": 0}, {}, {"undescribed": 7, "late": 0}, 0)

    engine = SpyEngine(echo_card(normalization=FIXED))
    settings = SessionSettings(record=tmp_path, limits=SessionLimits(idle_s=0.01))
    session = Session(Undescribed([]), engine, settings)
    with pytest.raises(StreamError) as refused:
        session.run()
    assert str(refused.value) == (
        "7 frames, none of which could be used (7 undescribed); expected frames whose series a start message or a beat "
        "describes; check that the sender sends a start message and a beat every second."
    )
    assert session.report().summary()["refused"] == {"undescribed": 7, "late": 0}


def log_of(folder, series):
    [path] = folder.glob(f"*_{series}.jsonl")
    return path


def lines_of(log, kind):
    return [line for line in read_sidecar(log) if line["kind"] == kind]


def test_the_log_says_how_each_series_is_denoised_and_ends_with_the_totals(tmp_path):
    session = a_session([*series("a"), *series("b", 2)], record=tmp_path, merge="forward", gap="hold")
    report = session.run()
    assert report.summary() | {"latency_ms": None} == {
        "frames_in": 5,
        "frames_out": 5,
        "inside": 0,
        "duplicates": 0,
        "lost": {"source": 1, "transport": 2, "ring": 3, "engine": 0, "skipped": 0, "recorder": 0},
        "refused": {},
        "unexplained": 0,
        "alarms": [],
        "latency_ms": None,
        "clock_problem": None,
        "picture": report.picture.summary(),
        "motion": None,
        "line_phase_px": None,
        "aligned_px": 0.0,
        "recordings": [str(next(tmp_path.glob(f"*_{name}_denoised.tif"))) for name in "ab"],
        "engine": "small",
        "sha256": "00ff",
        "unprotected": [],
    }
    for name in "ab":
        [line] = lines_of(log_of(tmp_path, name), "engine")
        assert {key: line[key] for key in line if key != "t_ns"} == {
            "kind": "engine",
            "name": "small",
            "sha256": "00ff",
            "runtime": "spy",
            "merge": "forward",
            "gap": "hold",
            "stabilized": False,
            "line_phase": "auto",
            "denoise_channels": None,
            "delay_frames": 0,
        }
        [summary] = lines_of(log_of(tmp_path, name), "summary")
        assert (summary["frames_in"], summary["error"], len(summary["normalization"])) == (5, None, 2)
        with TiffMovie(next(tmp_path.glob(f"*_{name}_denoised.tif")), 1) as movie:
            assert movie.shape == (3 if name == "a" else 2, 1, 4, 6)
            assert np.array_equal(movie.frame(0), stamped_frames(INFO, 1)[0].pixels[:, ::2])


def test_stabilizing_needs_an_engine_that_estimates_motion(tmp_path):
    with pytest.raises(EngineError, match="does not estimate motion"):
        a_session(series("a"), engine=SpyEngine(echo_card()), record=tmp_path / "new", stabilize=True)
    assert not (tmp_path / "new").exists()
    a_session(series("b"), engine=AverageEngine(), record=tmp_path, stabilize=True).run()
    [line] = lines_of(log_of(tmp_path, "b"), "engine")
    assert line["stabilized"] is True
    starts = lines_of(log_of(tmp_path, "b"), "start")  # in any order: two threads write them
    assert {line["info"]["user"].get("stabilized") for line in starts} == {None, True}


def test_a_folder_that_cannot_be_written_is_refused_before_the_session_runs(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError):
        a_session(series("a"), record=tmp_path / "file")


@pytest.mark.parametrize("raw", [False, True])
def test_beats_carry_the_status_of_the_session(tmp_path, raw):
    statuses, third_published = [], threading.Event()

    def put(frame):
        if frame.index == 2:
            statuses.append(publisher.beat())
            third_published.set()

    publisher = Publisher(on_put=put)
    *frames, end = series("a")
    steps = [lambda: statuses.append(publisher.beat()), *frames, lambda: third_published.wait(GUARD_S), end]
    report = a_session(steps, publisher=publisher, record=tmp_path, record_raw=raw).run()
    first, last = statuses
    assert (first["state"], first["engine"], first["runtime"]) == ("waiting", "small", "spy")
    assert not {"delay_frames", "latency_ms"} & first.keys()
    assert first["record_bytes_per_s"] == 0
    assert last["latency_ms"].keys() == {"p50", "p95"}
    assert (last["state"], last["frames_in"], last["delay_frames"]) == ("running", 3, 0)
    assert (last["raw_endpoint"], last["recording"]) == ("tcp://scope-pc:5590", True)
    assert last["disk_free_bytes"] > 0
    assert (last["peers"], last["unprotected"]) == (2, "anyone can receive it")
    assert last["record_bytes_per_s"] == 30 * 2 * 6 * (4 + 8 * raw)
    assert last["lost"] == {"source": 1, "transport": 2, "ring": 3, "engine": 0, "skipped": 0, "recorder": 0} | {
        "publisher": 0
    }
    assert [path.rpartition("_")[2] for path in report.recordings] == ["denoised.tif", "raw.tif"][: 1 + raw]


def test_without_a_recording_beats_do_not_mention_the_disk():
    statuses = []
    publisher = Publisher(on_put=lambda _: statuses.append(publisher.beat()))
    a_session(series("a", 1), publisher=publisher).run()
    assert statuses[0]["recording"] is False
    assert not {"disk_free_bytes", "record_bytes_per_s"} & statuses[0].keys()


def test_a_disk_that_does_not_report_its_free_space_does_not_end_the_session(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: raise_(OSError("no answer")))
    statuses = []
    publisher = Publisher(on_put=lambda _: statuses.append(publisher.beat()))
    a_session(series("a", 1), publisher=publisher, record=tmp_path).run()
    assert "disk_free_bytes" not in statuses[0]


class DeviceEngineSpy(SpyEngine):
    """Offers to prepare whole frames on its device, or raises the reason why it cannot."""

    def __init__(self, room, look_ahead=0):
        card = replace(STREAM_CARD, normalization=FIXED, look_ahead=look_ahead)
        super().__init__(card, lambda given: given[:1])
        self._room = room

    def open_planes(self, info, merge):
        if not self._room:
            raise EngineError("the GPU has no room for frames of this size", expected="room", todo="take less")
        return [EchoFramePipeline()]


class EchoFramePipeline:
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
        return pixels, FrameStats(Motion(0.0, 0.0, 9.0, "tracked"), np.zeros(1))


@pytest.mark.parametrize(
    ("room", "look_ahead", "runtime"),
    [
        (True, 0, "spy, whole frames on spy, 2 CUDA graphs"),
        (False, 0, "spy, frames prepared on the host: the GPU has no room for frames of this size"),
        (True, 1, "spy, frames prepared on the host: the engine looks ahead"),
    ],
)
def test_log_beats_and_report_say_where_frames_are_prepared(tmp_path, caplog, room, look_ahead, runtime):
    caplog.set_level("INFO")
    runtimes = []
    publisher = Publisher(on_put=lambda _: runtimes.append((publisher.beat()["runtime"], session.report().runtime)))
    steps = series("a", scan=ScanGeometry())
    session = a_session(steps, engine=DeviceEngineSpy(room, look_ahead), record=tmp_path, publisher=publisher)
    assert session.report().runtime == "spy"
    report = session.run()
    assert report.status.frames_out == 3
    assert set(runtimes) == {(runtime, runtime)}
    assert f"engine stream: {runtime}" in caplog.messages
    [line] = lines_of(log_of(tmp_path, "a"), "engine")
    assert line["runtime"] == runtime
    assert report.runtime == runtime


def test_further_sinks_get_raw_and_denoised_frames_after_the_publisher():
    raw, denoised = ListSink(), ListSink()
    report = a_session(
        series("a"),
        publisher=Publisher(),
        raw=[SinkSettings("mine, raw", raw)],
        denoised=[SinkSettings("mine", denoised)],
    ).run()
    assert [sink.frames[0].pixels.shape for sink in (raw, denoised)] == [(1, 8, 6), (1, 4, 6)]
    assert (len(raw.frames), len(denoised.frames), raw.closed, denoised.closed) == (3, 3, 1, 1)
    assert list(report.status.latency) == ["transport", "queue", "engine", "publisher", "mine", "total"]


def test_a_source_without_counters_is_reported_from_what_the_pipeline_counts():
    frames = stamped_frames(INFO, 3)
    steps = [INFO, frames[0], Gap(1, 1, "source"), frames[2], StreamEnd("done")]
    session = Session(
        ListSource(steps), SpyEngine(echo_card(normalization=FIXED)), SessionSettings(limits=SessionLimits(series=1))
    )
    assert session.report().source.state == "waiting"
    report = session.run()
    assert (report.source.state, report.source.received, report.raw_endpoint) == ("ended", 2, None)
    assert report.lost == {"source": 1, "transport": 0, "ring": 0, "engine": 0, "skipped": 0, "recorder": 0}


def test_stopping_ends_a_session_without_an_error():
    frames = [replace(frame, arrived_ns=1) for frame in stamped_frames(INFO, 3)]
    session = a_session([INFO, *frames, lambda: session.stop()])
    report = session.run()
    assert (report.status.state, report.status.frames_out) == (SessionState.DONE, 3)


def test_frames_lost_by_a_recorder_are_counted_under_its_cause(tmp_path, monkeypatch):
    def put(self, frame):
        raise StageError("a full disk", expected="room", todo="make some")

    monkeypatch.setattr("deepbid_rt.recording.recorder.Recorder.put", put)
    session = a_session(series("a"), record=tmp_path)
    error = failing_run(session)
    assert str(error).startswith("a full disk")
    assert session.report().lost["recorder"] > 0
    assert lines_of(log_of(tmp_path, "a"), "summary")[0]["error"] == str(error)


def test_an_engine_that_fails_is_named_and_loses_nothing():
    def answer(given):
        raise StageError("the GPU failed", expected="a GPU", todo="see nvidia-smi")

    session = a_session(series("a", 2), engine=SpyEngine(echo_card(normalization=FIXED), answer))
    assert str(failing_run(session)).startswith("the GPU failed")
    summary = session.report().summary()
    assert summary["lost"]["engine"] == 0
    assert summary["frames_out"] == summary["frames_in"] == 2, "they pass through"
    assert [alarm["kind"] for alarm in summary["alarms"]] == ["safe-mode"]


def test_a_log_that_cannot_be_closed_is_an_error_unless_another_came_first(tmp_path, monkeypatch):
    refused = StageError("the disk is full", expected="room", todo="make some")
    monkeypatch.setattr("deepbid_rt.recording.sidecar.Sidecar.close", lambda *_a, **_k: raise_(refused))
    assert failing_run(a_session(series("a"), record=tmp_path)) is refused
    first = StageError("the cable was drawn", expected="a cable", todo="put it back")
    assert failing_run(a_session([*series("b")[:2], first, StreamEnd("done")], record=tmp_path)) is first


def test_queue_lengths_and_frames_per_file_are_passed_on(tmp_path, monkeypatch):
    made, lags = {}, []

    def sink_settings(name, sink, *rest, **more):
        made[name] = (*rest, more)
        return SinkSettings(name, sink, *rest, **more)

    def pipeline(*args, lag_frames, **rest):
        lags.append(lag_frames)
        return Pipeline(*args, lag_frames=lag_frames, **rest)

    monkeypatch.setattr("deepbid_rt.live.session.SinkSettings", sink_settings)
    monkeypatch.setattr("deepbid_rt.live.session.Pipeline", pipeline)
    settings = {"record_raw": True, "roll_frames": 2, "lag_frames": 11, "recorder_s": 7.0}
    report = a_session(series("a"), record=tmp_path, **settings).run()
    assert lags == [11]
    recorders = made.pop("the denoised recorder"), made.pop("the raw recorder")
    assert recorders == (({"capacity_s": 7.0},),) * 2
    assert made.keys() == {"the line phase", "the picture watch"}
    assert sorted(path.rpartition("a_")[2] for path in report.recordings) == [
        *(f"denoised_0000{n}.tif" for n in (1, 2)),
        *(f"raw_0000{n}.tif" for n in (1, 2)),
    ]


def test_totals_are_written_while_the_session_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(session_log, "TOTALS_EVERY_S", 0.001)
    written, write = threading.Event(), Sidecar.write

    def spy(self, kind, /, **rest):
        write(self, kind, **rest)
        if kind == "total":
            written.set()

    monkeypatch.setattr(Sidecar, "write", spy)
    *frames, end = series("a")
    a_session([*frames, lambda: written.wait(GUARD_S), end], record=tmp_path).run()
    assert written.is_set()
