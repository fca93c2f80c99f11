"""The lines that a session writes to its log while it runs."""

import threading

import pytest

from deepbid_rt.errors import FileError, StageError
from deepbid_rt.live import session_log
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.motion_stats import MotionStats
from deepbid_rt.live.session_log import SessionLog
from deepbid_rt.live.status import SessionState, SessionStatus
from deepbid_rt.recording.sidecar import read_sidecar
from tests.fakes import raise_, stream

GUARD_S = 30.0
"""Limit of every wait in these tests; a passing test does not reach it."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(session_log, "LATENCY_EVERY_S", 0.001)


class CountingStatus:
    """Returns the status of a session and counts the calls."""

    def __init__(self):
        self.enough = threading.Event()
        self.count = 0

    def __call__(self):
        self.count += 1
        if self.count == 3:
            self.enough.set()
        return SessionStatus(SessionState.RUNNING, 9, 8, 1.0, 0, {}, 0, 0, {"total": LatencyHistogram()}, MotionStats())


def never(stage, error):
    raise AssertionError((stage, error))


def test_latencies_are_written_repeatedly_once_a_series_has_begun(tmp_path):
    log, status = SessionLog(tmp_path), CountingStatus()
    with log.writing_latencies(status, never):
        log.write("engine", stream(series="a"), name="average")
        assert status.enough.wait(GUARD_S)
    log.close(frames_in=9)
    lines = read_sidecar(tmp_path / "a.jsonl")
    assert [line["kind"] for line in lines[:2]] == ["start", "engine"]
    assert lines[1]["name"] == "average"
    latencies = [line for line in lines if line["kind"] == "latency"]
    assert len(latencies) >= 2
    assert (latencies[0]["frames_in"], latencies[0]["frames_out"]) == (9, 8)
    assert latencies[0]["ms"] == {"total": {"p50": None, "p99": None}}
    assert (lines[-1]["kind"], lines[-1]["frames_in"]) == ("summary", 9)


def test_nothing_is_written_before_a_series_has_begun(tmp_path, monkeypatch):
    log, status = SessionLog(tmp_path), CountingStatus()
    asked = threading.Semaphore(0)

    class Counted(type(log.sidecar)):
        @property
        def paths(self):
            asked.release()
            return super().paths

    log.sidecar = Counted(tmp_path)
    with log.writing_latencies(status, never):
        for _ in range(3):
            assert asked.acquire(timeout=GUARD_S)
    log.close()
    assert status.count == 0
    assert not list(tmp_path.iterdir())


def test_a_line_that_the_disk_refuses_is_reported_once(tmp_path):
    log = SessionLog(tmp_path)
    refused = StageError("a full disk", expected="room", todo="make some")
    failed, failures = threading.Event(), []

    def fail(stage, error):
        failures.append((stage, error))
        failed.set()

    log.write("engine", stream(series="a"))
    log.sidecar.write = lambda *_args, **_rest: raise_(refused)
    with log.writing_latencies(CountingStatus(), fail):
        assert failed.wait(GUARD_S)
    assert failures == [("the session log", refused)]


def test_a_series_whose_log_already_exists_is_refused(tmp_path):
    SessionLog(tmp_path).write("engine", stream(series="a"))
    with pytest.raises(FileError, match="exists already"):
        SessionLog(tmp_path).write("engine", stream(series="a"))


def test_without_a_folder_there_is_no_log_and_no_thread():
    log, before = SessionLog(None), threading.active_count()
    with log.writing_latencies(never, never):
        log.write("engine", stream())
        assert threading.active_count() == before
    log.close()
    assert log.sidecar is None
