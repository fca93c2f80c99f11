"""Made-up series, frames and pairs for the viewer tests, and a feed without a network."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepbid_rt.frame import Frame, StreamInfo
from deepbid_rt.viewer.feed import Feed
from deepbid_rt.viewer.image_pair import ImagePair
from deepbid_rt.zmq_io import ZmqSource

PERIOD_NS = 33_000_000
NOWHERE = "tcp://127.0.0.1:9"
"""A valid address for a source that is never opened."""


def an_info(shape: tuple[int, int, int] = (1, 4, 6), dtype: Any = "<i2", **more: Any) -> StreamInfo:
    return StreamInfo(shape, np.dtype(dtype), 30.0, **more)


def a_frame(index: int, value: float = 0.0, shape: tuple[int, int, int] = (1, 4, 6), **more: Any) -> Frame:
    pixels = np.full(shape, value, more.pop("dtype", "<i2"))
    return Frame(index, pixels, **{"t_ns": (index + 1) * PERIOD_NS, **more})


def a_pair(index: int, raw: Any = None, denoised: Any = None, plane: int = 0, **more: Any) -> ImagePair:
    """Return a pair of two arrays (C, Y, X); a number stands for (1, 4, 6) pixels of that value."""
    made = [None if p is None else np.full((1, 4, 6), p, np.int16) if np.isscalar(p) else p for p in (raw, denoised)]
    return ImagePair(index, plane, (index + 1) * PERIOD_NS, made[0], made[1], **more)


class ManualFeed(Feed):
    """A feed without a network: tests push its pairs and set its state."""

    def __init__(self, info: StreamInfo | None = None) -> None:
        super().__init__(ZmqSource(NOWHERE))
        self.fixed_state: Any = "live"
        if info is not None:
            self._start_series(info)

    def state(self) -> Any:
        return self.fixed_state

    def push(self, *pairs: ImagePair) -> None:
        with self._lock:
            self._push_pairs(list(pairs))
