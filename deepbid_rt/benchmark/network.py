"""The network alone: how near each precision is to float64, and how long it takes eager, as a graph and compiled."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepbid_rt.benchmark.timing import time_runs
from deepbid_rt.runtimes.gpu.device import Device
from deepbid_rt.runtimes.torch_net import Mixed

PRECISIONS = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
INPUTS = 4
"""Inputs that are taken in turn, so that no run finds the last one's in a cache."""


def inputs_like(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return an input as a stream engine (1, K, Y, X) or a window engine (1, 1, T, Y, X) meets it."""
    rng = np.random.default_rng(seed)
    rows, columns = shape[-2:]
    y, x = np.mgrid[:rows, :columns]
    clean = 3 * np.sin(y / 7 + seed) * np.sin(x / 11) ** 2
    if len(shape) == 5:
        return torch.from_numpy((clean + rng.normal(size=shape)).astype(np.float32))
    given = clean + 0.3 * rng.normal(size=shape)
    given[:, 0] = clean + rng.normal(size=(shape[0], rows, columns))
    given[:, 1], given[:, 2] = 1, 0.98
    return torch.from_numpy(given.astype(np.float32))


def parity(net: nn.Module, shape: tuple[int, ...], place: torch.device) -> dict[str, Any]:
    """Compare each precision with float64 on the same device, and look for values that are not finite."""
    given = inputs_like(shape, 1).to(place)
    with torch.inference_mode():
        exact = copy.deepcopy(net).to(place, torch.float64)(given.double())
        result: dict[str, Any] = {"shape": list(shape)}
        for name, dtype in PRECISIONS.items():
            low = Mixed(net, dtype).to(place).eval()
            answer = low(given).double()
            error = answer - exact
            pair = torch.stack([answer.flatten(), exact.flatten()])
            extremes = [low(value * torch.ones_like(given)) for value in (0.0, -65535.0, 65535.0)]
            result[name] = {
                "relative_error": float(error.square().mean().sqrt() / exact.square().mean().sqrt()),
                "largest_error": float(error.abs().max()),
                "correlation": float(torch.corrcoef(pair)[0, 1]),
                "finite_when_dark_or_saturated": all(bool(torch.isfinite(e).all()) for e in extremes),
            }
    return result


def time_network(
    net: nn.Module, precision: str, shape: tuple[int, ...], device: Device, repeats: int, mode: str
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
    device : Device
        A graph is captured where it can; ``eager`` asks for one that cannot.
    repeats : int
        Runs that are timed.
    mode : {"eager", "graph", "compiled"}
        What is said in the result; ``compiled`` goes through torch.compile first.
    """
    module: Callable[[Tensor], Tensor] = Mixed(net, PRECISIONS[precision]).to(device.place).eval()
    begun = time.perf_counter()
    if mode == "compiled":
        module = torch.compile(module, mode="max-autotune-no-cudagraphs")
    pool = [inputs_like(shape, seed).to(device.place) for seed in range(INPUTS)]
    given = torch.empty_like(pool[0])

    @torch.inference_mode()
    def work() -> None:
        module(given)

    queue, captured = device.prepare(work)
    preparing = time.perf_counter() - begun

    def run(number: int) -> None:
        given.copy_(pool[number % INPUTS])
        if device.place.type == "cuda":
            torch.cuda.current_stream().synchronize()
        queue()

    times = time_runs(run, repeats, 10, device.place)
    return {"precision": precision, "shape": list(shape), "mode": mode, "graph": captured, **times} | {
        "preparing_s": round(preparing, 2)
    }
