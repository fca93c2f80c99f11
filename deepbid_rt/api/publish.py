"""Frames from Python to the network: for a rig whose frames reach Python, and for consumers of results."""

from __future__ import annotations

import re
from typing import Any

from numpy.typing import DTypeLike, NDArray

from deepbid_rt.api.access import PYTHON, End, KeyFile, check_access
from deepbid_rt.api.arguments import (
    DEFAULT_RATE_HZ,
    Scan,
    as_dtype,
    as_frame_pixels,
    as_frame_shape,
    as_scan,
    check_count,
    check_endpoint,
    check_flag,
    check_number,
)
from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Frame, FrameFlag, Gap, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import LosslessSink, ZmqSink


class FrameSender:
    """Publishes one series of frames. Made by `publish`; use it in a ``with`` block, whose end ends the series.

    The series is announced with its first frame, and again every second to subscribers that come later.
    """

    def __init__(self, sink: ZmqSink | LosslessSink, info: StreamInfo) -> None:
        self._sink: ZmqSink | LosslessSink | None = sink
        self.info = info
        """The series, as subscribers receive it."""
        self.endpoint = sink.endpoint
        """The address that subscribers connect to, with its real port."""
        self._next_index = 0
        self._started = False

    def wait_for_subscriber(self, timeout_s: float) -> bool:
        """Wait until somebody subscribes; False when nobody did in time. Frames sent before that reach nobody."""
        return self._open().wait_for_subscriber(timeout_s)

    def send(self, pixels: NDArray[Any], *, flags: FrameFlag = FrameFlag.NONE) -> int:
        """Send one frame and return its number. Waits for the consumer of a lossless stream, and never for others.

        Parameters
        ----------
        pixels : ndarray
            (Y, X) or (C, Y, X) of the shape and type announced.
        flags : FrameFlag
            What is special about the frame, such as ``FrameFlag.FLYBACK``.

        Raises
        ------
        StreamError
            When shape or type are not those announced; the frame's number stays free.
        OverrunError
            When the consumer of a lossless stream has left, or has taken nothing for a minute.
        """
        array = as_frame_pixels(pixels, self.info)
        index = self._next_index
        frame = Frame(index, array, plane=index % self.info.planes, flags=flags)
        self._in_series().put(frame)
        self._next_index += 1
        return index

    def skip(self, count: int) -> None:
        """Say that the next `count` frames were lost before they reached Python; subscribers count them as lost."""
        check_count("count", count, 1)
        self._in_series().skip(Gap(self._next_index, count, "source"))
        self._next_index += count

    def close(self, reason: str = "done") -> None:
        """End the series and release the address; may be called twice."""
        sink, self._sink = self._sink, None
        if sink is None:
            return
        try:
            if self._started:
                sink.end(StreamEnd(reason))
        finally:
            sink.close()

    def _open(self) -> ZmqSink | LosslessSink:
        if self._sink is None:
            raise StreamError("a frame after close", expected="frames before it", todo="call publish again")
        return self._sink

    def _in_series(self) -> ZmqSink | LosslessSink:
        sink = self._open()
        if not self._started:
            sink.start(self.info)
            self._started = True
        return sink

    def __enter__(self) -> FrameSender:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.close("error" if error else "done")


def publish(
    endpoint: str = "tcp://127.0.0.1:5590",
    *,
    shape: tuple[int, ...],
    dtype: DTypeLike = "int16",
    rate_hz: float = DEFAULT_RATE_HZ,
    scan: Scan = "ordinary",
    planes: int = 1,
    name: str = "python",
    keys: KeyFile = None,
    insecure_lan: bool = False,
    lossless: bool = False,
) -> FrameSender:
    """Publish frames as a microscope does: ``deepbid-rt serve --source ENDPOINT`` denoises them.

    Parameters
    ----------
    endpoint : str
        ``tcp://HOST:PORT`` to bind; port 0 takes a free one, see `FrameSender.endpoint`.
    shape : tuple of int
        (Y, X) or (C, Y, X) of a frame as scanned.
    dtype : dtype
        uint8, uint16, int16 or float32.
    rate_hz : float
        Frames per second, all planes counted.
    scan : {"ordinary", "collinear"} or ScanGeometry
        How lines are scanned.
    planes : int
        Planes that are scanned in turn: frame ``n`` is of plane ``n % planes``.
    name : str
        Name of the sender: letters, digits, ``_`` and ``-``.
    keys : str or Path, optional
        Folder made by ``deepbid-rt keys``: the stream is encrypted, and only computers with an allowed key get it.
    insecure_lan : bool
        Allow an address that other machines can reach without keys: neither encrypted nor authenticated.
    lossless : bool
        Send every frame to exactly one consumer, which must ask for it (``subscribe(..., lossless=True)``), and wait
        when it is slow. Others get nothing.

    Raises
    ------
    EndpointError
        When the address is malformed, in use, or not loopback without `keys` or `insecure_lan`.
    FileError
        When the keys cannot be used.
    StreamError
        When shape, type, rate or scan are impossible.
    OptionError
        When `insecure_lan` is given for a loopback address, or beside `keys`.
    """
    check_endpoint(endpoint)
    check_flag("insecure_lan", insecure_lan)
    check_flag("lossless", lossless)
    ends = [End(endpoint, keys)]
    check_access(ends, keys=keys, server_keys={}, insecure_lan=insecure_lan, binds=True, options=PYTHON)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise StreamError(
            f"name={name!r}", expected="1 to 64 letters, digits, _ and -", todo="choose such a name for the sender"
        )
    check_count("planes", planes, 1)
    check_number("rate_hz", rate_hz)
    info = StreamInfo(
        shape=as_frame_shape(shape),
        dtype=as_dtype(dtype),
        rate_hz=rate_hz,
        scan=as_scan(scan),
        source=name,
        planes=planes,
    )
    make = LosslessSink if lossless else ZmqSink
    return FrameSender(make(endpoint, role="raw", keys=keys, insecure_lan=insecure_lan), info)
