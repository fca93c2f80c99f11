"""An engine whose frames are prepared by the kernels on the stand-in, and whose network torch computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from deepbid_rt.frame import StreamInfo
from deepbid_rt.ports import FramePipeline
from deepbid_rt.runtimes.gpu.kernel_pipeline import BindPasses
from deepbid_rt.runtimes.gpu.kernel_series import kernel_series
from deepbid_rt.runtimes.gpu.memory import Buffer
from deepbid_rt.runtimes.torch import TorchEngine
from deepbid_rt.scan import Merge
from tests.stand_in_cuda import StandInMemory


def bind_passes(net: Callable[[torch.Tensor], torch.Tensor], memory: StandInMemory) -> BindPasses:
    """Join a network of torch's to a `KernelPipeline`: it is computed when the memory is waited for."""

    def bind(given: list[Buffer], answers: list[Buffer], shape: tuple[int, int, int]) -> Callable[[], None]:
        size = math.prod(shape)
        inputs = [memory.at(buffer.address).view("f4")[:size] for buffer in given]
        outputs = [memory.at(buffer.address).view("f4")[: size // shape[0]] for buffer in answers]

        def compute() -> None:
            with torch.inference_mode():
                images = net(torch.from_numpy(np.stack(inputs)).view(-1, *shape))
            for array, image in zip(outputs, images, strict=True):
                array[:] = image.ravel().numpy()

        return lambda: memory.push(compute)

    return bind


class StandInEngine(TorchEngine):
    """`TorchEngine` on the CPU with whole frames on the stand-in."""

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.memory = StandInMemory()

    def open_planes(self, info: StreamInfo, merge: Merge) -> Sequence[FramePipeline]:
        if self._series is None:
            self._series = kernel_series(bind_passes(self._net, self.memory), self.card, self.memory)
        return self._series.open(info, merge)
