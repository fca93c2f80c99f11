"""Networks of engine files as torch modules: weights from the ONNX file, and mixed precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepbid_rt.card import ModelCard
from deepbid_rt.errors import EngineError
from deepbid_rt.nets.unet2d import UNet2D
from deepbid_rt.nets.unet3d import UNet3D
from deepbid_rt.runtimes.engine_file import check_weights
from deepbid_rt.runtimes.gpu.kernel_pipeline import BindBuffers
from deepbid_rt.runtimes.gpu.protocols import Buffer, DeviceMemory, Launch
from deepbid_rt.runtimes.gpu.tensor_pipeline import BindTensors
from deepbid_rt.runtimes.gpu.torch_memory import tensor_of
from deepbid_rt.runtimes.tensorrt.onnx_specialize import LIMIT, read_onnx, weights_of


def load_net(path: Path) -> tuple[nn.Module, ModelCard]:
    """Return the network of an engine file, on the CPU in float32, and its card.

    Raises
    ------
    EngineError
        When the file is no engine or damaged, or its network is not one of `deepbid_rt.nets`.
    """
    model, card = read_onnx(path)
    try:
        weights = weights_of(model)
        check_weights(path, (array for pair in weights for array in pair if array is not None), convolves=True)
        net = _empty_net(card, weights)
        places = _in_order(net, card)
        if len(places) != len(weights):
            raise ValueError(f"{len(weights)} convolutions")  # noqa: TRY301  # one error for every difference
        with torch.no_grad():
            for place, (weight, bias) in zip(places, weights, strict=True):
                _fill(place.weight, weight)
                if place.bias is not None and bias is not None:
                    _fill(place.bias, bias)
    except (KeyError, IndexError, ValueError) as error:
        raise EngineError(
            f"{path} holds a network of kind {card.kind!r} that torch does not know ({error})",
            expected="one that this version of deepbid-rt export would write",
            todo="leave runtime at auto",
        ) from error
    return net.eval(), card


def _empty_net(card: ModelCard, weights: Sequence[tuple[NDArray[Any], NDArray[Any] | None]]) -> nn.Module:
    if card.kind == "stream":
        width = weights[-3][0].shape[1]  # channels of the last gate's input
        for levels in (1, 2, 3):
            net = UNet2D(width, card.memories, card.look_ahead, levels)
            if sum(isinstance(module, nn.Conv2d) for module in net.modules()) == len(weights):
                return net
        raise ValueError(f"{len(weights)} convolutions")
    return UNet3D(weights[-1][0].shape[1])


def _in_order(net: nn.Module, card: ModelCard) -> list[Any]:
    """Return the convolutions of a network in the order in which they run."""
    order: list[Any] = []
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    hooks = [
        m.register_forward_pre_hook(lambda module, _inputs: order.append(module))
        for m in net.modules()
        if isinstance(m, kinds)
    ]
    side = max(card.grid, 8)
    shape = (1, card.depth, side, side) if card.kind == "stream" else (1, 1, side, side, side)
    with torch.no_grad():
        net(torch.zeros(shape))
    for hook in hooks:
        hook.remove()
    return order


def _fill(to: Tensor, values: NDArray[Any]) -> None:
    if tuple(to.shape) != values.shape:
        raise ValueError(f"weights of {values.shape} in the place of {tuple(to.shape)}")
    to.copy_(torch.from_numpy(values.copy()))


class MixedPrecision(nn.Module):
    """A network in low precision whose skip from input to answer stays in float32, as in a TensorRT plan.

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

    def forward(self, inputs: Tensor) -> Tensor:
        """Answer float32 inputs in float32."""
        x = inputs.clamp(-LIMIT, LIMIT) if self._dtype == torch.float16 else inputs
        answer: Tensor = self.low(x.to(self._dtype).contiguous(memory_format=self._order)).float()
        return answer if self.skip is None else answer + self.skip(inputs)


def bind_net(net: nn.Module) -> BindTensors:
    """Return the binding of a torch network for a `deepbid_rt.runtimes.gpu.tensor_pipeline.TensorPipeline`."""

    def bind(inputs: Tensor, answer: Tensor) -> Launch:
        def launch() -> None:
            answer.copy_(net(inputs))

        return launch

    return bind


def bind_buffers(net: Callable[[Tensor], Tensor], memory: DeviceMemory) -> BindBuffers:
    """Return the binding of a torch network for a `deepbid_rt.runtimes.gpu.kernel_pipeline.KernelPipeline`.

    Parameters
    ----------
    net : callable
        From inputs (N, K, Y, X) to answers (N, 1, Y, X), float32.
    memory : DeviceMemory
        Owned by torch.
    """

    def bind(inputs: Buffer, answers: Buffer, shape: tuple[int, int, int, int]) -> Launch:
        x, y = (tensor_of(buffer).view(torch.float32) for buffer in (inputs, answers))
        x, y = x.view(shape), y.view(shape[0], 1, *shape[2:])

        def launch() -> None:
            with memory.current(), torch.inference_mode():
                y.copy_(net(x))

        return launch

    return bind
