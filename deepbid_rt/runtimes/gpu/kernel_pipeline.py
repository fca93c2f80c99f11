"""One plane of a stream engine in kernels of our own: one raw frame goes up, one denoised frame comes down.

The same surface as `deepbid_rt.runtimes.gpu.pipeline.GpuPipeline`, on the seam to the memory alone: without torch, and
in some twenty launches a frame. `deepbid_rt.denoising.denoiser.Denoiser` is the truth; ``tests/runtimes/gpu/test_pipeline.py`` compares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.denoising.device import FrameStats
from deepbid_rt.denoising.network_inputs import padded_size
from deepbid_rt.frame import Motion, StreamInfo
from deepbid_rt.runtimes.gpu.arrays import Arrays
from deepbid_rt.runtimes.gpu.device_memory import Buffer, DeviceMemory, Program, Queue
from deepbid_rt.runtimes.gpu.kernel_frame import FrameArrays
from deepbid_rt.runtimes.gpu.kernel_history import MOTION_STATUSES, NOTE, STRIPS, THREADS, KernelHistory
from deepbid_rt.runtimes.gpu.slots import SLOTS, Slots
from deepbid_rt.scan.directions import Merge, merged_lines
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer
from deepbid_rt.scan.splitter import ScanSplitter

BindPasses = Callable[[Buffer, Buffer, tuple[int, int, int, int]], Queue]
"""Given inputs (N, K, Y, X) and answers (N, 1, Y, X) on the device, float32, and the shape of the inputs: return
what queues the network on the memory's stream. Called once for each slot: one binding must not stand in two graphs."""


