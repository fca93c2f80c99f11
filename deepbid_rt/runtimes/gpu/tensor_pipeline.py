"""`TensorPipeline`: whole frames of one plane through torch operations, captured as one CUDA graph per slot.

Between a raw and a denoised frame nothing waits for the host: splitting, line offset, normalisation, motion, temporal
averages, network, merging and rounding are queued together. What the host measures (offset, scale, bias, line offset)
is set from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepbid_rt.card import ModelCard
from deepbid_rt.frame import StreamInfo
from deepbid_rt.runtimes.gpu import tensor_frames as ops
from deepbid_rt.runtimes.gpu.motion_numbers import MOTION_NUMBERS
from deepbid_rt.runtimes.gpu.protocols import Launch, TensorDevice
from deepbid_rt.runtimes.gpu.slot_pipeline import HostArrays, SlotPipeline
from deepbid_rt.runtimes.gpu.slots import SLOTS
from deepbid_rt.runtimes.gpu.tensor_history import TensorHistory
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer

BindTensors = Callable[[Tensor, Tensor], Launch]
"""Given inputs (N, K, Y, X) and answers (N, 1, Y, X) on the device, both float32: return the launch of the network. It
is called once for each slot, because one binding must not be part of two graphs."""


def _unchanged(function: Any) -> Any:
    return function


class TensorPipeline(SlotPipeline):
    """Denoises one plane with torch operations.

    Parameters
    ----------
    bind : callable
        The network: all that differs between TensorRT and torch.
    card, info, merge
        See `SlotPipeline`.
    device : TensorDevice
        Where it runs.
    fuse : callable
        Applied to the functions before and after the network, such as ``torch.compile``. Without it these functions
        queue hundreds of small operations per frame.
    """

    def __init__(
        self,
        bind: BindTensors,
        card: ModelCard,
        info: StreamInfo,
        device: TensorDevice,
        merge: MergeMode = "mean",
        fuse: Callable[[Any], Any] = _unchanged,
    ) -> None:
        super().__init__(card, info, merge)
        channels, _, pixels = info.shape
        place, carrier = device.place, ops.CARRIERS[info.dtype.str]
        self._device = device
        self._padding = [ops.padding(n, p, place) for n, p in zip(self._size, self._padded, strict=True)]
        self._history = TensorHistory(card.memories, channels, self._size, place)
        self.rigid = self._history.rigid
        self._scales = {name: torch.zeros((channels, 1, 1, 1), device=place) for name in ("offset", "scale", "bias")}
        self._scales["inverse"] = torch.ones_like(self._scales["offset"])
        self._no_offset = LineOffset(info.scan, pixels, 0.0)
        self._columns = torch.from_numpy(self._no_offset.columns.astype(np.int32)).to(place)
        self._weights = torch.from_numpy(self._no_offset.weights).to(place)
        count = channels * self._inferences
        self._inputs = torch.zeros((count, card.depth, *self._padded), device=place)
        self._answers = torch.zeros((count, 1, *self._padded), device=place)
        self._networks = [bind(self._inputs, self._answers) for _ in range(SLOTS)]
        self._raw = [torch.zeros(info.shape, dtype=carrier, device=place) for _ in range(SLOTS)]
        self._up = [device.pinned(info.shape, carrier) for _ in range(SLOTS)]
        self._down = [device.pinned(self._image_shape, carrier) for _ in range(SLOTS)]
        self._numbers = [device.pinned((MOTION_NUMBERS + channels,), torch.float64) for _ in range(SLOTS)]
        self._before, self._after = fuse(self._make_inputs), fuse(self._make_image)
        with torch.inference_mode():
            prepared = [device.prepare(self._work(slot)) for slot in range(SLOTS)]
        host = [
            HostArrays(up.numpy().view(info.dtype), down.numpy().view(info.dtype), numbers.numpy())
            for up, down, numbers in zip(self._up, self._down, self._numbers, strict=True)
        ]
        self._open(device.mark, host, prepared, f"whole frames on {device.name}")

    def set_scale(self, normalizers: Sequence[Normalizer], bias: NDArray[np.float64] | None = None) -> None:
        """Set offset and scale of each channel, and the constant error of the engine's mean in network units (C,)."""
        values = {
            "offset": [n.offset for n in normalizers],
            "scale": [n.scale for n in normalizers],
            "inverse": [1 / n.scale for n in normalizers],
            "bias": np.zeros(len(normalizers)) if bias is None else bias,
        }

        def copy() -> None:
            for name, value in values.items():
                self._scales[name].copy_(torch.from_numpy(np.array(value, np.float32))[:, None, None, None])

        self._device.do(copy)

    def set_line_offset(self, line_offset: LineOffset | None) -> None:
        """Set by how much the backward lines of the following frames are moved; None: not at all."""
        chosen = line_offset or self._no_offset

        def copy() -> None:
            self._columns.copy_(torch.from_numpy(chosen.columns.astype(np.int32)))
            self._weights.copy_(torch.from_numpy(chosen.weights))

        self._device.do(copy)

    def skip(self, count: int) -> None:
        """Make the temporal averages older by `count` frames that never came."""
        self._device.do(lambda: self._history.skip(count))

    def _reset_history(self) -> None:
        self._device.do(self._history.reset)

    def _mean_bias(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        return numbers.copy()

    def _work(self, slot: int) -> Launch:
        """Return the function that queues all work of a frame."""
        raw, up, down, numbers = self._raw[slot], self._up[slot], self._down[slot], self._numbers[slot]
        network = self._networks[slot]

        @torch.inference_mode()
        def work() -> None:
            raw.copy_(up, non_blocking=True)
            units, motion, inputs = self._before(raw)
            self._inputs.copy_(inputs)
            network()
            image, mean_bias = self._after(units)
            down.copy_(image, non_blocking=True)
            numbers.copy_(torch.cat([motion, mean_bias]), non_blocking=True)

        return work

    def _make_inputs(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the views in network units, the motion (`MOTION_NUMBERS`,) and the inputs of the network."""
        raw = ops.to_float(raw, self.info.dtype)
        views = ops.split(raw, self.info.scan, self._columns, self._weights)
        units = ops.to_units(views, self._scales["offset"], self._scales["inverse"])
        motion, strips, averages = self._history.push(units)
        inputs = ops.network_inputs(units, averages, together=self._together).flatten(0, 1)
        if self._size != self._padded:
            inputs = inputs.index_select(-2, self._padding[0]).index_select(-1, self._padding[1])
        return units, torch.cat([motion, strips.flatten()]), inputs

    def _make_image(self, units: Tensor) -> tuple[Tensor, Tensor]:
        """Return the denoised image and the mean bias (C,)."""
        rows, columns = self._size
        answers = self._answers[:, 0, :rows, :columns].reshape(len(units), -1, rows, columns)
        views = ops.views_from(answers, self._views)
        mean_bias = (views - units).mean(dim=(1, 2, 3), dtype=torch.float64)
        counts = ops.to_counts(views, self._scales["offset"], self._scales["scale"], self._scales["bias"])
        image = ops.merge(counts, self.info.shape[1], self.info.scan, self.merge)
        return ops.to_pixels(image, self.info.dtype), mean_bias
