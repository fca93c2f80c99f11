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

from deepbid_rt.card import STREAMING
from deepbid_rt.denoising.plane_denoiser import PlaneDenoiser, Ready
from deepbid_rt.denoising.planes import Planes
from deepbid_rt.errors import EngineError, StreamError
from deepbid_rt.frame import Frame, FrameFlag, Motion, StreamInfo
from deepbid_rt.ports import Engine
from deepbid_rt.scan.directions import Merge, merged_geometry, merged_lines
from deepbid_rt.scan.line_phase_corrector import LinePhaseCorrector, LinePhasePolicy
from deepbid_rt.scan.normalizer import Normalizer

GapPolicy = Literal["auto", "reset", "hold"]
"""``reset``: answer what is inside and start anew after a gap. ``hold``: bridge gaps shorter than what is
remembered: a window with copies of the frame before it, a memory by becoming older. ``auto``: reset for windows, as
copies are no truth; hold for memories, to which a lost frame does no harm."""


def check_stabilizes(engine: Engine) -> None:
    """Raise `EngineError` unless the engine's frames can be registered: it must be of a kind that estimates motion."""
    if engine.card.kind not in STREAMING:
        raise EngineError(
            f"a registered movie from engine {engine.card.name!r} of kind {engine.card.kind}, which does not estimate "
            f"motion",
            expected=f"an engine of kind {' or '.join(STREAMING)}",
            todo="leave --stabilize out, or choose --engine default or average",
        )


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
    gap : {"auto", "reset", "hold"}
        What missing frames do to the temporal state.
    stabilize : bool
        Register the denoised frames to where the tissue lay in the first one, see `Registration`.
    line_phase : float, "auto" or "off"
        What is done about backward lines that lie beside their forward lines, see `LinePhaseCorrector`.

    Raises
    ------
    StreamError
        When the engine was not trained for this layout, or lines cannot be moved so.
    EngineError
        When the engine cannot take frames of this size, or is to stabilize and does not estimate motion.
    """

    _lanes: Sequence[PlaneDenoiser]
    _lock: LinePhaseCorrector
    _expected: int | None
    _order: deque[Frame]
    _ready: dict[int, tuple[NDArray[Any], Motion | None]]
    _index_of: dict[tuple[int, int], int]
    _last_tick: dict[int, int]

    def __init__(
        self,
        engine: Engine,
        info: StreamInfo,
        *,
        merge: Merge = "mean",
        gap: GapPolicy = "auto",
        stabilize: bool = False,
        line_phase: LinePhasePolicy = "auto",
    ) -> None:
        if info.scan.layout not in engine.card.scan:
            raise StreamError(
                f"engine {engine.card.name!r} was trained for {' and '.join(engine.card.scan)} scans and the stream "
                f"is {info.scan.layout}",
                expected="an engine trained for the stream's scan",
                todo="choose another engine, or correct the layout with --scan",
            )
        if stabilize:
            check_stabilizes(engine)
        self._engine = engine
        self._info = info
        scan = merged_geometry(info.scan, merge)
        self._stabilize = stabilize
        streams = engine.card.kind in STREAMING
        self.gap: Literal["reset", "hold"] = gap if gap != "auto" else "hold" if streams else "reset"
        """What missing frames do, ``auto`` resolved."""
        channels, lines, pixels = info.shape
        facts = {"engine": engine.card.name, "delay_frames": self.delay, **({"stabilized": True} if stabilize else {})}
        self.info = dataclasses.replace(
            info,
            shape=(channels, merged_lines(lines, info.scan, merge), pixels),
            scan=scan,
            series=uuid.uuid4().hex,
            parent=info.series,
            user={**info.user, **facts},
        )
        self._line_phase: LinePhasePolicy = line_phase
        self._planes = Planes(engine, info, merge, stabilize=stabilize)
        self.runtime = self._planes.runtime
        """Runtime, device and precision of the engine, and who prepares frames for it; for reports."""
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
        self._lock.see(frame)
        self._planes.views.alignment = self._lock.alignment
        nothing = np.empty(0)  # the pixels stay the source's
        lines = self._lock.measured_px, self._lock.aligned_px
        self._order.append(dataclasses.replace(frame, pixels=nothing, line_phase_px=lines[0], aligned_px=lines[1]))
        if frame.flags & FrameFlag.FLYBACK:
            views = self._planes.views
            self._ready[frame.index] = views.join(views.split(frame.pixels).astype(np.float32)), None
        else:
            tick = frame.index // self._info.planes
            self._index_of[frame.plane, tick] = frame.index
            self._last_tick[frame.plane] = tick
            self._collect(frame.plane, self._lanes[frame.plane].push(tick, frame.pixels))
        return done + self._release()

    def skip(self, count: int) -> list[Frame]:
        """Note that the next `count` frames will not come; return the frames that this sets free."""
        self._skipped += count
        if self._expected is not None:
            self._expected += count
        if self.gap == "hold" and count < self._engine.card.bridge * self._info.planes:
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
        self._lock = LinePhaseCorrector(self._info, self._line_phase)
        self._lanes = self._planes.make()
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

    def _collect(self, plane: int, answers: list[Ready]) -> None:
        for tick, pixels, motion in answers:
            self._ready[self._index_of.pop((plane, tick))] = pixels, motion

    def _release(self) -> list[Frame]:
        done = []
        while self._order and self._order[0].index in self._ready:
            frame = self._order.popleft()
            pixels, motion = self._ready.pop(frame.index)
            moved = FrameFlag.MOTION_CORRECTED if self._stabilize and motion else FrameFlag.NONE
            done.append(dataclasses.replace(frame, pixels=pixels, motion=motion, flags=frame.flags | moved))
        return done
