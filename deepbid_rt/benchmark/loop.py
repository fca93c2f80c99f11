"""Whole frames on the device: latency, highest rate, missed deadlines, and comparisons of pipelines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepbid_rt.benchmark.timing import movie, percentiles
from deepbid_rt.card import ModelCard
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.frame import Frame, ScanGeometry, StreamInfo
from deepbid_rt.ports import Engine
from deepbid_rt.runtimes.gpu import kernels
from deepbid_rt.runtimes.gpu.kernel_check import check
from deepbid_rt.runtimes.gpu.kernel_pipeline import KernelPipeline
from deepbid_rt.runtimes.gpu.protocols import DeviceMemory, TensorDevice
from deepbid_rt.runtimes.gpu.slot_pipeline import SlotPipeline
from deepbid_rt.runtimes.gpu.slots import SLOTS
from deepbid_rt.runtimes.gpu.tensor_pipeline import BindTensors, TensorPipeline
from deepbid_rt.runtimes.torch_net import bind_buffers
from deepbid_rt.scan.normalizer import calibrate

POOL = 16
"""Number of raw frames, which are sent in turn."""


def series(rows: int, columns: int, *, collinear: bool) -> StreamInfo:
    """Return a series of one channel, uint16, whose views have rows x columns."""
    scan = ScanGeometry("collinear" if collinear else "ordinary")
    return StreamInfo((1, 2 * rows if collinear else rows, columns), np.dtype("<u2"), 30.0, scan)


def make_tensor_pipeline(
    bind: BindTensors, card: ModelCard, info: StreamInfo, device: TensorDevice, **rest: Any
) -> tuple[TensorPipeline, list[NDArray[Any]]]:
    """Return a calibrated pipeline and raw frames for it; `rest` goes to the pipeline."""
    frames = movie(info.shape, info.dtype.str, POOL, collinear=info.scan.layout == "collinear")
    pipeline = TensorPipeline(bind, card, info, device, **rest)
    pipeline.set_scale([calibrate(np.stack(frames[:8]))])
    return pipeline, frames


def make_kernel_pipeline(
    net: Callable[[Tensor], Tensor], card: ModelCard, info: StreamInfo, memory: DeviceMemory
) -> tuple[KernelPipeline, list[NDArray[Any]]]:
    """Return a calibrated `KernelPipeline` that passed `check`, and raw frames for it; `memory` must be torch's."""
    frames = movie(info.shape, info.dtype.str, POOL, collinear=info.scan.layout == "collinear")
    program = memory.program(kernels.program())
    pipeline = KernelPipeline(bind_buffers(net, memory), card, info, memory, program)
    check(pipeline)
    pipeline.set_scale([calibrate(np.stack(frames[:8]))])
    return pipeline, frames


def time_loop(pipeline: SlotPipeline, frames: list[NDArray[Any]], count: int) -> dict[str, Any]:
    """Time frames one by one, then with `SLOTS` frames on their way."""
    for number in range(POOL):
        pipeline.push(frames[number])
    latencies, queueing = [], []
    for number in range(count):
        begun = time.perf_counter()
        pipeline.submit(frames[number % POOL])
        queueing.append(time.perf_counter() - begun)
        pipeline.collect()
        latencies.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    for number in range(count):
        if number >= SLOTS:
            pipeline.collect()
        pipeline.submit(frames[number % POOL])
    for _ in range(min(SLOTS, count)):
        pipeline.collect()
    seconds = time.perf_counter() - begun
    return {
        "captured": pipeline.captured,
        "latency": percentiles(latencies),
        "queueing": percentiles(queueing),
        "sustained_hz": round(count / seconds, 1),
    }


def time_paced(pipeline: SlotPipeline, frames: list[NDArray[Any]], rate_hz: float, seconds: float) -> dict[str, Any]:
    """Send frames at a fixed rate; a deadline is missed when a frame is not back before the next one is due."""
    count = max(int(rate_hz * seconds), 3)
    latencies = []
    begun = time.perf_counter()
    for number in range(count):
        due = begun + number / rate_hz
        while time.perf_counter() < due:
            pass  # time.sleep would add the latency of the operating system
        pipeline.push(frames[number % POOL])
        latencies.append(time.perf_counter() - due)
    missed = sum(latency > 1 / rate_hz for latency in latencies)
    return {"rate_hz": rate_hz, "missed": missed, **percentiles(latencies)}


def compare_slots(make_one: Callable[[bool], TensorPipeline], frames: list[NDArray[Any]], count: int) -> dict[str, Any]:
    """Send one movie through CUDA graphs and through single operations.

    Parameters
    ----------
    make_one : callable
        Returns a pipeline with CUDA graphs (True) or without (False).
    frames : list of ndarray
        Sent in turn.
    count : int
        Frames to compare; even numbers go through the graph of the first slot, odd numbers through the second.
    """
    with_graphs, without = make_one(True), make_one(False)
    largest = [0.0, 0.0]
    unequal = [0, 0]
    for number in range(count):
        images = [p.push(frames[number % POOL])[0].astype(np.float64) for p in (with_graphs, without)]
        difference = float(np.abs(images[0] - images[1]).max())
        largest[number % 2] = max(largest[number % 2], difference)
        unequal[number % 2] += difference > 0
    return {
        "frames": count,
        "captured": [with_graphs.captured, without.captured],
        **{f"{name}_largest_counts": largest[n] for n, name in enumerate(("even", "odd"))},
        **{f"{name}_unequal_frames": unequal[n] for n, name in enumerate(("even", "odd"))},
    }


def compare_with_denoiser(
    pipeline: SlotPipeline, engine: Engine, info: StreamInfo, frames: list[NDArray[Any]]
) -> dict[str, Any]:
    """Send one movie through the pipeline and through the `Denoiser` on the host."""
    denoiser = Denoiser(engine, info)
    outs = [out for n, pixels in enumerate(frames) for out in denoiser.push(Frame(n, pixels))] + denoiser.flush()
    pipeline.reset()
    images = [pipeline.push(pixels)[0].astype(np.float64) for pixels in frames]
    expected = np.stack([out.pixels for out in outs]).astype(np.float64)
    got = np.stack(images)
    return {
        "frames": len(frames),
        "correlation": float(np.corrcoef(got.ravel(), expected.ravel())[0, 1]),
        "root_mean_square_counts": float(np.sqrt(np.mean((got - expected) ** 2))),
        "largest_counts": float(np.abs(got - expected).max()),
    }
