"""What a session writes while it runs."""

import threading

import pytest

from deepbid_rt.cli import session_log
from deepbid_rt.cli.session_log import SessionLog
from deepbid_rt.errors import FileError, StageError
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.motion_stats import MotionStats
from deepbid_rt.live.status import SessionState, SessionStatus
from deepbid_rt.recording.sidecar import read_sidecar
from tests.fakes import raise_, stream

GUARD_S = 30.0
"""No wait is meant to last; this ends one that does."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(session_log, "NOTE_EVERY_S", 0.001)


class Looks:
    """The state of a session, and how often it was asked for."""

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


def test_latencies_are_written_again_and_again_once_a_series_has_begun(tmp_path):
    log, looks = SessionLog(tmp_path), Looks()
    with log.watching(looks, never):
        log.begin(stream(series="a"), name="average")
        assert looks.enough.wait(GUARD_S)
    log.close(frames_in=9)
    lines = read_sidecar(tmp_path / "a.jsonl")
    assert [line["kind"] for line in lines[:2]] == ["start", "engine"]
    assert lines[1]["name"] == "average"
    notes = [line for line in lines if line["kind"] == "latency"]
    assert len(notes) >= 2
    assert (notes[0]["frames_in"], notes[0]["frames_out"]) == (9, 8)
    assert notes[0]["ms"] == {"total": {"p50": None, "p99": None}}
    assert (lines[-1]["kind"], lines[-1]["frames_in"]) == ("summary", 9)


def test_nothing_is_written_before_a_series_has_begun(tmp_path, monkeypatch):
    log, looks = SessionLog(tmp_path), Looks()
    asked = threading.Semaphore(0)

    class Counted(type(log.sidecar)):
        @property
        def paths(self):
            asked.release()
            return super().paths

    log.sidecar = Counted(tmp_path)
    with log.watching(looks, never):
        for _ in range(3):
            assert asked.acquire(timeout=GUARD_S)
    log.close()
    assert looks.count == 0
    assert not list(tmp_path.iterdir())


def test_a_disk_that_refuses_a_line_is_reported_once(tmp_path):
    log = SessionLog(tmp_path)
    refused = StageError("a full disk", expected="room", todo="make some")
    failed, told = threading.Event(), []

    def fail(stage, error):
        told.append((stage, error))
        failed.set()

    log.begin(stream(series="a"))
    log.sidecar.note = lambda *_args, **_rest: raise_(refused)
    with log.watching(Looks(), fail):
        assert failed.wait(GUARD_S)
    assert told == [("the session log", refused)]


def test_a_series_whose_log_exists_is_refused(tmp_path):
    SessionLog(tmp_path).begin(stream(series="a"))
    with pytest.raises(FileError, match="exists already"):
        SessionLog(tmp_path).begin(stream(series="a"))


def test_without_a_folder_there_is_no_log_and_no_thread():
    log, before = SessionLog(None), threading.active_count()
    with log.watching(never, never):
        log.begin(stream())
        assert threading.active_count() == before
    log.close()
    assert log.sidecar is None
