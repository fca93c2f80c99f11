"""`SlotPipeline`: the part that both pipelines of whole frames on a device share.

A pipeline takes one raw frame up to the device and one denoised frame down. Up to `SLOTS` frames are on their way at
once. `TensorPipeline` computes them with torch, `KernelPipeline` with the kernels of this project. Reference
implementation: `deepbid_rt.denoising.denoiser.Denoiser`; ``tests/runtimes/gpu/test_slot_pipeline.py`` compares.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.denoising.device import FrameStats
from deepbid_rt.denoising.network_inputs import padded_size
from deepbid_rt.frame import StreamInfo
from deepbid_rt.runtimes.gpu.motion_numbers import MOTION_NUMBERS, motion_from
from deepbid_rt.runtimes.gpu.protocols import Launch, Wait
from deepbid_rt.runtimes.gpu.slots import SLOTS, Slots
from deepbid_rt.scan.directions import MergeMode, merged_line_count
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer
from deepbid_rt.scan.splitter import ScanSplitter


class HostArrays(NamedTuple):
    """Arrays of one slot on the host, in page-locked memory where the device has it."""

    raw: NDArray[Any]
    """(C, Y, X) in the pixel type of the series."""
    image: NDArray[Any]
    """(C, Y', X) in the same type, denoised."""
    numbers: NDArray[np.float64]
    """The motion (see `motion_numbers`), then what `SlotPipeline._mean_bias` reads."""


class SlotPipeline(ABC):
    """Denoises the frames of one plane on a device.

    A subclass makes its arrays after calling ``super().__init__`` and ends its own ``__init__`` with `_open`.

    Parameters
    ----------
    card : ModelCard
        Of kind ``stream``.
    info : StreamInfo
        The series.
    merge : {"mean", "forward", "backward", "interleave"}
        What becomes of the two views of a collinear frame.
    """

    rigid: bool
    """True when frames are too small for shifts of strips of lines."""
    captured: bool
    """True when frames run as CUDA graphs."""
    description: str
    """Where frames are prepared, for logs."""
    _slots: Slots
    _launches: Sequence[Launch]
    _host: Sequence[HostArrays]

    def __init__(self, card: ModelCard, info: StreamInfo, merge: MergeMode) -> None:
        channels, lines, pixels = info.shape
        splitter = ScanSplitter(info, merge)
        self.info, self.merge, self.card = info, merge, card
        self._views, self._size = splitter.count, splitter.size
        self._padded = padded_size(splitter.size, card.grid)
        self._together = card.views == "mean" and not splitter.separate_views
        self._inferences = 1 if self._together else 2
        self._image_shape = channels, merged_line_count(lines, info.scan, merge), pixels

    def _open(
        self, mark: Callable[[], Wait], host: Sequence[HostArrays], prepared: Sequence[tuple[Launch, bool]], what: str
    ) -> None:
        """Take what a subclass has prepared for each slot.

        Parameters
        ----------
        mark : callable
            See `Slots`.
        host : sequence of HostArrays
            One for each slot.
        prepared : sequence of (callable, bool)
            For each slot the launch of all work of a frame, and True when it replays a CUDA graph.
        what : str
            Beginning of the description.
        """
        self._slots = Slots(mark)
        self._host = host
        self._launches = [launch for launch, _ in prepared]
        self.captured = all(graph for _, graph in prepared)
        self.description = f"{what}, {f'{SLOTS} CUDA graphs' if self.captured else 'no CUDA graph'}"
        self.reset()

    @abstractmethod
    def set_scale(self, normalizers: Sequence[Normalizer], bias: NDArray[np.float64] | None = None) -> None:
        """Set offset and scale of each channel, and the constant error of the engine's mean in network units (C,)."""

    @abstractmethod
    def set_line_offset(self, line_offset: LineOffset | None) -> None:
        """Set by how much the backward lines of the following frames are moved; None: not at all."""

    @abstractmethod
    def skip(self, count: int) -> None:
        """Make the temporal averages older by `count` frames that never came."""

    @abstractmethod
    def _reset_history(self) -> None:
        """Forget motion and averages."""

    @abstractmethod
    def _mean_bias(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `FrameStats.mean_bias` from the numbers after those of the motion."""

    def reset(self) -> None:
        """Forget all frames, including those on their way. Scale and line offset stay."""
        self._slots.drain()
        self._reset_history()

    def submit(self, pixels: NDArray[Any]) -> None:
        """Queue a frame (C, Y, X) of the series; at most `SLOTS` may be on their way.

        Raises
        ------
        StageError
            When the GPU fails.
        """
        slot = self._slots.take()
        np.copyto(self._host[slot].raw, pixels)
        self._slots.send(slot, self._launches[slot])

    def collect(self) -> tuple[NDArray[Any], FrameStats]:
        """Wait for the oldest frame on its way.

        Returns
        -------
        image : ndarray
            (C, Y', X) in the pixel type of the series, valid until the second `submit` from now.
        stats : FrameStats
            Its motion and the error of its mean.

        Raises
        ------
        StageError
            When the GPU fails.
        """
        arrays = self._host[self._slots.collect()]
        motion = motion_from(arrays.numbers[:MOTION_NUMBERS].tolist(), rigid=self.rigid)
        return arrays.image, FrameStats(motion, self._mean_bias(arrays.numbers[MOTION_NUMBERS:]))

    def push(self, pixels: NDArray[Any]) -> tuple[NDArray[Any], FrameStats]:
        """Submit a frame and collect it."""
        self.submit(pixels)
        return self.collect()

    def close(self) -> None:
        """Free all memory, graphs included; nothing else may be called afterwards."""
        vars(self).clear()
