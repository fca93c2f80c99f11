"""What viewer tests share: pairs made to measure, and a feed without a network."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepbid_rt.frame import Frame, StreamInfo
from deepbid_rt.viewer.feed import Feed
from deepbid_rt.viewer.pair import Pair
from deepbid_rt.zmq_io import ZmqSource

PERIOD_NS = 33_000_000
NOWHERE = "tcp://127.0.0.1:9"
"""An address that a source may be made for; nobody opens it."""


def an_info(shape: tuple[int, int, int] = (1, 4, 6), dtype: Any = "<i2", **more: Any) -> StreamInfo:
    return StreamInfo(shape, np.dtype(dtype), 30.0, **more)


def a_frame(index: int, value: float = 0.0, shape: tuple[int, int, int] = (1, 4, 6), **more: Any) -> Frame:
    pixels = np.full(shape, value, more.pop("dtype", "<i2"))
    return Frame(index, pixels, **{"t_ns": (index + 1) * PERIOD_NS, **more})


def a_pair(index: int, raw: Any = None, denoised: Any = None, plane: int = 0) -> Pair:
    """Arrays (C, Y, X), or a value to fill (1, 4, 6) with."""
    made = [None if p is None else np.full((1, 4, 6), p, np.int16) if np.isscalar(p) else p for p in (raw, denoised)]
    return Pair(index, plane, (index + 1) * PERIOD_NS, made[0], made[1])


class StillFeed(Feed):
    """A feed that is fed by hand."""

    def __init__(self, info: StreamInfo | None = None) -> None:
        super().__init__(ZmqSource(NOWHERE))
        self.stands: Any = "live"
        if info is not None:
            self._begin(info)

    def state(self) -> Any:
        return self.stands

    def give(self, *pairs: Pair) -> None:
        with self._lock:
            self._keep(list(pairs))
