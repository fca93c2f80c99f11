"""Ctrl-C and the signals that ask a program to end, which all do the same here.

The first one ends the work cleanly, the second at once, and the third leaves without clean-up. SIGTERM (service
managers), SIGHUP (a closed terminal), and on Windows Ctrl-Break and a closed console, count like Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

LAST = 3
"""The signal that leaves without clean-up."""
EXIT_CODE = 130
"""Exit code of a command that was interrupted before its work was done: 128 and the number of SIGINT."""
SAME_S = 0.2
"""Signals that follow within so many seconds count as one: terminals, shells and ``timeout`` send several."""
CONSOLE_CLOSE_S = 4.5
"""Windows ends a process 5 s after its console was closed."""

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


class Escalation:
    """Counts signals.

    Parameters
    ----------
    clock : callable
        Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_s = float("-inf")
        self.count = 0
        """Signals so far."""

    def add(self, number: int) -> bool:
        """Count a signal; return False for one that does not count.

        A second SIGHUP does not: nobody sends it to be quicker, and some shells send it twice.
        """
        now = self._clock()
        same = now - self._last_s < SAME_S
        self._last_s = now
        if same or (self.count and number == getattr(signal, "SIGHUP", None)):
            return False
        self.count += 1
        return True


class Interrupts:
    """Catches the signals of this process. Used from the main thread, as Python requires.

    The first two signals are handled in the main thread: they call the steps that `calling` names, and where there is
    none they raise `KeyboardInterrupt`. A further thread counts them too, and the third one leaves from there: it
    works even when the main thread is held in a library.

    Parameters
    ----------
    leave : callable
        Ends the process without clean-up; called with the exit code.
    """

    def __init__(self, leave: Callable[[int], object] = os._exit) -> None:
        self.leave = leave
        self.count = 0
        """Signals so far that counted."""
        self._steps: Sequence[Callable[[], object]] = ()
        self.active = False
        """Whether the signals are caught now."""

    @contextmanager
    def caught(self, numbers: Sequence[int] = SIGNALS) -> Iterator[None]:
        """Catch the signals while the context lasts; inside another such context this does nothing.

        Signals that are ignored, as SIGHUP is after ``nohup``, stay so.
        """
        if self.active:
            yield
            return
        self.count = 0
        escalation = Escalation()

        def handle(number: int, _frame: FrameType | None) -> None:
            if escalation.add(number):
                self.count = escalation.count
                self._answer(escalation.count)

        self.active = True
        before = {n: signal.signal(n, handle) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
        if signal.SIGINT not in before:
            # A shell lets programs in the background ignore it. Scripts send it to a session all the same.
            before[signal.SIGINT] = signal.signal(signal.SIGINT, handle)
        try:
            with self._counted(), _console_close_caught():
                yield
        finally:
            self.active = False
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def calling(self, *steps: Callable[[], object]) -> Iterator[None]:
        """Answer the first signal by calling the first step, and so on, while the context lasts."""
        with self.caught():
            before, self._steps = self._steps, steps
            try:
                yield
            finally:
                self._steps = before

    def _answer(self, count: int) -> None:
        if count > len(self._steps):
            raise KeyboardInterrupt
        self._steps[count - 1]()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count the signals in a thread too. It reads their numbers from a socket, into which Python writes them."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        escalation = Escalation()

        def count() -> None:
            while numbers := ours.recv(64):
                for number in numbers:
                    if number in SIGNALS and escalation.add(number) and escalation.count >= LAST:
                        self.leave(EXIT_CODE)

        thread = threading.Thread(target=count, name="signals", daemon=True)
        before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            theirs.close()
            thread.join()
            ours.close()


@contextmanager
def _console_close_caught() -> Iterator[None]:
    """On Windows, treat a closed console, a log-off and a shutdown like Ctrl-Break, and hold them up until the end.

    Without this Windows ends the process as soon as the signal has been noted.
    """
    if sys.platform == "win32":
        import ctypes

        ended = threading.Event()

        @ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_uint)
        def handle(event: int) -> int:
            if event not in (2, 5, 6):  # CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT
                return 0
            signal.raise_signal(signal.SIGBREAK)
            ended.wait(CONSOLE_CLOSE_S)
            return 1

        kernel = ctypes.WinDLL("kernel32")
        kernel.SetConsoleCtrlHandler(handle, 1)
        try:
            yield
        finally:
            ended.set()
            kernel.SetConsoleCtrlHandler(handle, 0)
    else:
        yield


INTERRUPTS = Interrupts()
"""Those of this process."""


def _forget_in_child() -> None:
    """In a forked process, give signals back their usual effect: its parent must not count them."""
    if INTERRUPTS.active:
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
