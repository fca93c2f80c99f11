"""One viewer from start to end: the application, its window and its feed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from deepbid_rt.errors import RefusedError
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.viewer.feed import Feed, denoised_source, raw_source
from deepbid_rt.viewer.history import History
from deepbid_rt.viewer.view import View
from deepbid_rt.viewer.window import ViewerWindow

SETTLED_S = 5.0
"""What is measured begins so long after the window opened: what opening it costs says nothing of watching."""


def check_screen() -> None:
    """Raise `RefusedError` where Qt would end the process instead of raising: no screen, or a missing library."""
    if sys.platform != "linux" or os.environ.get("QT_QPA_PLATFORM"):
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise RefusedError(
            "a viewer without a screen",
            expected="a desktop, or the variable DISPLAY of one",
            todo="run it on a desktop, or with xvfb-run",
        )
    if os.environ.get("WAYLAND_DISPLAY"):
        return
    try:
        ctypes.CDLL("libxcb-cursor.so.0")
    except OSError as error:
        raise RefusedError(
            "a system without libxcb-cursor",
            expected="the libraries that Qt needs to open a window",
            todo="install the packages that docs/viewer.md names",
        ) from error


def run_viewer(
    connect: str, raw: str | None, history_s: float, folder: Path, rois: Path, seconds: float | None
) -> dict[str, Any]:
    """Show a session until the window is closed, or for so many seconds; returns what was displayed.

    Raises
    ------
    RefusedError
        When there is no screen, or an address is malformed.
    """
    check_screen()
    application = QApplication.instance() or QApplication(["deepbid-rt"])
    feed = Feed(denoised_source(connect), raw_source(raw) if raw else None, History(history_s))
    feed.open()
    try:
        window = ViewerWindow(View(feed), folder, rois)
        window.show()

        def close(_signum: int, _frame: FrameType | None) -> None:
            window.close()

        # Seen within one tick of the window's timer: until then Qt runs no Python.
        previous = {signum: signal.signal(signum, close) for signum in (signal.SIGINT, signal.SIGTERM)}
        settled: list[_Moment] = []
        QTimer.singleShot(round(SETTLED_S * 1000), lambda: settled.append(_Moment(window.view)))
        if seconds is not None:
            QTimer.singleShot(round(seconds * 1000), window.close)
        application.exec()
        for signum, handler in previous.items():
            signal.signal(signum, handler)
        facts, view = window.view.facts(), window.view
        return {
            "displayed": view.displayed,
            "with_raw": view.with_raw,
            "received": feed.denoised.status().received,
            "skipped": feed.newest.skipped,
            "age_ms_last_10_s": {"p50": facts.age_ms[0], "p95": facts.age_ms[1]},
            **(settled[0].until_now(view) if settled else {}),
            "lost": dict(facts.lost),
            "messages": list(feed.messages),
        }
    finally:
        feed.close()


class _Moment:
    """What a view and this process had done, to be compared with later; ages are counted anew from here on."""

    def __init__(self, view: View) -> None:
        self._displayed, self._cpu_s, self._at_s = view.displayed, time.process_time(), time.monotonic()
        view.all_ages = LatencyHistogram()

    def until_now(self, view: View) -> dict[str, Any]:
        """Return what was displayed since, how old it was, and the processor time of all threads for each frame."""
        frames, passed_s = view.displayed - self._displayed, time.monotonic() - self._at_s
        return {
            "displayed_fps": round(frames / passed_s, 2),
            "age_ms_p50": view.all_ages.quantile_ms(0.5),
            "age_ms_p95": view.all_ages.quantile_ms(0.95),
            "cpu_ms_per_frame": round(1e3 * (time.process_time() - self._cpu_s) / frames, 2) if frames else None,
        }
