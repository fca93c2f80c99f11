"""The clock: its resolution, and whether it is kept right."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable

from deepbid_rt.checkup.finding import Finding

COARSE_S = 0.002
"""A coarser clock than this shows in latencies."""
_TODO = "turn on NTP, or PTP for two computers: latencies across computers are wrong by the offset of their clocks"
_UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)
_ASKED_S = 5.0


def check_resolution() -> Finding:
    """Tell the resolution of the monotonic clock."""
    resolution = time.get_clock_info("monotonic").resolution
    begun = time.monotonic()
    while (step := time.monotonic() - begun) == 0:
        pass
    coarsest = max(resolution, step) if sys.platform == "win32" else resolution
    text = f"a resolution of {1e6 * coarsest:.3g} us"
    if coarsest > COARSE_S:
        return Finding("clock", "warning", text, "latencies below this are rounded; use Python 3.13 or newer")
    return Finding("clock", "ok", text)


def check_synchronised(ask: Callable[[], bool | None] | None = None) -> Finding:
    """Tell whether the operating system keeps the clock in step with others."""
    answer = (ask or _synchronised)()
    if answer is None:
        text = "it is unknown whether the clock is synchronised"
        return Finding("time", "warning", text, "check it by hand, if frames come from another computer; " + _TODO)
    if not answer:
        return Finding("time", "warning", "the clock is not synchronised", _TODO)
    return Finding("time", "ok", "the clock is synchronised")


def _synchronised() -> bool | None:
    if sys.platform == "win32":
        answer = _run(["w32tm", "/query", "/status"])
        return None if answer is None else "Leap Indicator: 3" not in answer and "(not synchronized)" not in answer
    answer = _run(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    if answer is not None and answer.strip() in ("yes", "no"):
        return answer.strip() == "yes"
    return _asked_of_kernel()


def _asked_of_kernel() -> bool | None:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = libc.adjtimex(ctypes.create_string_buffer(512))  # all zeros: asks, and changes nothing
    except (OSError, AttributeError):  # not Linux
        return None
    return None if state < 0 else state != _UNSYNCHRONISED


def _run(command: list[str]) -> str | None:
    """Return what a command prints; None when it is missing, fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASKED_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
