"""torch as a runtime: the same weights on a CUDA GPU, as a graph, or on the CPU."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepbid_rt.card import ModelCard
from deepbid_rt.errors import EngineError
from deepbid_rt.nets.unet2d import UNet2D
from deepbid_rt.nets.unet3d import UNet3D
from deepbid_rt.runtimes.gpu.host_memory import HostMemory
from deepbid_rt.runtimes.gpu.memory import Buffer, DeviceMemory
from deepbid_rt.runtimes.gpu.runner import Queue, Runner
from deepbid_rt.runtimes.gpu.torch_memory import TorchMemory, cuda_is_there, tensor_of
from deepbid_rt.runtimes.tensorrt.master import LIMIT, read_master, weights_of

log = logging.getLogger(__name__)

TorchPrecision = Literal["auto", "f16", "bf16", "f32"]
_TYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}


def load_net(path: Path) -> tuple[nn.Module, ModelCard]:
    """Return the network of an engine file, on the CPU in float32, and its card.

    Raises
    ------
    EngineError
        When the file is none, or of a network that is not in `deepbid_rt.nets`.
    """
    model, card = read_master(path)
    try:
        weights = weights_of(model)
        net = _empty_net(card, weights)
        places = _in_order(net, card)
        if len(places) != len(weights):
            raise ValueError(f"{len(weights)} convolutions")  # noqa: TRY301  # one refusal for all that differs
        with torch.no_grad():
            for place, (weight, bias) in zip(places, weights, strict=True):
                _fill(place.weight, weight)
                if place.bias is not None and bias is not None:
                    _fill(place.bias, bias)
    except (KeyError, IndexError, ValueError) as error:
        raise EngineError(
            f"{path} holds a network of kind {card.kind!r} that torch does not know ({error})",
            expected="one that deepbid-rt export wrote",
            todo="leave --runtime at auto",
        ) from error
    return net.eval(), card


def _empty_net(card: ModelCard, weights: Sequence[tuple[NDArray[Any], NDArray[Any] | None]]) -> nn.Module:
    if card.kind == "stream":
        width, depth = weights[0][0].shape[:2]
        return UNet2D(width, depth)
    return UNet3D(weights[-1][0].shape[1])


def _in_order(net: nn.Module, card: ModelCard) -> list[Any]:
    """Return the convolutions of a network in the order of their computing."""
    order: list[Any] = []
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    hooks = [
        m.register_forward_pre_hook(lambda module, _given: order.append(module))
        for m in net.modules()
        if isinstance(m, kinds)
    ]
    side = max(card.grid, 8)
    given = (1, card.depth, side, side) if card.kind == "stream" else (1, 1, side, side, side)
    with torch.no_grad():
        net(torch.zeros(given))
    for hook in hooks:
        hook.remove()
    return order


def _fill(to: Tensor, values: NDArray[Any]) -> None:
    if tuple(to.shape) != values.shape:
        raise ValueError(f"weights of {values.shape} in the place of {tuple(to.shape)}")
    to.copy_(torch.from_numpy(values.copy()))


class Mixed(nn.Module):
    """A network in low precision whose direct way from input to answer stays in float32, as in a plan.

    Parameters
    ----------
    net : nn.Module
        Not changed.
    dtype : torch.dtype
        Of the convolutions.
    """

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype
        low = copy.deepcopy(net)
        self.skip: nn.Module | None = None
        if isinstance(low, UNet2D) and dtype != torch.float32:
            self.skip = copy.deepcopy(low.skip)
            nn.init.zeros_(low.skip.weight)
            if low.skip.bias is not None:
                nn.init.zeros_(low.skip.bias)
        order = torch.channels_last_3d if isinstance(low, UNet3D) else torch.channels_last
        self.low = low.to(dtype).to(memory_format=order)  # type: ignore[call-overload]  # torch's stubs miss it
        self._order = order

    def forward(self, given: Tensor) -> Tensor:
        """Answer float32 inputs in float32."""
        x = given.clamp(-LIMIT, LIMIT) if self._dtype == torch.float16 else given
        answer: Tensor = self.low(x.to(self._dtype).contiguous(memory_format=self._order)).float()
        return answer if self.skip is None else answer + self.skip(given)


class TorchNetwork:
    """What queues a network of torch's on its current stream."""

    def __init__(self, memory: DeviceMemory, net: nn.Module, given: tuple[int, ...], answer: tuple[int, ...]) -> None:
        self._memory, self._net = memory, net
        self._shapes = given, answer

    def bind(self, given: Buffer, answer: Buffer) -> Queue:
        """Return what queues the network, from one buffer into another."""
        x, y = (tensor_of(b).view(torch.float32).view(s) for b, s in zip((given, answer), self._shapes, strict=True))

        def queue() -> None:
            with self._memory.current(), torch.inference_mode():
                y.copy_(self._net(x))

        return queue


class TorchEngine:
    """Runs an ONNX engine file with torch.

    Parameters
    ----------
    path : Path
        ONNX file with a model card.
    precision : {"auto", "f16", "bf16", "f32"}
        ``auto`` is f16 on a GPU and f32 on a CPU.
    device : {"cuda", "cpu"}, optional
        A GPU where there is one, if left out.

    Raises
    ------
    EngineError
        When the file is no engine, or the device is not there.
    """

    def __init__(self, path: Path, *, precision: TorchPrecision = "auto", device: str | None = None) -> None:
        net, self.card = load_net(path)
        self._device = device or ("cuda" if cuda_is_there() else "cpu")
        chosen = ("f16" if self._device == "cuda" else "f32") if precision == "auto" else precision
        self._net = Mixed(net, _TYPES[chosen]).to(self._device).eval()
        self._stream = self.card.kind == "stream"
        name = torch.cuda.get_device_name() if self._device == "cuda" else "CPU"
        self._what = f"torch {torch.__version__} {chosen} on {name}"
        self._runner: Runner | None = None
        self._shape: tuple[int, int, int] | None = None
        log.info("engine %s: %s", self.card.name, self.description)

    @property
    def description(self) -> str:
        """Runtime, device, precision and, once warmed up on a GPU, whether a graph is replayed."""
        return self._what if self._runner is None or self._device == "cpu" else f"{self._what}, {self._runner.mode}"

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
        given = (1, *shape) if self._stream else (1, 1, *shape)
        answer = (1, 1, *shape[1:]) if self._stream else given
        self._runner = Runner(memory, TorchNetwork(memory, self._net, given, answer), given, answer)
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

    def close(self) -> None:
        """Release the memory."""
        self._release()

    def _release(self) -> None:
        if self._runner is not None:
            self._runner.close()
        self._runner = self._shape = None


def bind_net(net: nn.Module) -> Callable[[Tensor, Tensor], Queue]:
    """Return what joins a network of torch's to a `deepbid_rt.runtimes.gpu.pipeline.GpuPipeline`."""

    def bind(given: Tensor, answer: Tensor) -> Queue:
        def queue() -> None:
            answer.copy_(net(given))

        return queue

    return bind
