from __future__ import annotations

import threading

import pytest

from deepbid_rt.recording.disk_sync import DiskSync

GUARD_S = 30.0


def test_without_an_interval_the_caller_waits_for_each_sync() -> None:
    threads: list[threading.Thread] = []
    sync = DiskSync(lambda: threads.append(threading.current_thread()), 0)
    sync.written()
    sync.written()
    assert threads == [threading.current_thread()] * 2


def test_one_sync_at_a_time_in_a_thread_of_its_own() -> None:
    began, released = threading.Semaphore(0), threading.Event()
    calls: list[str] = []

    def force() -> None:
        calls.append(threading.current_thread().name)
        began.release()
        assert released.wait(GUARD_S)

    sync = DiskSync(force, 1e-9)
    sync.written()
    assert began.acquire(timeout=GUARD_S)
    for _ in range(3):
        sync.written()
    assert sync.running
    released.set()
    sync.wait()
    assert calls == ["disk sync"]
    sync.written()
    sync.wait()
    assert len(calls) == 2


def test_an_error_is_raised_once_by_the_next_check() -> None:
    def force() -> None:
        raise OSError("broken")

    sync = DiskSync(force, 1e-9)
    sync.check()
    sync.written()
    sync.wait()
    with pytest.raises(OSError, match="broken"):
        sync.check()
    sync.check()
