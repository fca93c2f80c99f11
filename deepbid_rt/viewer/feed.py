"""Receives the raw and the denoised stream, joins their frames, measures regions and keeps the last seconds.

Two threads read, one for each stream. The window's thread calls everything else.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TextIO

from deepbid_rt.errors import DeepbidError, StreamError
from deepbid_rt.frame import Event, Frame, ScanGeometry, StreamInfo
from deepbid_rt.live.clock_check import ClockCheck
from deepbid_rt.live.frame_pairing import FramePair, FramePairing
from deepbid_rt.viewer.image_pair import ImagePair, image_pair
from deepbid_rt.viewer.latest_value import LatestValue
from deepbid_rt.viewer.pair_history import PairHistory
from deepbid_rt.viewer.recent_events import RecentEvents
from deepbid_rt.viewer.roi import Roi
from deepbid_rt.viewer.roi_traces import RoiTraces
from deepbid_rt.wire.received_text import received_text
from deepbid_rt.wire.source_status import SourceState
from deepbid_rt.zmq_io import ZmqSource

READ_TIMEOUT_S = 0.05
"""How long a thread waits for a frame before it checks whether it must stop."""
RING_FRAMES = 32
"""Frames of a stream that may wait to be read: a second at 30 Hz, while a reading thread needs milliseconds."""
_LIVE = ("live", "stalled")
_MAX_ARRIVALS = 4096
"""Raw frames whose time of arrival is kept; two minutes at 30 Hz, longer than frames wait for their counterparts."""


def denoised_source(endpoint: str, **protection: Any) -> ZmqSource:
    """Return a source that subscribes to denoised frames; not open yet.

    Parameters
    ----------
    endpoint : str
    **protection
        ``keys``, ``server_key`` and ``insecure_lan`` of `ZmqSource`.
    """
    return ZmqSource(endpoint, topic=b"den/", default_layout="ordinary", ring_frames=RING_FRAMES, **protection)


def raw_source(endpoint: str, **protection: Any) -> ZmqSource:
    """Return a source that subscribes to raw frames; not open yet. See `denoised_source`."""
    return ZmqSource(endpoint, topic=b"raw/", default_layout="ordinary", ring_frames=RING_FRAMES, **protection)


class Feed:
    """Subscribes to a session. Sends nothing back to it.

    Parameters
    ----------
    denoised : ZmqSource
        The stream of the session.
    raw : ZmqSource or None
        The stream of the microscope; `connect_raw` can add it later.
    history : PairHistory, optional
        Keeps pairs for looking back.
    make_raw : callable
        Makes the source of the raw stream from the address that the session says.
    """

    def __init__(
        self,
        denoised: ZmqSource,
        raw: ZmqSource | None = None,
        history: PairHistory | None = None,
        make_raw: Callable[[str], ZmqSource] = raw_source,
    ) -> None:
        self.denoised, self.raw, self.make_raw = denoised, raw, make_raw
        self.newest: LatestValue[ImagePair] = LatestValue()
        """The newest pair of the chosen plane."""
        self.info: StreamInfo | None = None
        """The series that is shown; None before the first."""
        self.series = 0
        """Number of series so far: those of the denoised stream, and those of a raw stream that is shown alone."""
        self.messages: deque[str] = deque(maxlen=8)
        """The last errors, oldest first."""
        self.failure: BaseException | None = None
        """The exception that ended a reading thread."""
        self.plane = 0
        """The plane that is shown."""
        self._history = history or PairHistory()
        self._pairing, self._traces, self._arrivals = FramePairing(), RoiTraces(), RecentEvents()
        self._clock_check = ClockCheck()
        self._raw_arrived: OrderedDict[int, int] = OrderedDict()  # nanoseconds, by number of the frame
        self._raw_scan = ScanGeometry()
        self._lines: int | None = None  # of the denoised stream
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Start reading. Raises `EndpointError` when an address cannot be used."""
        self._start(self.denoised, self._push_denoised, "denoised")
        if self.raw is not None:
            self._start(self.raw, self._push_raw, "raw")

    def connect_raw(self, source: ZmqSource) -> None:
        """Start reading the microscope's stream as well. Raises `EndpointError` when its address cannot be used."""
        self.raw = source
        self._start(source, self._push_raw, "raw")

    def close(self) -> None:
        """Stop reading and release the network; may be called twice."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
        for source in (self.denoised, self.raw):
            if source is not None:
                source.close()

    def state(self) -> SourceState:
        """Return the state of the denoised stream, or of the raw stream as long as no denoised stream has come."""
        state = self.denoised.status().state
        return self.raw.status().state if state == "waiting" and self.raw is not None else state

    def input_hz(self) -> float:
        """Return the rate of denoised frames, or of raw frames when there is no denoised stream."""
        with self._lock:
            return self._arrivals.rate_hz(time.monotonic())

    @property
    def clock_usable(self) -> bool:
        """False when the clock of the microscope's computer and that of this one differ, as far as can be told."""
        return self._clock_check.usable

    def say(self, text: str) -> None:
        """Add a message; it may hold text of another program."""
        self.messages.append(received_text(text))

    def pairs(self) -> list[ImagePair]:
        """Return the kept pairs of the chosen plane, oldest first."""
        with self._lock:
            return self._history.pairs(self.plane)

    @contextmanager
    def traces(self) -> Iterator[RoiTraces]:
        """Give access to the traces; the reading threads wait until the context ends."""
        with self._lock:
            yield self._traces

    def follow(self, roi: Roi) -> None:
        """Measure a region in all kept pairs of its plane and in those to come."""
        with self._lock:
            self._traces.follow(roi, self._history.pairs(roi.plane))

    def write_csv(self, file: TextIO) -> int:
        """Write all traces as CSV; returns the number of lines without the header."""
        with self._lock:
            return self._traces.write_csv(file)

    # The reading threads.

    def _start(self, source: ZmqSource, push: Callable[[Event], None], name: str) -> None:
        source.open()
        thread = threading.Thread(target=self._read, args=(source, push, name), name=f"view {name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _read(self, source: ZmqSource, push: Callable[[Event], None], name: str) -> None:
        try:
            while not self._closing.is_set():
                try:
                    event = source.read(READ_TIMEOUT_S)
                except StreamError as error:
                    self.say(f"{name} stream: {error.came}")  # the source goes on with the next series
                    continue
                if isinstance(event, Frame):
                    event = replace(event, pixels=event.pixels.copy())  # the source overwrites them at the next read
                if event is not None:
                    with self._lock:
                        push(event)
        # Any exception: the window must show that the stream is no longer read, and why.
        except Exception as error:
            self.failure = error
            came = error.came if isinstance(error, DeepbidError) else f"{type(error).__name__} ({error})"
            self.say(f"{name} stream is no longer read: {came}")

    def _push_denoised(self, event: Event) -> None:
        if isinstance(event, StreamInfo):
            self._start_series(event)
            self._lines = event.shape[1]
            self._clock_check = ClockCheck()
            self._pairing.reset_denoised()
        elif isinstance(event, Frame):
            self._arrivals.add(time.monotonic())
            self._clock_check.push(event)
            raw_live = self.raw is not None and self.raw.status().state in _LIVE
            self._push_pairs(self._images(self._pairing.push_denoised(event, raw_live=raw_live)))

    def _push_raw(self, event: Event) -> None:
        denoised_live = self.denoised.status().state in _LIVE
        if isinstance(event, StreamInfo):
            self._raw_scan = event.scan
            self._raw_arrived.clear()
            self._pairing.reset_raw()
            if not denoised_live:
                self._start_series(event)
        elif isinstance(event, Frame):
            self._raw_arrived[event.index] = event.arrived_ns
            if len(self._raw_arrived) > _MAX_ARRIVALS:
                self._raw_arrived.popitem(last=False)
            if not denoised_live:
                self._arrivals.add(time.monotonic())
            self._push_pairs(self._images(self._pairing.push_raw(event, denoised_live=denoised_live)))

    def _images(self, pairs: Iterable[FramePair]) -> list[ImagePair]:
        return [image_pair(pair, self._raw_scan, self._lines, self._raw_arrived_ns(pair)) for pair in pairs]

    def _raw_arrived_ns(self, pair: FramePair) -> int:
        return self._raw_arrived.get(pair.denoised.index, 0) if pair.denoised else 0

    def _start_series(self, info: StreamInfo) -> None:
        self.info = info
        self.series += 1
        self.plane = min(self.plane, info.planes - 1)
        self._history.reset()
        self._traces.reset(info.rate_hz)

    def _push_pairs(self, pairs: list[ImagePair]) -> None:
        for pair in pairs:
            self._history.push(pair, time.monotonic())
            self._traces.push(pair)
            if pair.plane == self.plane:
                self.newest.put(pair)
