"""An engine whose frames go through the kernels on the stand-in GPU, and whose network torch computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from deepbid_rt.denoising.device import FramePipeline
from deepbid_rt.frame import StreamInfo
from deepbid_rt.runtimes.gpu.driver import CudaProgram
from deepbid_rt.runtimes.gpu.kernel_pipeline import BindBuffers
from deepbid_rt.runtimes.gpu.kernel_series import kernel_series
from deepbid_rt.runtimes.gpu.protocols import Buffer, Program
from deepbid_rt.runtimes.torch import TorchEngine
from deepbid_rt.scan.directions import MergeMode
from tests.simulated_gpu import SimulatedTorchMemory
from tests.stand_in_cuda import StandInMemory, library


def bind_stand_in(net: Callable[[torch.Tensor], torch.Tensor], memory: StandInMemory) -> BindBuffers:
    """Bind a torch network for a `KernelPipeline`; it runs when the memory is synchronised."""

    def bind(inputs: Buffer, answers: Buffer, shape: tuple[int, int, int, int]) -> Callable[[], None]:
        x, y = (memory.at(buffer.address).view("f4") for buffer in (inputs, answers))

        def compute() -> None:
            with torch.inference_mode():
                y[:] = net(torch.from_numpy(x).view(shape)).ravel().numpy()

        return lambda: memory.push(compute)

    return bind


class StandInEngine(TorchEngine):
    """`TorchEngine` on the CPU with whole frames on the stand-in GPU."""

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.memory = StandInMemory()

    def open_planes(self, info: StreamInfo, merge: MergeMode) -> Sequence[FramePipeline]:
        if self._series is None:
            self._series = kernel_series(bind_stand_in(self._net, self.memory), self.card, self.memory)
        return self._series.open(info, merge)


class StandInTorchMemory(SimulatedTorchMemory):
    """Memory owned by torch on which kernels run at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = 7

    def program(self, text: bytes) -> Program:
        return CudaProgram(text, self.current, self.stream, library())
