"""A raw frame and what became of it, joined by frame number.

Knows frames and scan geometry; no socket, thread, clock or screen.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Frame, ScanGeometry, StreamInfo
from deepbid_rt.scan.directions import merge_views, split_scan, to_image_order

MAX_WAITING = 8
"""Denoised frames that wait for their raw frames; raw frames are rarely later than this."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One frame number, as far as it has come. Pixels are (C, Y, X) in image order, both of the same shape."""

    index: int
    plane: int
    t_ns: int
    """When the microscope sent the frame, nanoseconds since the Unix epoch; 0 when unknown."""
    raw: NDArray[Any] | None
    """None when the raw frame was not received."""
    denoised: NDArray[Any] | None
    """None when there is no denoised stream."""

    @property
    def nbytes(self) -> int:
        """Bytes of pixels."""
        return sum(pixels.nbytes for pixels in (self.raw, self.denoised) if pixels is not None)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, Y, X)."""
        pixels = self.raw if self.denoised is None else self.denoised
        return (0, 0, 0) if pixels is None else pixels.shape


def raw_image(pixels: NDArray[Any], scan: ScanGeometry, lines: int | None) -> NDArray[Any]:
    """Lay a raw frame out as its denoised frame is, so that the two can stand side by side.

    Parameters
    ----------
    pixels : ndarray
        (C, Y, X) as scanned.
    scan : ScanGeometry
        How.
    lines : int or None
        Lines of the denoised frame. Half as many as were scanned: the result is the mean of the two scan directions;
        otherwise lines are only put in image order. None, not known: what the stream says of its layout decides.

    Returns
    -------
    ndarray
        (C, Y', X): the same type, or float32 for a mean.
    """
    scanned = pixels.shape[-2]
    halved = lines == -(-scanned // 2) if lines is not None else scan.layout == "collinear"
    if not halved or lines == scanned:
        return to_image_order(pixels, scan)
    forward, backward = (np.asarray(view, np.float32) for view in split_scan(pixels, scan))
    return merge_views([forward, backward], scan, "mean") if backward.size else forward


class Pairing:
    """Joins two streams that come at their own pace. Takes frames whose pixels may be kept; for one thread at a time.

    A denoised frame waits for a raw frame of its number, as long as that can still come; a frame of another series is
    told apart by its time.

    Parameters
    ----------
    max_bytes : int
        Memory for raw frames that wait for their denoised frames.
    """

    def __init__(self, max_bytes: int = 2**28) -> None:
        self._max_bytes = max_bytes
        self._raw_scan = ScanGeometry()
        self._lines: int | None = None
        self._raw: deque[Frame] = deque()
        self._raw_bytes = 0
        self._waiting: deque[Frame] = deque()
        self._newest_raw = -1

    def begin_raw(self, info: StreamInfo) -> None:
        """Begin a series of raw frames."""
        self._raw_scan, self._newest_raw = info.scan, -1
        self._raw.clear()
        self._raw_bytes = 0

    def begin_denoised(self, info: StreamInfo) -> None:
        """Begin a series of denoised frames."""
        self._lines = info.shape[1]
        self._waiting.clear()

    def take_raw(self, frame: Frame, *, denoised_alive: bool) -> list[Pair]:
        """Take a raw frame; return what is complete. Without a living denoised stream the frame is shown by itself."""
        self._newest_raw = frame.index
        if not denoised_alive:
            return [self._pair(frame, None)]
        self._raw.append(frame)
        self._raw_bytes += frame.pixels.nbytes
        while self._raw_bytes > self._max_bytes:
            self._raw_bytes -= self._raw.popleft().pixels.nbytes
        done = []
        while self._waiting and self._waiting[0].index <= frame.index:
            waiting = self._waiting.popleft()
            done.append(self._pair(self._find(waiting), waiting))
        return done

    def take_denoised(self, frame: Frame, *, raw_alive: bool) -> list[Pair]:
        """Take a denoised frame; return what is complete. Without a living raw stream it is shown by itself."""
        done: list[Pair] = []
        if raw_alive and frame.index > self._newest_raw:
            self._waiting.append(frame)
            if len(self._waiting) > MAX_WAITING:
                done.append(self._pair(None, self._waiting.popleft()))
            return done
        while self._waiting:
            done.append(self._pair(None, self._waiting.popleft()))
        return [*done, self._pair(self._find(frame), frame)]

    def _find(self, denoised: Frame) -> Frame | None:
        """Take the raw frame of `denoised`, and drop those before it: their turn is over."""
        while self._raw and self._raw[0].index <= denoised.index:
            raw = self._raw.popleft()
            self._raw_bytes -= raw.pixels.nbytes
            if raw.index == denoised.index and (not denoised.t_ns or raw.t_ns == denoised.t_ns):
                return raw
        return None

    def _pair(self, raw: Frame | None, denoised: Frame | None) -> Pair:
        known = denoised or raw
        if known is None:
            raise ValueError("a pair needs a frame")
        image = None
        if raw is not None:
            image = raw_image(raw.pixels, self._raw_scan, self._lines if denoised else None)
            if denoised is not None and image.shape != denoised.pixels.shape:
                image = None  # of a series of another size, which just ended
        pixels = denoised.pixels if denoised else None
        t_ns = known.t_ns or (raw.t_ns if raw is not None and image is not None else 0)
        return Pair(known.index, known.plane, t_ns, image, pixels)