class KernelPipeline:
    """Denoises one plane.

    Parameters
    ----------
    bind : callable
        The network.
    card : ModelCard
        Of kind ``stream``.
    info : StreamInfo
        The series.
    memory : DeviceMemory
        Where it runs; not closed here.
    program : Program
        The kernels; not closed here.
    merge : {"mean", "forward", "backward", "interleave"}
        What becomes of the two views of a collinear frame.

    Raises
    ------
    EngineError
        When the device has no room.
    StageError
        When the device fails.
    """

    def __init__(
        self,
        bind: BindPasses,
        card: ModelCard,
        info: StreamInfo,
        memory: DeviceMemory,
        program: Program,
        merge: Merge = "mean",
    ) -> None:
        channels, lines, pixels = info.shape
        self.info, self.merge, self.card = info, merge, card
        self._memory, self._arrays = memory, Arrays(memory)
        arrays = self._arrays
        views = ScanSplitter(info, merge)
        together = card.views == "mean" and not views.apart
        padded = padded_size(views.size, card.grid)
        passes = 1 if together else 2
        out = channels, merged_lines(lines, info.scan, merge), pixels
        self._given_shape = channels * passes, card.depth, *padded
        self._given = arrays.empty(*self._given_shape)
        self._answers = arrays.empty(channels * passes, *padded)
        self._notes = arrays.empty(NOTE + channels * views.size[0], dtype=np.float64)
        self._frames = FrameArrays(info, merge, padded, passes, arrays)
        self._frame = self._frames.frame
        self._frame.mean_bias = self._notes.address + 8 * NOTE
        self._frame.given, self._frame.answers = self._given.address, self._answers.address
        self._history = KernelHistory(card.memories, channels, views.size, arrays, program, self._notes)
        self._up = [memory.pinned(info.shape, info.dtype) for _ in range(SLOTS)]
        self._down = [memory.pinned(out, info.dtype) for _ in range(SLOTS)]
        self._told = [memory.pinned((NOTE + channels * views.size[0],), np.float64) for _ in range(SLOTS)]
        self._slots = Slots(memory.mark)
        self._launches = [self._bind(bind, program, slot) for slot in range(SLOTS)]
        self.reset()
        self._queues = [self._prepare(slot) for slot in range(SLOTS)]
        self.captured = all(graph for _, graph in self._queues)
        """Whether frames run as CUDA graphs."""
        mode = f"{SLOTS} CUDA graphs" if self.captured else "no CUDA graph"
        self.description = f"whole frames on the GPU in {self.launches} kernels, {mode}"
        """Where frames are prepared, for logs."""
        self.reset()

    @property
    def launches(self) -> int:
        """Kernels of a frame beside those of the network."""
        return len(self._launches[0]) - 1

    def set_scale(self, normalizers: Sequence[Normalizer], bias: NDArray[np.float64] | None = None) -> None:
        """Tell offset and scale of each channel, and the constant error of the engine's mean in network units (C,)."""
        self._frames.set_scale(normalizers, bias)

    def set_line_offset(self, line_offset: LineOffset | None) -> None:
        """Tell what the backward lines of the next frames go through; None: nothing."""
        self._frames.set_line_offset(line_offset)

    def reset(self) -> None:
        """Forget all frames, those on their way included."""
        self._slots.drain()
        self._history.reset(self._slots.next)

    def skip(self, count: int) -> None:
        """Let `count` frames pass that never came."""
        self._history.skip(count, self._slots.next)

    def submit(self, pixels: NDArray[Any]) -> None:
        """Queue a frame (C, Y, X) of the series; at most `SLOTS` may be on their way.

        Raises
        ------
        StageError
            When the GPU fails.
        """
        slot = self._slots.take()
        np.copyto(self._up[slot], pixels)
        self._slots.send(slot, self._queues[slot][0])

    def collect(self) -> tuple[NDArray[Any], FrameStats]:
        """Wait for the oldest frame on its way.

        Returns
        -------
        image : ndarray
            (C, Y', X) in the pixel type of the series, valid until the next but one `submit`.
        note : FrameStats
            Where the frame lay, and how far the answers' mean is off.

        Raises
        ------
        StageError
            When the GPU fails.
        """
        slot = self._slots.collect()
        dy, dx, confidence, number, *bends = self._told[slot][:NOTE].tolist()
        status = MOTION_STATUSES[int(number)]
        bent = status == "tracked" and not self._history.rigid
        motion = Motion(dy, dx, confidence, status, *(map(tuple, (bends[:STRIPS], bends[STRIPS:])) if bent else ()))
        frame = self._frame
        mean_bias = self._told[slot][NOTE:].reshape(frame.channels, frame.rows).sum(axis=1)
        return self._down[slot], FrameStats(motion, mean_bias / (frame.views * frame.rows * frame.columns))

    def push(self, pixels: NDArray[Any]) -> tuple[NDArray[Any], FrameStats]:
        """Submit a frame and collect it."""
        self.submit(pixels)
        return self.collect()

    def inputs(self) -> NDArray[np.float32]:
        """Return what the network was given for the last frame (C N, K, Y, X), padded."""
        return self._arrays.read(self._given, *self._given_shape)

    def answers(self) -> NDArray[np.float32]:
        """Return what the network answered to it (C N, Y, X)."""
        return self._arrays.read(self._answers, self._given_shape[0], *self._given_shape[2:])

    def close(self) -> None:
        """Let go of all memory, graphs included; nothing else may be called afterwards."""
        with self._memory.current():  # an owner frees its memory from any thread, but in its context alone
            vars(self).clear()

    def _bind(self, bind: BindPasses, program: Program, slot: int) -> list[Queue]:
        """Return what queues all of a frame's work, the network in its place."""
        line, frame = (THREADS, 1, 1), self._frame
        return [
            program.bind("unpack", (frame.rows, frame.views, frame.channels), line, frame),
            *self._history.push(frame, slot),
            bind(self._given, self._answers, self._given_shape),
            program.bind("finish", (frame.rows, frame.channels, 1), line, frame),
        ]

    def _prepare(self, slot: int) -> tuple[Queue, bool]:
        """Run a frame of zeros, then capture it where the owner can."""
        work = partial(self._queue, slot)
        self._up[slot].fill(0)
        work()  # libraries finish their set-up in the first run, which cannot be captured
        self._memory.synchronize()
        graph = self._memory.capture(work)
        return graph or work, graph is not None

    def _queue(self, slot: int) -> None:
        memory = self._memory
        memory.upload(self._frames.raw, self._up[slot])
        with memory.current():
            for launch in self._launches[slot]:
                launch()
        memory.download(self._down[slot], self._frames.image)
        memory.download(self._told[slot], self._notes)
