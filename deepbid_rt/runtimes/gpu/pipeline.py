"""One plane of a stream engine on the device: one raw frame goes up, one denoised frame comes down, in two slots.

Between them nothing waits for the host: split, align, normalise, stabilise, remember, infer, map back, merge, round and
clip are captured as one CUDA graph per slot. `deepbid_rt.denoising.denoiser.Denoiser` is the truth; `tests/runtimes/gpu/test_pipeline.py`
compares. What is measured stays with the host: offset, scale, bias and how far lines lie off are told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepbid_rt.card import ModelCard
from deepbid_rt.denoising.device import FrameStats
from deepbid_rt.denoising.network_inputs import padded_size
from deepbid_rt.frame import Motion, StreamInfo
from deepbid_rt.runtimes.gpu import frames as ops
from deepbid_rt.runtimes.gpu.device import Device, Queue
from deepbid_rt.runtimes.gpu.history import GpuHistory
from deepbid_rt.runtimes.gpu.nonrigid import STRIPS
from deepbid_rt.runtimes.gpu.rigid import MOTION_STATUSES
from deepbid_rt.runtimes.gpu.slots import SLOTS, Slots
from deepbid_rt.scan.directions import Merge, lines_of_views, merged_lines
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer

Bind = Callable[[Tensor, Tensor], Queue]
"""Given input (N, K, Y, X) and answer (N, 1, Y, X) on the device, both float32: return what queues the network. Called
once for each slot, as one binding must not stand in two graphs."""
_BEND = 4
"""Numbers of a frame's motion that come before its bend."""


def _as_it_is(function: Any) -> Any:
    return function


