"""Denoises one series: raw frames go in, denoised frames come out in the same order.

A `Denoiser` corrects the line phase, passes the frames of each plane to a `PlaneDenoiser`, and puts the results back
into order. It is single-threaded and uses no files, sockets or clocks. Live serving, offline denoising and the tests
all call `Denoiser.push`, so live output equals offline output.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import STREAMING
from deepbid_rt.denoising.answer import Answer
from deepbid_rt.denoising.denoised_stream import denoised_stream
from deepbid_rt.denoising.network_inputs import padded_size
from deepbid_rt.denoising.passed_channels import PassedChannels, check_channels
from deepbid_rt.denoising.plane_denoiser import PlaneDenoiser, make_plane_denoisers, open_pipelines
from deepbid_rt.errors import EngineError, StreamError
from deepbid_rt.frame import Frame, FrameFlag, StreamInfo
from deepbid_rt.ports import Engine
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.line_phase_corrector import LinePhaseCorrector, LinePhasePolicy
from deepbid_rt.scan.missing_pixels import MaskedRegion, MissingPixels
from deepbid_rt.scan.normalizer import LARGEST_COUNT, Normalizer, without_impossible
from deepbid_rt.scan.splitter import ScanSplitter

log = logging.getLogger(__name__)

GapPolicy = Literal["auto", "reset", "hold"]
"""What missing frames do. ``reset``: denoise the frames before the gap without later ones and forget them. ``hold``:
keep the temporal state over short gaps; a window repeats the frame before the gap, temporal averages become older.
``auto``: reset for window engines, since repeated frames are not data; hold for temporal averages."""


def check_stabilizes(engine: Engine) -> None:
    """Raise `EngineError` unless the engine estimates motion, which registration needs."""
    if engine.card.kind not in STREAMING:
        raise EngineError(
            f"registration with engine {engine.card.name!r} of kind {engine.card.kind}, which does not estimate motion",
            expected=f"an engine of kind {' or '.join(STREAMING)}",
            todo="leave stabilize out, or choose the engine default or average",
        )


class Denoiser:
    """Denoises one series, frame by frame.

    Parameters
    ----------
    engine : Engine
        Its card must name the layout of the scan. The denoiser warms it up and does not close it.
    info : StreamInfo
        The raw series; every frame must have its shape and type.
    merge : {"mean", "forward", "backward", "interleave"}
        How the two views of a collinear frame become one image, see `merge_views`.
    gap : {"auto", "reset", "hold"}
        What missing frames do, see `GapPolicy`.
    stabilize : bool
        Register the denoised frames to the first one, see `Registration`.
    line_phase : float, "auto" or "off"
        Correction of the line phase, see `LinePhaseCorrector`.
    channels : sequence of int, optional
        Channels to denoise; the others are passed through with the same geometry, and the motion is measured without
        them. None: all.

    Raises
    ------
    StreamError
        When the engine was not trained for the layout, `line_phase` does not fit the scan, or there is no such channel.
    EngineError
        When the engine cannot process frames of this size, or `stabilize` is set and it does not estimate motion.
    """

    _expected: int | None  # index of the next frame; None before the first

    def __init__(
        self,
        engine: Engine,
        info: StreamInfo,
        *,
        merge: MergeMode = "mean",
        gap: GapPolicy = "auto",
        stabilize: bool = False,
        line_phase: LinePhasePolicy = "auto",
        channels: Sequence[int] | None = None,
    ) -> None:
        if info.scan.layout not in engine.card.scan:
            raise StreamError(
                f"engine {engine.card.name!r} was trained for {' and '.join(engine.card.scan)} scans and the stream "
                f"is {info.scan.layout}",
                expected="an engine trained for the stream's scan",
                todo="choose another engine, or correct the layout of the scan",
            )
        if stabilize:
            check_stabilizes(engine)
        self._engine = engine
        self._info = info
        self._channels = check_channels(channels, info.shape[0])
        self._chosen = dataclasses.replace(info, shape=(len(self._channels), *info.shape[1:]))
        self._stabilize = stabilize
        streams = engine.card.kind in STREAMING
        self.gap: Literal["reset", "hold"] = gap if gap != "auto" else "hold" if streams else "reset"
        """The gap policy, with ``auto`` resolved."""
        added: dict[str, Any] = {"engine": engine.card.name, "delay_frames": self.delay}
        if stabilize:
            added["stabilized"] = True
        if len(self._channels) < info.shape[0]:
            added["denoised_channels"] = list(self._channels)
        self.info = denoised_stream(info, merge, added)
        """Description of the denoised series."""
        self._line_phase: LinePhasePolicy = line_phase
        self._splitter = ScanSplitter(info, merge)
        self._pipelines, self.runtime = open_pipelines(engine, self._chosen, merge, stabilize=stabilize)
        """Runtime, device and precision of the engine, and where frames are prepared; for reports."""
        engine.warm_up((engine.card.depth, *padded_size(self._splitter.size, engine.card.grid)))
        self._skipped = self._impossible = 0
        self._begin()

    @property
    def delay(self) -> int:
        """Largest number of later frames, over all planes, that a frame waits for once the planes are calibrated."""
        return self._engine.card.delay * self._info.planes

    @property
    def inside(self) -> int:
        """Number of frames pushed and not yet returned."""
        return len(self._order)

    @property
    def skipped(self) -> int:
        """Number of missing frames so far."""
        return self._skipped

    @property
    def impossible_pixels(self) -> int:
        """Number of pixels so far that were NaN, infinite or beyond `LARGEST_COUNT`."""
        return self._impossible

    @property
    def normalizers(self) -> list[tuple[Normalizer, ...] | None]:
        """Offset and scale of each plane and denoised channel; None for planes that are not calibrated yet."""
        return [plane.normalizers for plane in self._planes]

    def push(self, frame: Frame) -> list[Frame]:
        """Add one frame and return the frames that are ready, in order of their index.

        A jump of the index counts as a gap, see `skip`. Flyback frames are merged but not denoised.

        Raises
        ------
        StreamError
            When shape, type, plane or index do not fit the series. The denoiser can be used further.
        """
        self._check(frame)
        frame = self._without_impossible(frame)
        done = []
        if self._expected is not None and frame.index > self._expected:
            done = self.skip(frame.index - self._expected)
        self._expected = frame.index + 1
        missing = None
        if not frame.flags & FrameFlag.FLYBACK:
            filled = self._missing[frame.plane].push(frame.pixels)
            frame, missing = dataclasses.replace(frame, pixels=filled.pixels), filled.missing
        corrector = self._line_phase_corrector
        corrector.push(frame)
        line_offset = corrector.line_offset
        self._order.append(
            dataclasses.replace(
                frame,
                pixels=np.empty(0),  # not kept, because the source may reuse the array
                line_phase_px=corrector.measured_px,
                aligned_px=corrector.aligned_px,
            )
        )
        if frame.flags & FrameFlag.FLYBACK:
            views = self._splitter.split(frame.pixels, line_offset)
            self._ready[frame.index] = Answer(frame.index, self._splitter.join(views.astype(np.float32)))
        else:
            plane_frame = frame.index // self._info.planes
            self._index_of[frame.plane, plane_frame] = frame.index
            self._last_plane_frame[frame.plane] = plane_frame
            pixels, passed = frame.pixels, self._passed
            if passed:
                passed[frame.plane].keep(plane_frame, pixels, line_offset)
                chosen = passed[frame.plane].denoised
                pixels, missing = pixels[chosen], None if missing is None else missing[chosen]
            self._collect(frame.plane, self._planes[frame.plane].push(plane_frame, pixels, line_offset, missing))
        return done + self._release()

    def skip(self, count: int) -> list[Frame]:
        """Report that the next `count` frames are missing; return the frames that become ready by this."""
        self._skipped += count
        if self._expected is not None:
            self._expected += count
        if self.gap == "hold" and count < self._engine.card.reset_gap * self._info.planes:
            return []
        return self.flush()

    def flush(self) -> list[Frame]:
        """Return all frames inside, denoised without later frames, and forget the temporal state."""
        for plane, denoiser in enumerate(self._planes):
            self._collect(plane, denoiser.flush())
        return self._release()

    def reset(self) -> int:
        """Forget all frames and the calibration; return the number of frames that were inside."""
        dropped = len(self._order)
        self._begin()
        return dropped

    def _begin(self) -> None:
        self._line_phase_corrector = LinePhaseCorrector(self._info, self._line_phase)
        self._planes: Sequence[PlaneDenoiser] = make_plane_denoisers(
            self._engine, self._chosen, self._splitter, self._pipelines, stabilize=self._stabilize
        )
        self._passed: list[PassedChannels] = []  # by plane; empty when all channels are denoised
        if len(self._channels) < self._info.shape[0]:
            self._passed = [
                PassedChannels(self._info, self._splitter, self._channels, stabilize=self._stabilize)
                for _ in range(self._info.planes)
            ]
        self._missing = [MissingPixels(self._info.shape) for _ in range(self._info.planes)]
        # By plane, the masked region of the raw frames with the same in the geometry of the denoised ones.
        nothing: NDArray[Any] = np.empty(0)
        self._masks: list[tuple[MaskedRegion | None, NDArray[Any], NDArray[Any]]] = [
            (None, nothing, nothing) for _ in range(self._info.planes)
        ]
        self._told = [False] * self._info.planes
        self._expected = None
        self._order: deque[Frame] = deque()  # frames inside, without their pixels
        self._ready: dict[int, Answer] = {}  # denoised frames by index, until all frames before them are ready
        self._index_of: dict[tuple[int, int], int] = {}  # index of each frame inside by (plane, plane_frame)
        self._last_plane_frame: dict[int, int] = {}  # by plane

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
                expected="increasing frame numbers",
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
        if self._last_plane_frame.get(frame.plane) == frame.index // info.planes:
            raise StreamError(
                f"frame {frame.index} is the second of plane {frame.plane} within {info.planes} frames",
                expected="each plane once in each volume",
                todo="correct the number of planes in the start message",
            )

    def _without_impossible(self, frame: Frame) -> Frame:
        """Replace pixels that no detector can have measured by NaN, and count them together with those that are NaN."""
        pixels = without_impossible(frame.pixels)
        if pixels is frame.pixels:
            return frame
        count = int(np.isnan(pixels).sum())
        if not self._impossible:
            log.warning(
                "frame %d has %d pixels of %d that are NaN, infinite or beyond %g: such pixels are filled from what "
                "was measured around them, in later frames too",
                frame.index,
                count,
                pixels.size,
                LARGEST_COUNT,
            )
        self._impossible += count
        return dataclasses.replace(frame, pixels=pixels)

    def _tell(self, plane: int, missing: MissingPixels) -> None:
        """Log once for each plane which pixels hold no measurement, when its first frame comes out."""
        self._told[plane] = True
        if missing.stuck_pixels:
            log.warning(
                "%d pixels of plane %d stand far above all others and never change: they are taken for stuck and are "
                "filled from what was measured around them",
                missing.stuck_pixels,
                plane,
            )
        if missing.masked is not None:
            log.info(
                "%.1f %% of the frames of plane %d never change: they are taken to lie outside the field, are kept as "
                "they are, and tell nothing about motion and noise",
                100 * missing.masked.where.mean(),
                plane,
            )

    def _collect(self, plane: int, answers: list[Answer]) -> None:
        for answer in answers:
            if self._passed:
                whole = self._passed[plane].join(answer.plane_frame, answer.pixels, answer.motion)
                answer = dataclasses.replace(answer, pixels=whole)
            self._ready[self._index_of.pop((plane, answer.plane_frame))] = answer

    def _release(self) -> list[Frame]:
        done = []
        while self._order and self._order[0].index in self._ready:
            frame = self._order.popleft()
            answer = self._ready.pop(frame.index)
            flyback = bool(frame.flags & FrameFlag.FLYBACK)
            pixels = answer.pixels if flyback else self._with_mask(answer.pixels, frame.plane)
            registered = FrameFlag.MOTION_CORRECTED if self._stabilize and answer.motion else FrameFlag.NONE
            done.append(dataclasses.replace(frame, pixels=pixels, motion=answer.motion, flags=frame.flags | registered))
        return done

    def _with_mask(self, pixels: NDArray[Any], plane: int) -> NDArray[Any]:
        """Put the counts outside the field back into a denoised frame (C, Y, X)."""
        missing = self._missing[plane]
        masked = missing.masked
        if not self._told[plane]:
            self._tell(plane, missing)
        if masked is None:
            return pixels
        if masked is not self._masks[plane][0]:
            split, join = self._splitter.split, self._splitter.join
            where = join(split(masked.where.astype(np.float32)), np.float32) == 1  # where all views are masked
            self._masks[plane] = masked, where, join(split(masked.counts).astype(np.float32))
        _, where, counts = self._masks[plane]
        np.copyto(pixels, counts, where=where)
        return pixels
