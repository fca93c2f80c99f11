"""One viewer from start to end: the application, its window and its feed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from deepbid_rt.errors import RefusedError
from deepbid_rt.viewer.feed import Feed, denoised_source, raw_source
from deepbid_rt.viewer.history import History
from deepbid_rt.viewer.view import View
from deepbid_rt.viewer.window import ViewerWindow


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
            "display_hz": round(facts.display_hz, 2),
            "age_ms": {"p50": facts.age_ms[0], "p95": facts.age_ms[1]},
            "age_ms_whole_run": {"p50": view.all_ages.quantile_ms(0.5), "p95": view.all_ages.quantile_ms(0.95)},
            "lost": dict(facts.lost),
            "messages": list(feed.messages),
        }
    finally:
        feed.close()