class GpuPipeline:
    """Denoises one plane.

    Parameters
    ----------
    bind : callable
        The network; all that differs between TensorRT and torch.
    card : ModelCard
        Of kind ``stream``.
    info : StreamInfo
        The series.
    device : Device
        Where it runs.
    merge : {"mean", "forward", "backward", "interleave"}
        What becomes of the two views of a collinear frame.
    fuse : callable
        What is done to the functions before and after the network, such as ``torch.compile``: as they are, they queue
        hundreds of small operations a frame.
    """

    def __init__(
        self,
        bind: Bind,
        card: ModelCard,
        info: StreamInfo,
        device: Device,
        merge: Merge = "mean",
        fuse: Callable[[Any], Any] = _as_it_is,
    ) -> None:
        channels, lines, pixels = info.shape
        self._info, self._merge, self._device = info, merge, device
        self._views = 2 if info.scan.layout == "collinear" else 1
        self._together = card.views == "mean" and merge == "mean"
        size = (max(lines_of_views(lines, info.scan)) if self._views == 2 else lines, pixels)
        padded = padded_size(size, card.grid)
        place = device.place
        carrier = ops.CARRIERS[info.dtype.str]
        self._size = size
        self._padding = [ops.padding(n, p, place) for n, p in zip(size, padded, strict=True)]
        self._fits = size == padded
        self._history = GpuHistory(card.memories, channels, size, place)
        self._scales = {name: torch.zeros((channels, 1, 1, 1), device=place) for name in ("offset", "scale", "bias")}
        self._scales["inverse"] = torch.ones_like(self._scales["offset"])
        still = LineOffset(info.scan, pixels, 0.0)
        self._columns = torch.from_numpy(still.columns.astype(np.int32)).to(place)
        self._weights = torch.from_numpy(still.weights).to(place)
        self._still = still
        passes = channels if self._together else 2 * channels
        self._given = torch.zeros((passes, card.depth, *padded), device=place)
        self._answers = torch.zeros((passes, 1, *padded), device=place)
        self._networks = [bind(self._given, self._answers) for _ in range(SLOTS)]
        out = channels, merged_lines(lines, info.scan, merge), pixels
        self._raw = [torch.zeros(info.shape, dtype=carrier, device=place) for _ in range(SLOTS)]
        self._up = [device.pinned(info.shape, carrier) for _ in range(SLOTS)]
        self._down = [device.pinned(out, carrier) for _ in range(SLOTS)]
        self._notes = [device.pinned((_BEND + 2 * STRIPS + channels,), torch.float64) for _ in range(SLOTS)]
        self._host = [self._arrays(up, down) for up, down in zip(self._up, self._down, strict=True)]
        self._slots = Slots(device.mark)
        self._before, self._after = fuse(self._make_inputs), fuse(self._make_image)
        with torch.inference_mode():
            prepared = [device.prepare(self._step(slot)) for slot in range(SLOTS)]
        self._queues: Sequence[Queue] = [queue for queue, _ in prepared]
        self.captured = all(graph for _, graph in prepared)
        """Whether frames run as CUDA graphs."""
        mode = f"{SLOTS} CUDA graphs" if self.captured else "no CUDA graph"
        self.description = f"whole frames on {device.name}, {mode}"
        """Where frames are prepared, for logs."""
        self.reset()

    def set_scale(self, normalizers: Sequence[Normalizer], bias: NDArray[np.float64] | None = None) -> None:
        """Tell offset and scale of each channel, and the constant error of the engine's mean in network units (C,)."""
        values = {
            "offset": [n.offset for n in normalizers],
            "scale": [n.scale for n in normalizers],
            "inverse": [1 / n.scale for n in normalizers],
            "bias": np.zeros(len(normalizers)) if bias is None else bias,
        }

        def tell() -> None:
            for name, value in values.items():
                self._scales[name].copy_(torch.from_numpy(np.array(value, np.float32))[:, None, None, None])

        self._device.do(tell)

    def set_line_offset(self, line_offset: LineOffset | None) -> None:
        """Tell what the backward lines of the next frames go through; None: nothing."""
        told = line_offset or self._still

        def tell() -> None:
            self._columns.copy_(torch.from_numpy(told.columns.astype(np.int32)))
            self._weights.copy_(torch.from_numpy(told.weights))

        self._device.do(tell)

    def reset(self) -> None:
        """Forget all frames, those on their way included."""
        self._slots.drain()
        self._device.do(self._history.reset)

    def skip(self, count: int) -> None:
        """Let `count` frames pass that never came."""
        self._device.do(lambda: self._history.skip(count))

    def submit(self, pixels: NDArray[Any]) -> None:
        """Queue a frame (C, Y, X) of the series; at most `SLOTS` may be on their way.

        Raises
        ------
        StageError
            When the GPU fails.
        """
        slot = self._slots.take()
        np.copyto(self._host[slot][0], pixels)
        self._slots.send(slot, self._queues[slot])

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
        values = self._notes[slot].tolist()
        dy, dx, confidence, status = values[:_BEND]
        bends = values[_BEND : _BEND + STRIPS], values[_BEND + STRIPS : _BEND + 2 * STRIPS]
        bent = MOTION_STATUSES[int(status)] == "tracked" and not self._history.rigid
        motion = Motion(dy, dx, confidence, MOTION_STATUSES[int(status)], *(tuple(b) for b in bends if bent))
        return self._host[slot][1], FrameStats(motion, np.array(values[_BEND + 2 * STRIPS :]))

    def push(self, pixels: NDArray[Any]) -> tuple[NDArray[Any], FrameStats]:
        """Submit a frame and collect it."""
        self.submit(pixels)
        return self.collect()

    def close(self) -> None:
        """Let go of all memory, graphs included; nothing else may be called afterwards."""
        vars(self).clear()

    def _arrays(self, up: Tensor, down: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
        return up.numpy().view(self._info.dtype), down.numpy().view(self._info.dtype)

    def _step(self, slot: int) -> Queue:
        raw, up, down, notes = self._raw[slot], self._up[slot], self._down[slot], self._notes[slot]
        network = self._networks[slot]

        @torch.inference_mode()
        def work() -> None:
            raw.copy_(up, non_blocking=True)
            units, seen, inputs = self._before(raw)
            self._given.copy_(inputs)
            network()
            image, mean_bias = self._after(units)
            down.copy_(image, non_blocking=True)
            notes.copy_(torch.cat([seen, mean_bias]), non_blocking=True)

        return work

    def _make_inputs(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raw = ops.to_float(raw, self._info.dtype)
        views = ops.split(raw, self._info.scan, self._columns, self._weights)
        units = ops.to_units(views, self._scales["offset"], self._scales["inverse"])
        seen = self._history.push(units)
        inputs = ops.network_inputs(units, seen.averages, together=self._together).flatten(0, 1)
        if not self._fits:
            inputs = inputs.index_select(-2, self._padding[0]).index_select(-1, self._padding[1])
        return units, torch.cat([seen.motion, seen.bend.flatten()]), inputs

    def _make_image(self, units: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = self._size
        passes = self._answers[:, 0, :rows, :columns].reshape(len(units), -1, rows, columns)
        answers = ops.answers_of(passes, self._views)
        mean_bias = (answers - units).mean(dim=(1, 2, 3), dtype=torch.float64)
        counts = ops.to_counts(answers, self._scales["offset"], self._scales["scale"], self._scales["bias"])
        image = ops.merge(counts, self._info.shape[1], self._info.scan, self._merge)
        return ops.to_pixels(image, self._info.dtype), mean_bias
