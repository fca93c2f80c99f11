"""The lines that a session writes to its log while it runs."""

import errno
import io
import os
import threading

import pytest

from deepbid_rt.errors import FileError, StageError
from deepbid_rt.live import session_log
from deepbid_rt.live.alarms import Alarms
from deepbid_rt.live.session_log import SessionLog
from deepbid_rt.recording.sidecar import read_sidecar
from tests.fakes import raise_, stream

GUARD_S = 30.0
"""Limit of every wait in these tests; a passing test does not reach it."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(session_log, "TOTALS_EVERY_S", 0.001)


class Totals:
    """Returns the totals of a session and counts the calls."""

    def __init__(self):
        self.enough = threading.Event()
        self.count = 0

    def __call__(self):
        self.count += 1
        if self.count == 3:
            self.enough.set()
        return {"frames_in": 9, "frames_out": 8, "lost": {"ring": 1}}


def lines_in(folder):
    return [line for path in sorted(folder.glob("*.jsonl")) for line in read_sidecar(path)]


def test_totals_are_written_repeatedly_once_a_series_has_begun(tmp_path):
    log, totals = SessionLog(tmp_path, name="mouse7"), Totals()
    with log.writing_totals(totals):
        log.write("engine", stream(series="a"), name="average")
        assert totals.enough.wait(GUARD_S)
        log.note("alarm", text="behind")
    log.close(frames_in=9)
    assert [path.name[20:] for path in tmp_path.iterdir()] == ["mouse7_a.jsonl"]
    lines = lines_in(tmp_path)
    assert [line["kind"] for line in lines[:2]] == ["start", "engine"]
    assert lines[1]["name"] == "average"
    assert len([line for line in lines if line["kind"] == "alarm"]) == 1
    written = [line for line in lines if line["kind"] == "total"]
    assert len(written) >= 2
    assert (written[0]["frames_in"], written[0]["frames_out"], written[0]["lost"]) == (9, 8, {"ring": 1})
    assert (lines[-1]["kind"], lines[-1]["frames_in"]) == ("summary", 9)


def test_nothing_is_written_before_a_series_has_begun(tmp_path):
    log, totals = SessionLog(tmp_path), Totals()
    asked = threading.Semaphore(0)

    class Counted(type(log.sidecar)):
        @property
        def paths(self):
            asked.release()
            return super().paths

    log.sidecar = Counted(tmp_path)
    with log.writing_totals(totals):
        log.note("alarm", text="nobody answers")
        for _ in range(3):
            assert asked.acquire(timeout=GUARD_S)
    log.close()
    assert totals.count == 0
    assert not list(tmp_path.iterdir())


def test_lines_do_not_wait_for_the_disk(tmp_path):
    """A disk that hangs holds up the thread of the log, and none that writes."""
    log, began, released = SessionLog(tmp_path), threading.Event(), threading.Event()

    def hang(*_, **__):
        began.set()
        assert released.wait(GUARD_S)

    log.sidecar.begin = hang
    log.sidecar.write = lambda *_a, **_k: None
    with log.writing_totals(Totals()):
        log.write("engine", stream(series="a"))
        assert began.wait(GUARD_S)
        for _ in range(session_log.WAITING_LINES):
            log.write("engine", stream(series="a"))
        assert log.lost == 0
        log.write("engine", stream(series="a"))
        assert log.lost == 1
        released.set()
    with pytest.raises(StageError, match="1 lines of the session log"):
        log.close()


def test_a_disk_that_hangs_for_ever_does_not_hold_up_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(session_log, "CLOSE_S", 0.01)
    log, began, released = SessionLog(tmp_path), threading.Event(), threading.Event()

    def hang(*_, **__):
        began.set()
        assert released.wait(GUARD_S)

    log.sidecar.begin = hang
    log.sidecar.write = lambda *_a, **_k: None
    with log.writing_totals(Totals()):
        log.write("engine", stream(series="a"))
        assert began.wait(GUARD_S)
    with pytest.raises(StageError, match="has no summary, as its disk does not answer"):
        log.close()
    released.set()


def test_totals_that_cannot_be_made_raise_an_alarm_and_the_thread_goes_on(tmp_path):
    alarms, log, again = Alarms(), None, threading.Event()
    log = SessionLog(tmp_path, alarms=alarms)
    calls = []

    def totals():
        calls.append(None)
        if len(calls) < 3:
            raise ZeroDivisionError("a fault")
        again.set()
        return {"frames_in": 1}

    with log.writing_totals(totals):
        log.write("engine", stream(series="a"))
        assert again.wait(GUARD_S)
    assert [(alarm.kind, alarm.text) for alarm in alarms.current()] == [
        ("disk", "a line of the session log could not be made (ZeroDivisionError: a fault)")
    ]
    assert lines_in(tmp_path)[-1]["kind"] == "total"
    with pytest.raises(StageError):  # lines are missing
        log.close()


def test_a_disk_that_refuses_lines_raises_an_alarm_and_ends_nothing(tmp_path, monkeypatch):
    alarms, totals = Alarms(), Totals()
    log = SessionLog(tmp_path, alarms=alarms)
    refusing = threading.Event()

    class Full(io.FileIO):
        def write(self, data):
            if refusing.is_set():
                raise_(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            return super().write(data)

    monkeypatch.setattr(io, "FileIO", Full)
    refusing.set()
    with log.writing_totals(totals):
        log.write("engine", stream(series="a"))
        log.write("line_phase", stream(series="a"))
        while not alarms.current():
            threading.Event().wait(0.001)
        refusing.clear()
    (alarm,) = alarms.current()
    assert (alarm.kind, alarm.text.partition(" (")[2]) == (
        "disk",
        "No space left on device); they are kept and tried again; the recordings go on",
    )
    log.close(frames_in=9)
    assert alarms.current() == ()
    kinds = [line["kind"] for line in lines_in(tmp_path)]
    assert [kind for kind in kinds if kind != "total"] == ["start", "engine", "line_phase", "summary"]


def test_a_second_session_writes_the_next_part(tmp_path):
    for _ in range(2):
        log = SessionLog(tmp_path)
        log.write("engine", stream(series="a"))
        log.close()
    assert [path.name[20:] for path in sorted(tmp_path.iterdir())] == ["a.jsonl", "a_part002.jsonl"]
    assert [line["kind"] for line in lines_in(tmp_path)] == [
        *("start", "engine", "summary"),
        *("part", "start", "engine", "summary"),
    ]


def test_a_name_that_is_not_safe_in_a_file_name_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"a session named '\.\./up'"):
        SessionLog(tmp_path, name="../up")


def test_without_a_folder_there_is_no_log_and_no_thread():
    log, before = SessionLog(None), threading.active_count()
    with log.writing_totals(dict):
        log.write("engine", stream())
        log.note("alarm")
        assert threading.active_count() == before
    log.close()
    assert log.sidecar is None
