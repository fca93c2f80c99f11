"""Where training computes: device, precision and memory order, chosen by what the machine is fast at.

Knows nothing of recipes, recordings or files.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Compute:
    """A device and the number format its convolutions use. Weights, loss and optimiser are always float32."""

    device: torch.device
    bfloat16: bool

    @property
    def description(self) -> str:
        """Device and precision, for logs and reports."""
        return f"{self.device.type} {'bfloat16' if self.bfloat16 else 'float32'}"

    def place(self, net: nn.Module) -> None:
        """Move a network here, channels last: 1.2 to 1.3 times faster than channels first on a CPU."""
        axes = max(weights.ndim for weights in net.parameters())
        order = torch.channels_last_3d if axes == 5 else torch.channels_last
        net.to(self.device).to(memory_format=order)  # type: ignore[call-overload]

    def tensor(self, array: object) -> Tensor:
        """Copy an array here as float32."""
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context in which convolutions run in this precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


def choose_compute(deepest_frames: int | None, place: int = 0) -> Compute:
    """Return CUDA where present, else the CPU; bfloat16 where the hardware multiplies it natively.

    On a CPU that does (AVX512-BF16 or AMX) a training step takes about a third of the float32 time; elsewhere it
    would be emulated and slower.

    Parameters
    ----------
    deepest_frames : int or None
        Frames of a patch at the network's deepest level; None for a 2D network. Below 3, the size of its kernels, a
        CPU computes in float32: there the bfloat16 gradient of torch 2.13's 3D convolution contains uninitialised
        memory (seen with AVX512-BF16; 3 frames and more, of any lines and pixels, agree with float32 to rounding).
    place : int
        Which of several CUDA devices.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(place)
        return Compute(torch.device("cuda", place), torch.cuda.is_bf16_supported(including_emulation=False))
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return Compute(torch.device("cpu"), (deepest_frames or 3) >= 3 and any(_probe(name) for name in probes))


def _probe(name: str) -> bool:
    # Private functions of torch: a version without them only costs speed.
    function: Callable[[], bool] | None = getattr(torch.cpu, name, None)
    return function is not None and bool(function())
