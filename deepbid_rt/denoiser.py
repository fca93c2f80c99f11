"""The truth: raw frames in, denoised frames out, in order, single-threaded and without I/O.

Live serving, offline denoising and the tests all go through `Denoiser.push`, so live output equals offline output.
It knows nothing of sockets, files, clocks or threads.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.calibration import padded_size
from deepbid_rt.card import STREAMING
from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Frame, FrameFlag, StreamInfo
from deepbid_rt.normalize import Normalizer, to_dtype
from deepbid_rt.ports import Engine
from deepbid_rt.scan import (
    Merge,
    lines_of_views,
    merge_views,
    merged_geometry,
    merged_lines,
    split_scan,
    to_image_order,
)
from deepbid_rt.stream_lane import StreamLane
from deepbid_rt.window_lane import WindowLane

GapPolicy = Literal["reset", "hold"]
"""``reset``: answer what is inside and start anew after a gap. ``hold``: bridge gaps shorter than what is
remembered: a window with copies of the frame before it, a memory by becoming older."""


class Denoiser:
    """Denoises one series, frame by frame.

    Parameters
    ----------
    engine : Engine
        Its card must name the stream's layout. Warmed up here; not closed here.
    info : StreamInfo
        The series; every frame pushed must have its shape and type.
    merge : {"mean", "forward", "backward", "interleave"}
        What becomes of the two denoised views of a collinear frame.
    gap : {"reset", "hold"}
        What missing frames do to the temporal state.

    Raises
    ------
    StreamError
        When the engine was not trained for this layout.
    EngineError
        When the engine cannot take frames of this size.
    """

    _lanes: Sequence[WindowLane | StreamLane]
    _expected: int | None
    _order: deque[Frame]
    _ready: dict[int, NDArray[Any]]
    _index_of: dict[tuple[int, int], int]
    _last_tick: dict[int, int]

    def __init__(self, engine: Engine, info: StreamInfo, *, merge: Merge = "mean", gap: GapPolicy = "reset") -> None:
        if info.scan.layout not in engine.card.scan:
            raise StreamError(
                f"engine {engine.card.name!r} was trained for {' and '.join(engine.card.scan)} scans and the stream "
                f"is {info.scan.layout}",
                expected="an engine trained for the stream's scan",
                todo="choose another engine, or correct the layout with --scan",
            )
        self._engine = engine
        self._info = info
        self._merge: Merge = merge
        scan = merged_geometry(info.scan, merge)
        self._gap = gap
        self._collinear = info.scan.layout == "collinear"
        channels, lines, pixels = info.shape
        self.info = dataclasses.replace(
            info,
            shape=(channels, merged_lines(lines, info.scan, merge), pixels),
            scan=scan,
            series=uuid.uuid4().hex,
            parent=info.series,
            user={**info.user, "engine": engine.card.name, "delay_frames": self.delay},
        )
        self._size = (max(lines_of_views(lines, info.scan)) if self._collinear else lines, pixels)
        engine.warm_up((engine.card.depth, *padded_size(self._size, engine.card.grid)))
        self._skipped = 0
        self._begin()

    @property
    def delay(self) -> int:
        """Frames (all planes counted) that follow a frame before it comes out, at most, once calibrated."""
        return self._engine.card.delay * self._info.planes

    @property
    def inside(self) -> int:
        """Frames pushed and not yet returned."""
        return len(self._order)

    @property
    def skipped(self) -> int:
        """Frames announced missing so far."""
        return self._skipped

    @property
    def normalizers(self) -> list[tuple[Normalizer, ...] | None]:
        """Offset and scale of each plane and channel; None for planes not calibrated yet."""
        return [lane.normalizers for lane in self._lanes]

    def push(self, frame: Frame) -> list[Frame]:
        """Take one frame and return the frames that became ready, in order of their index.

        A jump of the index counts as `skip`. Flyback frames are merged but not denoised.

        Raises
        ------
        StreamError
            When shape, type, plane or index contradict the series. The state stays as it was.
        """
        self._check(frame)
        done = []
        if self._expected is not None and frame.index > self._expected:
            done = self.skip(frame.index - self._expected)
        self._expected = frame.index + 1
        self._order.append(dataclasses.replace(frame, pixels=np.empty(0)))  # the pixels stay the source's
        if frame.flags & FrameFlag.FLYBACK:
            self._ready[frame.index] = self._to_image(self._views(frame.pixels).astype(np.float32))
        else:
            tick = frame.index // self._info.planes
            self._index_of[frame.plane, tick] = frame.index
            self._last_tick[frame.plane] = tick
            self._collect(frame.plane, self._lanes[frame.plane].push(tick, self._views(frame.pixels)))
        return done + self._release()

    def skip(self, count: int) -> list[Frame]:
        """Note that the next `count` frames will not come; return the frames that this sets free."""
        self._skipped += count
        if self._expected is not None:
            self._expected += count
        if self._gap == "hold" and count < self._engine.card.bridge * self._info.planes:
            return []
        return self.flush()

    def flush(self) -> list[Frame]:
        """Return all frames inside, answered with the past they have, and start anew."""
        for plane, lane in enumerate(self._lanes):
            self._collect(plane, lane.flush())
        return self._release()

    def reset(self) -> int:
        """Forget all frames, calibration included, and return how many were inside."""
        given_up = len(self._order)
        self._begin()
        return given_up

    def _begin(self) -> None:
        channels, views = self._info.shape[0], 2 if self._collinear else 1
        planes = range(self._info.planes)
        if self._engine.card.kind in STREAMING:
            apart = self._merge != "mean"
            self._lanes = [StreamLane(self._engine, channels, views, self._size, apart=apart) for _ in planes]
        else:
            self._lanes = [WindowLane(self._engine, channels, views, self._size) for _ in planes]
        self._expected = None
        self._order = deque()
        self._ready = {}
        self._index_of = {}
        self._last_tick = {}

    def _check(self, frame: Frame) -> None:
        info = self._info
        if frame.pixels.shape != info.shape or frame.pixels.dtype != info.dtype:
            raise StreamError(
                f"frame {frame.index} has shape {frame.pixels.shape} and type {frame.pixels.dtype.str}",
                expected=f"shape {info.shape} and type {info.dtype.str} as the series began",
                todo="start a new series when the frame size changes",
            )
        if self._expected is not None and frame.index < self._expected:
            raise StreamError(
                f"frame {frame.index} after frame {self._expected - 1}",
                expected="frame numbers that rise",
                todo="start a new series when the numbering starts again",
            )
        if frame.flags & FrameFlag.FLYBACK:
            return
        if not 0 <= frame.plane < info.planes:
            raise StreamError(
                f"frame {frame.index} is of plane {frame.plane}",
                expected=f"planes 0..{info.planes - 1}",
                todo="correct the number of planes in the start message",
            )
        if self._last_tick.get(frame.plane) == frame.index // info.planes:
            raise StreamError(
                f"frame {frame.index} is the second of plane {frame.plane} within {info.planes} frames",
                expected="each plane once in every volume",
                todo="correct the number of planes in the start message",
            )

    def _views(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """(C, Y, X) as scanned -> (C, V, Y', X) in image order, both views of equal height."""
        if not self._collinear:
            return to_image_order(pixels, self._info.scan)[:, None]
        forward, backward = split_scan(pixels, self._info.scan)
        rows = max(forward.shape[-2], backward.shape[-2])
        views = np.empty((pixels.shape[0], 2, rows, pixels.shape[2]), pixels.dtype)
        for v, view in enumerate((forward, backward)):
            views[:, v, : view.shape[-2]] = view
            if view.shape[-2] < rows:  # odd number of lines: the last one has no partner
                views[:, v, -1] = view[..., -1, :] if view.shape[-2] else (backward, forward)[v][..., -1, :]
        return views

    def _answer_views(self, views: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """(C, V, Y', X) -> one array per view, without the partner line that `_views` made up."""
        if not self._collinear:
            return [views[:, 0]]
        rows = lines_of_views(self._info.shape[1], self._info.scan)
        return [views[:, v, : rows[v]] for v in range(2)]

    def _to_image(self, views: NDArray[np.float32]) -> NDArray[Any]:
        image = merge_views(self._answer_views(views), self._info.scan, self._merge)
        return to_dtype(image, self._info.dtype)

    def _collect(self, plane: int, answers: list[tuple[int, NDArray[np.float32]]]) -> None:
        for tick, views in answers:
            self._ready[self._index_of.pop((plane, tick))] = self._to_image(views)

    def _release(self) -> list[Frame]:
        done = []
        while self._order and self._order[0].index in self._ready:
            frame = self._order.popleft()
            done.append(dataclasses.replace(frame, pixels=self._ready.pop(frame.index)))
        return done
