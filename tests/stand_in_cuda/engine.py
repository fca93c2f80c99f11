"""An engine whose frames are prepared by the kernels on the stand-in, and whose network torch computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from deepbid_rt.denoising.device import FramePipeline
from deepbid_rt.frame import StreamInfo
from deepbid_rt.runtimes.gpu.device_memory import Buffer, Program
from deepbid_rt.runtimes.gpu.driver import Kernels
from deepbid_rt.runtimes.gpu.kernel_pipeline import BindPasses
from deepbid_rt.runtimes.gpu.kernel_series import kernel_series
from deepbid_rt.runtimes.torch import TorchEngine
from deepbid_rt.scan.directions import Merge
from tests.simulated_gpu import SimulatedTorchMemory
from tests.stand_in_cuda import StandInMemory, library


def bind_passes(net: Callable[[torch.Tensor], torch.Tensor], memory: StandInMemory) -> BindPasses:
    """Join a network of torch's to a `KernelPipeline`: it is computed when the memory is waited for."""

    def bind(given: Buffer, answers: Buffer, shape: tuple[int, int, int, int]) -> Callable[[], None]:
        inputs, outputs = (memory.at(buffer.address).view("f4") for buffer in (given, answers))

        def compute() -> None:
            with torch.inference_mode():
                outputs[:] = net(torch.from_numpy(inputs).view(shape)).ravel().numpy()

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


class StandInTorchMemory(SimulatedTorchMemory):
    """torch as the owner, whose kernels run at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = 7

    def program(self, text: bytes) -> Program:
        return Kernels(text, self.current, self.stream, library())
