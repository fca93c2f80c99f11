"""Runs one viewer: the Qt application, its window and its feed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from deepbid_rt.errors import RefusedError
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.viewer.feed import Feed, denoised_source, raw_source
from deepbid_rt.viewer.pair_history import PairHistory
from deepbid_rt.viewer.viewer_model import ViewerModel
from deepbid_rt.viewer.window import ViewerWindow
from deepbid_rt.zmq_io import ZmqSource

WARM_UP_S = 5.0
"""Rates, ages and processor time are measured from this time on, as opening the window is not typical."""


@contextmanager
def held_screen() -> Iterator[None]:
    """Hold a connection to the screen, so that the Qt application can be created inside the block.

    An X server without a desktop starts anew when its last client leaves it, and whoever connects at that moment is
    turned away. So the connection that finds out whether there is a screen is closed only after Qt has its own.

    Raises
    ------
    RefusedError
        When there is no screen, or a library is missing: Qt would then abort the process.
    """
    if sys.platform != "linux" or os.environ.get("QT_QPA_PLATFORM"):
        yield
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise RefusedError(
            "a viewer without a screen",
            expected="a desktop, or the variable DISPLAY of one",
            todo="run it on a desktop, or with xvfb-run",
        )
    if os.environ.get("WAYLAND_DISPLAY"):
        yield
        return
    with _x_connection() as answers:
        if not answers:
            raise RefusedError(
                f"the display {os.environ['DISPLAY']}, which does not answer",
                expected="a desktop, or the variable DISPLAY of one",
                todo="correct DISPLAY, or run it with xvfb-run",
            )
        _check_cursor_library()
        yield


def _check_cursor_library() -> None:
    """Raise `RefusedError` if the library is missing that Qt needs on X and that distributions do not install."""
    try:
        ctypes.CDLL("libxcb-cursor.so.0")
    except OSError as error:
        raise RefusedError(
            "the library libxcb-cursor is missing",
            expected="the libraries with which Qt opens a window",
            todo="install the packages that docs/how-to/watch-with-the-viewer.md names",
        ) from error


@contextmanager
def _x_connection() -> Iterator[bool]:
    """Hold a connection to ``DISPLAY``; the value says whether its X server answers, True where that is not known."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        yield True
        return
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))
    try:
        yield bool(xcb.xcb_connection_has_error(connection) == 0)
    finally:
        xcb.xcb_disconnect(connection)


def run_viewer(
    connect: str,
    raw: str | None,
    history_s: float,
    folder: Path,
    rois: Path,
    seconds: float | None,
    *,
    keys: Path | None = None,
    server_key: Path | None = None,
    raw_server_key: Path | None = None,
    insecure_lan: bool = False,
) -> dict[str, Any]:
    """Show a session until the window is closed.

    Parameters
    ----------
    connect : str
        Address of the denoised stream.
    raw : str or None
        Address of the raw stream; None: the session says where it is.
    history_s : float
        Seconds that can be looked back.
    folder : Path
        Where snapshots and traces are written.
    rois : Path
        File of the regions.
    seconds : float or None
        Close the window after this time.
    keys : Path or None
        Folder of the keys of this computer, for encrypted streams.
    server_key, raw_server_key : Path or None
        Files of the public keys of the session and of the sender of the raw stream.
    insecure_lan : bool
        Allow addresses of other computers without keys.

    Returns
    -------
    dict
        Numbers of displayed, received and skipped frames, their rate and age, the processor time of all threads for
        each frame, and the last errors.

    Raises
    ------
    RefusedError
        When there is no screen.
    EndpointError
        When an address is malformed, or is that of another computer and neither protected nor allowed.
    FileError
        When the keys cannot be used.
    """
    with held_screen():
        application = QApplication.instance() or QApplication(["deepbid-rt"])

    def protection(of: Path | None) -> dict[str, Any]:
        return {"keys": keys if of else None, "server_key": of, "insecure_lan": insecure_lan}

    def make_raw(endpoint: str) -> ZmqSource:
        return raw_source(endpoint, **protection(raw_server_key))

    denoised = denoised_source(connect, **protection(server_key))
    feed = Feed(denoised, make_raw(raw) if raw else None, PairHistory(history_s), make_raw)
    feed.open()
    try:
        window = ViewerWindow(ViewerModel(feed), folder, rois)
        window.show()

        def close(_signum: int, _frame: FrameType | None) -> None:
            window.close()

        # Python runs the handler only when Qt calls Python the next time, which is at the next poll of the window.
        previous = {signum: signal.signal(signum, close) for signum in (signal.SIGINT, signal.SIGTERM)}
        warm: list[_Measurement] = []
        QTimer.singleShot(round(WARM_UP_S * 1000), lambda: warm.append(_Measurement(window.model)))
        if seconds is not None:
            QTimer.singleShot(round(seconds * 1000), window.close)
        application.exec()
        for signum, handler in previous.items():
            signal.signal(signum, handler)
        facts, model = window.model.facts(), window.model
        return {
            "displayed": model.displayed,
            "with_raw": model.with_raw,
            "received": feed.denoised.status().received,
            "skipped": feed.newest.skipped,
            "age_ms_last_10_s": {"p50": facts.age_ms[0], "p95": facts.age_ms[1]},
            **(warm[0].until_now(model) if warm else {}),
            "lost": dict(facts.lost),
            "messages": list(feed.messages),
        }
    finally:
        feed.close()


class _Measurement:
    """Measures what the viewer displays from its creation on, and how much processor time this process takes."""

    def __init__(self, model: ViewerModel) -> None:
        self._displayed, self._cpu_s, self._at_s = model.displayed, time.process_time(), time.monotonic()
        model.all_ages = LatencyHistogram()

    def until_now(self, model: ViewerModel) -> dict[str, Any]:
        """Return the rate of displayed frames, their age, and the processor time of all threads for each of them."""
        frames, passed_s = model.displayed - self._displayed, time.monotonic() - self._at_s
        return {
            "displayed_fps": round(frames / passed_s, 2),
            "age_ms_p50": model.all_ages.quantile_ms(0.5),
            "age_ms_p95": model.all_ages.quantile_ms(0.95),
            "cpu_ms_per_frame": round(1e3 * (time.process_time() - self._cpu_s) / frames, 2) if frames else None,
        }
