"""Where training computes: device, number format and memory layout, chosen by what is fast on this machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Compute:
    """A device and the number format of its convolutions. Weights, loss and optimiser are always float32."""

    device: torch.device
    bfloat16: bool

    @property
    def description(self) -> str:
        """Device and number format, for logs and reports."""
        return f"{self.device.type} {'bfloat16' if self.bfloat16 else 'float32'}"

    def move(self, net: nn.Module) -> None:
        """Move a network to the device, channels last: 1.2 to 1.3 times faster than channels first on a CPU."""
        axes = max(weights.ndim for weights in net.parameters())
        order = torch.channels_last_3d if axes == 5 else torch.channels_last
        net.to(self.device).to(memory_format=order)  # type: ignore[call-overload]

    def tensor(self, array: object) -> Tensor:
        """Copy an array to the device as float32."""
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context in which convolutions use the number format."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


def choose_compute(deepest_frames: int | None, device_number: int = 0) -> Compute:
    """Return CUDA if there is one, else the CPU; with bfloat16 if the hardware multiplies it natively.

    On a CPU that does (AVX512-BF16 or AMX), a training step takes about a third of the float32 time. On other CPUs
    bfloat16 would be emulated and slower.

    Parameters
    ----------
    deepest_frames : int or None
        Frames of a patch at the network's deepest level; None for a 2D network. If there are fewer than 3, the size of
        the kernels, a CPU computes in float32: there the bfloat16 gradient of torch 2.13's 3D convolution contains
        uninitialised memory (observed with AVX512-BF16; with 3 frames and more it agrees with float32 to rounding).
    device_number : int
        Which CUDA device, if there are several.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(device_number)
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return Compute(torch.device("cuda", device_number), bfloat16)
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return Compute(torch.device("cpu"), (deepest_frames or 3) >= 3 and any(_probe(name) for name in probes))


def _probe(name: str) -> bool:
    # These are private functions of torch. A version without them trains in float32, which is only slower.
    function: Callable[[], bool] | None = getattr(torch.cpu, name, None)
    return function is not None and bool(function())
