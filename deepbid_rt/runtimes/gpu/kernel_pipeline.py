"""`KernelPipeline`: whole frames of one plane through the CUDA kernels of this project.

It needs a `DeviceMemory` and no torch, and launches about twenty kernels per frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.frame import StreamInfo
from deepbid_rt.runtimes.gpu.device_arrays import DeviceArrays
from deepbid_rt.runtimes.gpu.kernel_frame import FrameArrays
from deepbid_rt.runtimes.gpu.kernel_history import THREADS, KernelHistory
from deepbid_rt.runtimes.gpu.motion_numbers import MOTION_NUMBERS
from deepbid_rt.runtimes.gpu.protocols import Buffer, DeviceMemory, Launch, Program
from deepbid_rt.runtimes.gpu.slot_pipeline import HostArrays, SlotPipeline
from deepbid_rt.runtimes.gpu.slots import SLOTS
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer

BindBuffers = Callable[[Buffer, Buffer, tuple[int, int, int, int]], Launch]
"""Given inputs (N, K, Y, X) and answers (N, 1, Y, X) on the device, both float32, and the shape of the inputs: return
the launch of the network on the memory's stream. It is called once for each slot, because one binding must not be part
of two graphs."""


class KernelPipeline(SlotPipeline):
    """Denoises one plane with CUDA kernels.

    Parameters
    ----------
    bind : callable
        The network.
    card, info, merge
        See `SlotPipeline`.
    memory : DeviceMemory
        Where it runs; not closed here.
    program : Program
        The kernels; not closed here.

    Raises
    ------
    EngineError
        When the device has no room.
    StageError
        When the device fails.
    """

    def __init__(
        self,
        bind: BindBuffers,
        card: ModelCard,
        info: StreamInfo,
        memory: DeviceMemory,
        program: Program,
        merge: MergeMode = "mean",
    ) -> None:
        super().__init__(card, info, merge)
        channels, rows = info.shape[0], self._size[0]
        self._memory, self._arrays = memory, DeviceArrays(memory)
        arrays = self._arrays
        count = channels * self._inferences
        self._inputs_shape = count, card.depth, *self._padded
        self._inputs = arrays.empty(*self._inputs_shape)
        self._answers = arrays.empty(count, *self._padded)
        numbers = MOTION_NUMBERS + channels * rows
        self._numbers = arrays.empty(numbers, dtype=np.float64)
        self._frames = FrameArrays(info, merge, self._padded, self._inferences, arrays)
        self._frame = self._frames.frame
        self._frame.excess = self._numbers.address + MOTION_NUMBERS * np.dtype(np.float64).itemsize
        self._frame.given, self._frame.answers = self._inputs.address, self._answers.address
        self._history = KernelHistory(card.memories, channels, self._size, arrays, program, self._numbers)
        self.rigid = self._history.rigid
        host = [
            HostArrays(
                memory.pinned(info.shape, info.dtype),
                memory.pinned(self._image_shape, info.dtype),
                memory.pinned((numbers,), np.float64),
            )
            for _ in range(SLOTS)
        ]
        self._steps = [self._bind(bind, program, slot) for slot in range(SLOTS)]
        self._history.reset(0)
        prepared = [self._prepare(slot, host[slot]) for slot in range(SLOTS)]
        self._open(memory.mark, host, prepared, f"whole frames on the GPU in {self.kernel_count} kernels")

    @property
    def kernel_count(self) -> int:
        """Kernels per frame, without those of the network."""
        return len(self._steps[0]) - 1

    def set_scale(self, normalizers: Sequence[Normalizer], bias: NDArray[np.float64] | None = None) -> None:
        """Set offset and scale of each channel, and the constant error of the engine's mean in network units (C,)."""
        self._frames.set_scale(normalizers, bias)

    def set_line_offset(self, line_offset: LineOffset | None) -> None:
        """Set by how much the backward lines of the following frames are moved; None: not at all."""
        self._frames.set_line_offset(line_offset)

    def skip(self, count: int) -> None:
        """Make the temporal averages older by `count` frames that never came."""
        self._history.skip(count, self._slots.next)

    def inputs(self) -> NDArray[np.float32]:
        """Return the network's inputs (C N, K, Y, X) for the last frame, padded."""
        return self._arrays.read(self._inputs, *self._inputs_shape)

    def answers(self) -> NDArray[np.float32]:
        """Return the network's answers (C N, Y, X) to them."""
        return self._arrays.read(self._answers, self._inputs_shape[0], *self._inputs_shape[2:])

    def close(self) -> None:
        """Free all memory, graphs included; nothing else may be called afterwards."""
        with self._memory.current():  # pycuda frees memory from any thread, but only in its own context
            super().close()

    def _reset_history(self) -> None:
        self._history.reset(self._slots.next)

    def _mean_bias(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        frame = self._frame
        sums = numbers.reshape(frame.channels, frame.rows).sum(axis=1)
        return np.asarray(sums / (frame.views * frame.rows * frame.columns))

    def _bind(self, bind: BindBuffers, program: Program, slot: int) -> list[Launch]:
        """Return the launches of all work of a frame in order, the network among them."""
        line, frame = (THREADS, 1, 1), self._frame
        return [
            program.bind("unpack", (frame.rows, frame.views, frame.channels), line, frame),
            *self._history.bind(frame, slot),
            bind(self._inputs, self._answers, self._inputs_shape),
            program.bind("finish", (frame.rows, frame.channels, 1), line, frame),
        ]

    def _prepare(self, slot: int, host: HostArrays) -> tuple[Launch, bool]:
        """Run a frame of zeros, then capture a graph where the memory's owner can."""
        work = partial(self._queue, slot, host)
        host.raw.fill(0)
        work()  # libraries finish their set-up in the first run, which cannot be captured
        self._memory.synchronize()
        graph = self._memory.capture(work)
        return graph or work, graph is not None

    def _queue(self, slot: int, host: HostArrays) -> None:
        memory = self._memory
        memory.upload(self._frames.raw, host.raw)
        with memory.current():
            for launch in self._steps[slot]:
                launch()
        memory.download(host.image, self._frames.image)
        memory.download(host.numbers, self._numbers)
