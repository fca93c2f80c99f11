"""`TorchEngine`: runs an engine file with torch, on a CUDA GPU as a CUDA graph, or on the CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepbid_rt.denoising.device import FramePipeline
from deepbid_rt.errors import EngineError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.runtimes.gpu.device_window import DeviceWindow
from deepbid_rt.runtimes.gpu.host_memory import HostMemory
from deepbid_rt.runtimes.gpu.protocols import Buffer, DeviceMemory, Launch, TensorDevice
from deepbid_rt.runtimes.gpu.runner import NetworkRunner
from deepbid_rt.runtimes.gpu.series_pipelines import SeriesPipelines
from deepbid_rt.runtimes.gpu.tensor_series import tensor_series
from deepbid_rt.runtimes.gpu.torch_device import CudaDevice
from deepbid_rt.runtimes.gpu.torch_memory import TorchMemory, cuda_is_available, tensor_of
from deepbid_rt.runtimes.torch_net import MixedPrecision, bind_net, load_net
from deepbid_rt.scan.directions import MergeMode

log = logging.getLogger(__name__)

TorchPrecision = Literal["auto", "f16", "bf16", "f32"]
_TYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}


class TorchNetwork:
    """A torch network on the stream of a `DeviceMemory`, see `deepbid_rt.runtimes.gpu.runner.DeviceNetwork`."""

    def __init__(
        self, memory: DeviceMemory, net: nn.Module, input_shape: tuple[int, ...], answer_shape: tuple[int, ...]
    ) -> None:
        self._memory, self._net = memory, net
        self._shapes = input_shape, answer_shape

    def bind(self, inputs: Buffer, answer: Buffer) -> Launch:
        """Return the launch of the network, from one buffer into another."""
        x, y = (tensor_of(b).view(torch.float32).view(s) for b, s in zip((inputs, answer), self._shapes, strict=True))

        def launch() -> None:
            with self._memory.current(), torch.inference_mode():
                y.copy_(self._net(x))

        return launch

    def bind_window(self, places: list[Buffer], answer: Buffer) -> Callable[[int], None]:
        """Return a function that queues the network on one of several overlapping buffers, given its number."""
        launches = [self.bind(place, answer) for place in places]
        return lambda place: launches[place]()


class TorchEngine:
    """Runs an ONNX engine file with torch.

    Parameters
    ----------
    path : Path
        ONNX file with a model card.
    precision : {"auto", "f16", "bf16", "f32"}
        ``auto`` is f16 on a GPU and f32 on a CPU.
    device : {"cuda", "cpu"}, optional
        The GPU if left out and there is one.
    tensors : TensorDevice, optional
        Where whole frames are prepared; the GPU if left out. Without a GPU the host prepares them.

    Raises
    ------
    EngineError
        When the file is no engine, or there is no such device.
    """

    def __init__(
        self,
        path: Path,
        *,
        precision: TorchPrecision = "auto",
        device: str | None = None,
        tensors: TensorDevice | None = None,
    ) -> None:
        net, self.card = load_net(path)
        self._device = device or ("cuda" if cuda_is_available() else "cpu")
        chosen = ("f16" if self._device == "cuda" else "f32") if precision == "auto" else precision
        self._net = MixedPrecision(net, _TYPES[chosen]).to(self._device).eval()
        self._stream = self.card.kind == "stream"
        name = torch.cuda.get_device_name() if self._device == "cuda" else "CPU"
        self._runtime = f"torch {torch.__version__} {chosen} on {name}"
        self._runner: NetworkRunner | None = None
        self._tensors = tensors
        self._series: SeriesPipelines | None = None
        self._shape: tuple[int, int, int] | None = None
        log.info("engine %s: %s", self.card.name, self.description)

    @property
    def description(self) -> str:
        """Runtime, device, precision and, once warmed up on a GPU, whether a graph is replayed."""
        if self._runner is None or self._device == "cpu":
            return self._runtime
        return f"{self._runtime}, {self._runner.mode}"

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Prepare for inputs of shape (K, Y, X), K the card's depth.

        Raises
        ------
        EngineError
            When the network cannot take this shape, or the GPU has too little memory.
        """
        if shape == self._shape:
            return
        depth = self.card.depth if self._stream else shape[0]
        if shape[0] != depth or any(n % self.card.grid for n in (shape if not self._stream else shape[1:])):
            raise EngineError(
                f"engine {self.card.name!r} cannot take inputs of (K, Y, X) = {shape}",
                expected=f"{self.card.depth} arrays and sides in multiples of {self.card.grid}",
                todo="give it such inputs",
            )
        self._release()
        memory: DeviceMemory = TorchMemory() if self._device == "cuda" else HostMemory()
        input_shape = (1, *shape) if self._stream else (1, 1, *shape)
        answer_shape = (1, 1, *shape[1:]) if self._stream else input_shape
        self._memory, self._network = memory, TorchNetwork(memory, self._net, input_shape, answer_shape)
        self._runner = NetworkRunner(memory, self._network, input_shape, answer_shape)
        self._shape = shape

    def infer(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Denoise an input (K, Y, X); the result is valid until the next call.

        Raises
        ------
        EngineError
            When the input's shape was not warmed up.
        StageError
            When the GPU fails.
        """
        if self._runner is None or window.shape != self._shape:
            raise EngineError(
                f"an input of shape {window.shape}", expected=f"{self._shape} as warmed up", todo="call warm_up first"
            )
        answer = self._runner.run(window)
        return answer.reshape(answer.shape[-3:])

    def open_window(self, length: int, shape: tuple[int, int]) -> DeviceWindow:
        """Return an empty window of `length` frames (Y, X). Raises `EngineError` when the GPU has too little memory."""
        self.warm_up((length, *shape))
        return DeviceWindow(length, shape, self._memory, self._network.bind_window)

    def open_planes(self, info: StreamInfo, merge: MergeMode) -> Sequence[FramePipeline]:
        """Return one pipeline for each plane of a series, on the GPU.

        Raises
        ------
        EngineError
            When there is no GPU, or it has too little memory.
        """
        if self._series is None:
            if self._tensors is None and self._device != "cuda":
                raise EngineError(
                    "the network runs on the CPU", expected="a GPU", todo="leave the frames to the host, or find a GPU"
                )
            self._series = tensor_series(bind_net(self._net), self.card, self._tensors or CudaDevice())
        return self._series.open(info, merge)

    def close(self) -> None:
        """Release the memory."""
        self._release()
        if self._series is not None:
            self._series.close()

    def _release(self) -> None:
        if self._runner is not None:
            self._runner.close()
        self._runner = self._shape = None
