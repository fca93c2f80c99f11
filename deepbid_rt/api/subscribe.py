"""Frames of a running session, or of a microscope, as a Python iterator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from deepbid_rt.api.access import PYTHON, End, KeyFile, check_access
from deepbid_rt.api.arguments import Scan, as_layout, check_count, check_endpoint, check_flag, check_number
from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import LosslessSource, ZmqSource

_POLL_S = 0.1
"""How often a waiting iterator returns to Python, so that Ctrl-C works."""


class Subscription(Iterator[Frame]):
    """Iterates over the frames of a stream, series after series. Made by `subscribe`; use it in a ``with`` block."""

    def __init__(self, source: ZmqSource | LosslessSource, *, series: int | None, timeout_s: float | None) -> None:
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
    endpoint: str,
    *,
    series: int | None = None,
    timeout_s: float | None = None,
    scan: Scan | None = None,
    keys: KeyFile = None,
    server_key: KeyFile = None,
    insecure_lan: bool = False,
    lossless: bool = False,
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
    keys, server_key : str or Path, optional
        Folder made by ``deepbid-rt keys`` on this computer, and file of the sender's public key (``NAME.pub``): the
        stream is encrypted, and comes from the owner of that key or not at all.
    insecure_lan : bool
        Allow an address of another computer without keys.
    lossless : bool
        Receive every frame of a sender that was started for it; it waits when this iterator is slow.

    Returns
    -------
    Subscription
        An iterator of `Frame`: ``index``, ``pixels`` (C, Y, X), ``motion``, ``plane``, times.

    Raises
    ------
    EndpointError
        When the endpoint is not an address, or not loopback without keys or `insecure_lan`.
    FileError
        When the keys cannot be used.
    OptionError
        When `scan` says more than the layout, one of `keys` and `server_key` is missing, or `insecure_lan` is given
        where nothing is open.
    """
    check_endpoint(endpoint)
    if series is not None:
        check_count("series", series, 1)
    if timeout_s is not None:
        check_number("timeout_s", timeout_s)
    check_flag("insecure_lan", insecure_lan)
    check_flag("lossless", lossless)
    server_keys, ends = {"server_key": server_key}, [End(endpoint, server_key)]
    check_access(ends, keys=keys, server_keys=server_keys, insecure_lan=insecure_lan, binds=False, options=PYTHON)
    layout = as_layout(scan)
    source: ZmqSource | LosslessSource
    if lossless:
        source = LosslessSource(
            endpoint, default_layout=layout, keys=keys, server_key=server_key, insecure_lan=insecure_lan
        )
    else:
        source = ZmqSource(
            endpoint, topic=b"", default_layout=layout, keys=keys, server_key=server_key, insecure_lan=insecure_lan
        )
    return Subscription(source, series=series, timeout_s=timeout_s)
