"""Ctrl-C and other signals: counted, answered in steps, and the third one leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from deepbid_rt.cli.interrupts import SAME_S, Escalation, Interrupts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a signal to oneself ends the process on Windows")
GUARD_S = 30.0
"""Limit of every wait in these tests; a passing test does not reach it."""


class Clock:
    """Time that passes only when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def every_signal_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepbid_rt.cli.interrupts.SAME_S", 0.0)


@pytest.fixture(autouse=True)
def handlers_restored() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    yield
    after = [signal.getsignal(number) for number in numbers]
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    assert after == [signal.SIG_DFL] * 3


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.usefixtures("every_signal_counts")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_each_signal_takes_the_next_step_and_the_third_leaves(number: int) -> None:
    called: list[str] = []
    left = threading.Event()
    interrupts = Interrupts(leave=lambda code: (called.append(f"left {code}"), left.set()))
    with interrupts.calling(lambda: called.append("stop"), lambda: called.append("abort")):
        send(number)
        send(number)
        assert called == ["stop", "abort"]
        with pytest.raises(KeyboardInterrupt):
            send(number)
        assert left.wait(GUARD_S)
    assert called == ["stop", "abort", "left 130"]
    assert interrupts.count == 3


@pytest.mark.usefixtures("every_signal_counts")
def test_without_a_step_a_signal_raises() -> None:
    interrupts = Interrupts(leave=print)
    with interrupts.caught():
        for number in (signal.SIGTERM, signal.SIGINT):
            with pytest.raises(KeyboardInterrupt):
                send(number)


@pytest.mark.usefixtures("every_signal_counts")
def test_steps_end_with_their_context() -> None:
    interrupts = Interrupts(leave=print)
    called: list[str] = []
    with interrupts.caught():
        with interrupts.calling(lambda: called.append("outer")):
            with interrupts.calling(lambda: called.append("inner")):
                send(signal.SIGHUP)
            assert called == ["inner"]
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)


def test_signals_at_the_same_moment_and_further_hang_ups_count_once() -> None:
    clock = Clock()
    escalation = Escalation(clock)
    assert escalation.add(signal.SIGTERM)
    assert not escalation.add(signal.SIGTERM)
    clock.now = 2 * SAME_S
    assert not escalation.add(signal.SIGHUP)
    clock.now = 4 * SAME_S
    assert escalation.add(signal.SIGINT)
    assert escalation.count == 2


def test_a_signal_that_is_ignored_stays_so_except_ctrl_c() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    called: list[str] = []
    try:
        with Interrupts(leave=print).calling(lambda: called.append("stop")):
            send(signal.SIGHUP)
            assert called == []
            send(signal.SIGINT)
            assert called == ["stop"]
        assert signal.getsignal(signal.SIGHUP) is signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)


HELD = """
import ctypes
from deepbid_rt.cli.interrupts import INTERRUPTS
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
libc.pthread_mutex_lock(mutex)
with INTERRUPTS.calling(int, int):
    print("ready", flush=True)
    libc.pthread_mutex_lock(mutex)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the call that holds the thread is one of Linux")
def test_the_third_signal_leaves_even_when_a_library_holds_the_main_thread() -> None:
    process = subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):  # signals at the same moment count once
                process.wait(2 * SAME_S)
        assert process.wait(GUARD_S) == 130
    finally:
        process.kill()
        process.communicate()
