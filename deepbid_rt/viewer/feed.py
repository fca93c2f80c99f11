"""The receiving side: both streams read in threads of their own, joined, measured and kept.

The only module of the viewer with threads. Knows sources of frames; no window, and no network beyond `ZmqSource`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TextIO

from deepbid_rt.errors import DeepbidError, StreamError
from deepbid_rt.frame import Event, Frame, StreamInfo
from deepbid_rt.viewer.history import History
from deepbid_rt.viewer.pair import Pair, Pairing
from deepbid_rt.viewer.recent import Recent
from deepbid_rt.viewer.roi import Roi
from deepbid_rt.viewer.slot import Slot
from deepbid_rt.viewer.traces import Traces
from deepbid_rt.wire.source_status import SourceState
from deepbid_rt.zmq_io import ZmqSource

POLL_S = 0.05
RING_FRAMES = 32
"""Frames that may wait to be read, far more than ever do while the viewer lives."""
_ALIVE = ("live", "stalled")


def denoised_source(endpoint: str) -> ZmqSource:
    """Subscribe to denoised frames."""
    return ZmqSource(endpoint, topic=b"den/", default_layout="ordinary", ring_frames=RING_FRAMES)


def raw_source(endpoint: str) -> ZmqSource:
    """Subscribe to raw frames."""
    return ZmqSource(endpoint, topic=b"raw/", default_layout="ordinary", ring_frames=RING_FRAMES)


class Feed:
    """Follows a session as one more subscriber; nothing flows back.

    Parameters
    ----------
    denoised : ZmqSource
        The session's stream.
    raw : ZmqSource or None
        The microscope's; may come later, see `connect_raw`.
    history : History, optional
        What is kept for looking back.
    """

    def __init__(self, denoised: ZmqSource, raw: ZmqSource | None = None, history: History | None = None) -> None:
        self.denoised, self.raw = denoised, raw
        self.newest: Slot[Pair] = Slot()
        """The newest pair of the chosen plane."""
        self.info: StreamInfo | None = None
        """The series that is shown; None before the first."""
        self.series = 0
        """How many series began, of either stream."""
        self.messages: deque[str] = deque(maxlen=8)
        """What went wrong, oldest first."""
        self.failure: BaseException | None = None
        """What stopped a reading thread."""
        self.plane = 0
        self._history = history or History()
        self._pairing, self._traces, self._arrivals = Pairing(), Traces(), Recent()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Start reading. Raises `EndpointError` when an address cannot be used."""
        self._start(self.denoised, self._take_denoised, "denoised")
        if self.raw is not None:
            self._start(self.raw, self._take_raw, "raw")

    def connect_raw(self, source: ZmqSource) -> None:
        """Follow the microscope as well, from now on."""
        self.raw = source
        self._start(source, self._take_raw, "raw")

    def close(self) -> None:
        """Stop reading and release the network; may be called twice."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
        for source in (self.denoised, self.raw):
            if source is not None:
                source.close()

    def state(self) -> SourceState:
        """Return how the session stands; that of the microscope where only that was ever heard."""
        state = self.denoised.status().state
        return self.raw.status().state if state == "waiting" and self.raw is not None else state

    def input_hz(self) -> float:
        """Return how many denoised frames come each second (raw ones, without a session)."""
        with self._lock:
            return self._arrivals.rate_hz(time.monotonic())

    def pairs(self) -> list[Pair]:
        """Return what is kept of the chosen plane, oldest first."""
        with self._lock:
            return self._history.pairs(self.plane)

    @contextmanager
    def traces(self) -> Iterator[Traces]:
        """Lend the traces, which stand still meanwhile."""
        with self._lock:
            yield self._traces

    def follow(self, roi: Roi) -> None:
        """Follow a region, from what is kept on."""
        with self._lock:
            self._traces.follow(roi, self._history.pairs(roi.plane))

    def write_csv(self, file: TextIO) -> int:
        """Write all traces; returns the number of lines."""
        with self._lock:
            return self._traces.write_csv(file)

    # Reading threads.

    def _start(self, source: ZmqSource, take: Callable[[Event], None], name: str) -> None:
        source.open()
        thread = threading.Thread(target=self._read, args=(source, take, name), name=f"view {name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _read(self, source: ZmqSource, take: Callable[[Event], None], name: str) -> None:
        try:
            while not self._closing.is_set():
                try:
                    event = source.read(POLL_S)
                except StreamError as error:
                    self.messages.append(f"{name} stream: {error.came}")  # the source goes on with the next series
                    continue
                if isinstance(event, Frame):
                    event = replace(event, pixels=event.pixels.copy())  # valid until the next read only
                if event is not None:
                    with self._lock:
                        take(event)
        # Anything: the window must say that no more will come, and why.
        except Exception as error:
            self.failure = error
            came = error.came if isinstance(error, DeepbidError) else f"{type(error).__name__} ({error})"
            self.messages.append(f"{name} stream is no longer read: {came}")

    def _take_denoised(self, event: Event) -> None:
        if isinstance(event, StreamInfo):
            self._begin(event)
            self._pairing.begin_denoised(event)
        elif isinstance(event, Frame):
            self._arrivals.add(time.monotonic())
            alive = self.raw is not None and self.raw.status().state in _ALIVE
            self._keep(self._pairing.take_denoised(event, raw_alive=alive))

    def _take_raw(self, event: Event) -> None:
        alive = self.denoised.status().state in _ALIVE
        if isinstance(event, StreamInfo):
            self._pairing.begin_raw(event)
            if not alive:
                self._begin(event)
        elif isinstance(event, Frame):
            if not alive:
                self._arrivals.add(time.monotonic())
            self._keep(self._pairing.take_raw(event, denoised_alive=alive))

    def _begin(self, info: StreamInfo) -> None:
        self.info = info
        self.series += 1
        self.plane = min(self.plane, info.planes - 1)
        self._history.clear()
        self._traces.begin(info.rate_hz)

    def _keep(self, pairs: list[Pair]) -> None:
        for pair in pairs:
            self._history.add(pair, time.monotonic())
            self._traces.add(pair)
            if pair.plane == self.plane:
                self.newest.put(pair)
