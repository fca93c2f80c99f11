"""Frames of a running session, or of a microscope, as a Python iterator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from deepbid_rt.api.arguments import Scan, as_layout, check_count, check_endpoint, check_number
from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import ZmqSource

_POLL_S = 0.1
"""How often a waiting iterator returns to Python, so that Ctrl-C works."""


class Subscription(Iterator[Frame]):
    """Iterates over the frames of a stream, series after series. Made by `subscribe`; use it in a ``with`` block."""

    def __init__(self, source: ZmqSource, *, series: int | None, timeout_s: float | None) -> None:
        self._source = source
        self._series_left = series
        self._timeout_s = timeout_s
        self.info: StreamInfo | None = None
        """The series of the latest frame; None before the first."""
        self.lost = 0
        """Frames that never came: lost by the sender, on the way, or because this reader was too slow."""
        self._closed = False
        source.open()

    def __next__(self) -> Frame:
        """Wait for the next frame; its pixels (C, Y, X) are the caller's to keep.

        Raises
        ------
        StopIteration
            After so many series, or so long without a frame, as `subscribe` was asked for.
        StreamError
            When the stream contradicts itself; the next call goes on with what follows.
        """
        waiting_since = time.monotonic()
        while not self._closed and (self._series_left is None or self._series_left > 0):
            event = self._source.read(_POLL_S)
            if isinstance(event, Frame):
                return replace(event, pixels=event.pixels.copy())
            if isinstance(event, StreamInfo):
                self.info = event
            elif isinstance(event, Gap):
                self.lost += event.count
            elif isinstance(event, StreamEnd) and self._series_left is not None:
                self._series_left -= 1
            elif self._timeout_s is not None and time.monotonic() - waiting_since >= self._timeout_s:
                break
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Leave the stream; may be called twice. The session does not notice."""
        self._closed = True
        self._source.close()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def subscribe(
    endpoint: str, *, series: int | None = None, timeout_s: float | None = None, scan: Scan | None = None
) -> Subscription:
    """Receive the frames that a session or a microscope publishes.

    Parameters
    ----------
    endpoint : str
        ``tcp://HOST:PORT``, by default 5591 for the denoised and 5590 for the raw stream. It may start later.
    series : int, optional
        End after this many series; for ever when left out.
    timeout_s : float, optional
        End when no frame came for so long; wait for ever when left out.
    scan : {"ordinary", "collinear"} or ScanGeometry, optional
        Layout of an old sender that does not state it; such a stream is refused without it.

    Returns
    -------
    Subscription
        An iterator of `Frame`: ``index``, ``pixels`` (C, Y, X), ``motion``, ``plane``, times.

    Raises
    ------
    EndpointError
        When the endpoint is not an address.
    OptionError
        When `scan` says more than the layout.
    """
    check_endpoint(endpoint)
    if series is not None:
        check_count("series", series, 1)
    if timeout_s is not None:
        check_number("timeout_s", timeout_s)
    layout = as_layout(scan)
    return Subscription(ZmqSource(endpoint, topic=b"", default_layout=layout), series=series, timeout_s=timeout_s)
