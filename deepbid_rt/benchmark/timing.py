"""Times of single runs and their percentiles, and simulated raw frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def percentiles(times_s: Sequence[float]) -> dict[str, float]:
    """Return median, 95th and 99th percentile and maximum in milliseconds."""
    values = np.asarray(times_s) * 1e3
    return {
        "n": len(values),
        "p50_ms": round(float(np.quantile(values, 0.5)), 4),
        "p95_ms": round(float(np.quantile(values, 0.95)), 4),
        "p99_ms": round(float(np.quantile(values, 0.99)), 4),
        "max_ms": round(float(values.max()), 4),
    }


def time_runs(work: Callable[[int], None], repeats: int, warm_ups: int, device: torch.device) -> dict[str, float]:
    """Time `work(number)` from queueing to completion, one run after another."""
    for number in range(warm_ups):
        work(number)
    _synchronize(device)
    times = []
    for number in range(repeats):
        begun = time.perf_counter()
        work(number)
        _synchronize(device)
        times.append(time.perf_counter() - begun)
    return percentiles(times)


def movie(shape: tuple[int, int, int], dtype: str, frames: int, *, collinear: bool) -> list[NDArray[Any]]:
    """Return raw frames (C, Y, X): a texture that moves by whole pixels, with Poisson noise."""
    rng = np.random.default_rng(5)
    channels, lines, pixels = shape
    rows = lines // 2 if collinear else lines
    spectrum = np.fft.rfft2(rng.normal(size=(rows + 16, pixels + 16)))
    y, x = np.fft.fftfreq(rows + 16)[:, None], np.fft.rfftfreq(pixels + 16)[None]
    image = np.fft.irfft2(spectrum * np.exp(-(y**2 + x**2) / (2 * 0.06**2)), s=(rows + 16, pixels + 16))
    image = 40 + 20 * np.clip(image / image.std(), -1.5, 4)
    result = []
    for _ in range(frames):
        dy, dx = (int(n) for n in rng.integers(6, 11, 2))
        cut = image[dy : dy + rows, dx : dx + pixels]
        cut = np.repeat(cut, 2, axis=0) if collinear else cut
        result.append(rng.poisson(cut, (channels, *cut.shape)).astype(dtype))
    return result


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
