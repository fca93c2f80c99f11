"""The network alone: error of each precision against float64, and time eager, as a CUDA graph and compiled."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepbid_rt.benchmark.timing import time_runs
from deepbid_rt.runtimes.gpu.protocols import TensorDevice
from deepbid_rt.runtimes.torch_net import MixedPrecision

PRECISIONS = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
INPUTS = 4
"""Number of inputs, which are used in turn, so that no run finds its input in a cache."""


def inputs_like(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return a typical input of a stream engine (1, K, Y, X) or of a window engine (1, 1, T, Y, X)."""
    rng = np.random.default_rng(seed)
    rows, columns = shape[-2:]
    y, x = np.mgrid[:rows, :columns]
    clean = 3 * np.sin(y / 7 + seed) * np.sin(x / 11) ** 2
    if len(shape) == 5:
        return torch.from_numpy((clean + rng.normal(size=shape)).astype(np.float32))
    inputs = clean + 0.3 * rng.normal(size=shape)
    inputs[:, 0] = clean + rng.normal(size=(shape[0], rows, columns))
    inputs[:, 1], inputs[:, 2] = 1, 0.98
    return torch.from_numpy(inputs.astype(np.float32))


def parity(net: nn.Module, shape: tuple[int, ...], place: torch.device) -> dict[str, Any]:
    """Compare each precision with float64 on the same device, and check extreme inputs for non-finite answers."""
    inputs = inputs_like(shape, 1).to(place)
    with torch.inference_mode():
        exact = copy.deepcopy(net).to(place, torch.float64)(inputs.double())
        result: dict[str, Any] = {"shape": list(shape)}
        for name, dtype in PRECISIONS.items():
            low = MixedPrecision(net, dtype).to(place).eval()
            answer = low(inputs).double()
            error = answer - exact
            pair = torch.stack([answer.flatten(), exact.flatten()])
            extremes = [low(value * torch.ones_like(inputs)) for value in (0.0, -65535.0, 65535.0)]
            result[name] = {
                "relative_error": float(error.square().mean().sqrt() / exact.square().mean().sqrt()),
                "largest_error": float(error.abs().max()),
                "correlation": float(torch.corrcoef(pair)[0, 1]),
                "finite_when_dark_or_saturated": all(bool(torch.isfinite(e).all()) for e in extremes),
            }
    return result


def time_network(
    net: nn.Module, precision: str, shape: tuple[int, ...], device: TensorDevice, repeats: int, mode: str
) -> dict[str, Any]:
    """Time one precision at one shape.

    Parameters
    ----------
    net : nn.Module
        In float32.
    precision : str
        One of `PRECISIONS`.
    shape : tuple of int
        Of the input.
    device : TensorDevice
        Captures a CUDA graph if it can; for ``eager`` pass one without graphs.
    repeats : int
        Timed runs.
    mode : {"eager", "graph", "compiled"}
        Name of the mode in the result; ``compiled`` applies torch.compile first.
    """
    module: Callable[[Tensor], Tensor] = MixedPrecision(net, PRECISIONS[precision]).to(device.place).eval()
    begun = time.perf_counter()
    if mode == "compiled":
        module = torch.compile(module, mode="max-autotune-no-cudagraphs")
    pool = [inputs_like(shape, seed).to(device.place) for seed in range(INPUTS)]
    inputs = torch.empty_like(pool[0])

    @torch.inference_mode()
    def work() -> None:
        module(inputs)

    launch, captured = device.prepare(work)
    preparing = time.perf_counter() - begun

    def run(number: int) -> None:
        inputs.copy_(pool[number % INPUTS])
        if device.place.type == "cuda":
            torch.cuda.current_stream().synchronize()
        launch()

    times = time_runs(run, repeats, 10, device.place)
    return {"precision": precision, "shape": list(shape), "mode": mode, "graph": captured, **times} | {
        "preparing_s": round(preparing, 2)
    }
