"""The GPU benchmark. Each part is measured by itself, so that a part that fails does not lose the others' figures."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepbid_rt.benchmark import loop, network
from deepbid_rt.benchmark.machine import describe_machine
from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.protocols import TensorDevice
from deepbid_rt.runtimes.gpu.slot_pipeline import SlotPipeline
from deepbid_rt.runtimes.gpu.tensor_pipeline import TensorPipeline
from deepbid_rt.runtimes.gpu.torch_device import CudaDevice, HostDevice
from deepbid_rt.runtimes.gpu.torch_memory import TorchMemory
from deepbid_rt.runtimes.torch import TorchEngine
from deepbid_rt.runtimes.torch_net import MixedPrecision, bind_net, load_net

Size = tuple[int, int]


class FrameKind(NamedTuple):
    """Size of a view and scan of the frames of one measurement."""

    rows: int
    columns: int
    collinear: bool

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns} {'collinear' if self.collinear else 'ordinary'}"


@dataclass(frozen=True, slots=True)
class BenchmarkSettings:
    """How much to measure."""

    stream: Path
    """File of a stream engine."""
    window: Path
    """File of a window engine."""
    sizes: tuple[Size, ...] = ((256, 256), (512, 512), (1024, 1024), (512, 1024))
    """(Y, X) of a view, for the network alone."""
    frame_kinds: tuple[FrameKind, ...] = (
        FrameKind(256, 256, False),
        FrameKind(512, 512, False),
        FrameKind(512, 512, True),
        FrameKind(1024, 1024, False),
        FrameKind(2048, 2048, False),
    )
    """For whole frames."""
    window_frames: tuple[int, ...] = (24, 40)
    """Lengths of windows (T)."""
    repeats: int = 300
    """Runs of the network alone."""
    frames: int = 2000
    """Whole frames that are timed one after another."""
    rates_hz: tuple[float, ...] = (30.0, 100.0, 200.0, 500.0)
    """Fixed rates at which whole frames are sent."""
    seconds: float = 4.0
    """Duration of each fixed rate."""
    slots_frames: int = 1000
    """Frames that are compared between CUDA graphs and single operations."""
    precisions: tuple[str, ...] = ("f16", "bf16", "f32")
    """The first is used where only one is measured."""
    compiled: bool = True
    """Whether to measure torch.compile too, which takes minutes."""


def smallest(settings: BenchmarkSettings) -> BenchmarkSettings:
    """Return settings that measure as little as possible: every part runs, and its times mean nothing."""
    return replace(
        settings,
        sizes=((16, 24), (24, 32)),
        frame_kinds=(FrameKind(40, 48, False), FrameKind(16, 24, True)),
        window_frames=(8,),
        repeats=2,
        frames=3,
        rates_hz=(100.0,),
        seconds=0.01,
        slots_frames=4,
        precisions=("f32", "bf16"),
        compiled=False,
    )


def run(settings: BenchmarkSettings, report: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything.

    Parameters
    ----------
    settings : BenchmarkSettings
        How much.
    report : callable
        Called with the name of each part before it is measured.

    Returns
    -------
    dict
        Plain data for JSON. ``errors`` holds the traceback of each part that failed; the other parts are complete.

    Raises
    ------
    EngineError
        When the engines are of the wrong kind.
    """
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False  # f32 stands for float32 arithmetic
    benchmark = GpuBenchmark(settings, report)
    benchmark.check_precision()
    benchmark.load_precisions()
    benchmark.time_whole_frames()
    benchmark.compare_whole_frames()
    benchmark.time_stream_network()
    benchmark.time_window_network()
    if settings.compiled:
        benchmark.time_compiled()
    return benchmark.result


class GpuBenchmark:
    """The parts of the benchmark; each method adds its figures to `result`.

    Parameters
    ----------
    settings, report
        See `run`.

    Raises
    ------
    EngineError
        When the engines are of the wrong kind.
    """

    def __init__(self, settings: BenchmarkSettings, report: Callable[[str], None]) -> None:
        self._settings, self._report = settings, report
        self._cuda = torch.cuda.is_available()
        self._stream, self._card = load_net(settings.stream)
        self._window, self._window_card = load_net(settings.window)
        if self._card.kind != "stream" or self._window_card.kind != "window":
            raise EngineError(
                f"engines of kinds {self._card.kind!r} and {self._window_card.kind!r}",
                expected="a stream engine and a window engine",
                todo="name them with --engine and --window-engine",
            )
        self.result: dict[str, Any] = {"machine": describe_machine(), "errors": {}}
        self._place = self._device().place
        self._precision = settings.precisions[0]
        self._nets: dict[str, nn.Module] = {}

    def measure(self, name: str, work: Callable[[], Any]) -> None:
        """Run a part and keep its figures, or its traceback when it fails."""
        self._report(name)
        if self._cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            figures = work()
        except Exception:  # reported in the result: the other parts still run
            self.result["errors"][name] = traceback.format_exc()
            return
        if self._cuda and isinstance(figures, dict):
            figures["gpu_memory_mib"] = round(torch.cuda.max_memory_reserved() / 2**20)
        self.result[name] = figures

    def check_precision(self) -> None:
        """Compare each precision with float64."""
        size = self._settings.sizes[0]
        window_shape = (1, 1, self._settings.window_frames[0], *size)
        self.measure("parity stream", partial(network.parity, self._stream, self._input_shape(size), self._place))
        self.measure("parity window", partial(network.parity, self._window, window_shape, self._place))

    def load_precisions(self) -> None:
        """Put the stream network on the device in each precision, for all parts with whole frames."""
        for name in self._settings.precisions:
            net = MixedPrecision(self._stream, network.PRECISIONS[name])
            self._nets[name] = net.to(self._place).eval()

    def time_whole_frames(self) -> None:
        """Time whole frames of each kind; of one size in two precisions, and with the kernels on a GPU."""
        settings = self._settings
        for kind in settings.frame_kinds:
            in_two = kind[:2] == settings.frame_kinds[1][:2]
            for precision in settings.precisions[: 2 if in_two else 1]:
                self.measure(f"whole way {kind} {precision}", partial(self._time_tensors, kind, precision))
            if self._cuda:
                name = f"whole way {kind} {self._precision} in kernels"
                self.measure(name, partial(self._time_kernels, kind))

    def compare_whole_frames(self) -> None:
        """Compare CUDA graphs with single operations, and the pipeline with the denoiser on the host."""
        kinds = self._settings.frame_kinds
        kind = kinds[min(2, len(kinds) - 1)]
        self.measure("graphs against single operations", partial(self._compare_slots, kind))
        self.measure("whole way without graphs", partial(self._time_without_graphs, kind))
        self.measure("whole way against the denoiser", partial(self._compare_with_denoiser, kind))

    def time_stream_network(self) -> None:
        """Time the stream network alone, as a CUDA graph and operation by operation."""
        for size in self._settings.sizes:
            for mode in ("graph", "eager"):
                for precision in self._settings.precisions if mode == "graph" else (self._precision,):
                    name = f"network stream {mode} {size[0]}x{size[1]} {precision}"
                    self.measure(name, partial(self._time_stream_network, size, precision, mode))

    def time_window_network(self) -> None:
        """Time the window network alone."""
        sizes = self._settings.sizes
        size = sizes[1] if len(sizes) > 1 else sizes[0]
        for frames in self._settings.window_frames:
            for precision in self._settings.precisions[:2]:
                name = f"network window {frames} frames {size[0]}x{size[1]} {precision}"
                self.measure(name, partial(self._time_window_network, frames, size, precision))

    def time_compiled(self) -> None:
        """Time the network and whole frames with torch.compile."""
        size, precision = self._settings.sizes[1], self._precision
        name = f"network stream compiled {size[0]}x{size[1]} {precision}"
        self.measure(name, partial(self._time_stream_network, size, precision, "compiled"))
        plain = self._nets[precision]
        for kind in self._settings.frame_kinds[1:3]:
            for what, net in (("around the network", plain), ("everywhere", torch.compile(plain))):
                name = f"whole way {kind} {precision} compiled {what}"
                self.measure(name, partial(self._time_compiled_frames, kind, net))

    def _device(self, *, graphs: bool = True) -> TensorDevice:
        return CudaDevice(graphs=graphs) if self._cuda else HostDevice()

    def _input_shape(self, size: Size) -> tuple[int, ...]:
        return 1, self._card.depth, *size

    def _open(
        self, kind: FrameKind, net: Any, *, graphs: bool = True, **rest: Any
    ) -> tuple[TensorPipeline, list[NDArray[Any]]]:
        """Return a calibrated pipeline and frames for it."""
        info = loop.series(kind.rows, kind.columns, collinear=kind.collinear)
        return loop.make_tensor_pipeline(bind_net(net), self._card, info, self._device(graphs=graphs), **rest)

    def _time(self, pipeline: SlotPipeline, frames: list[NDArray[Any]]) -> dict[str, Any]:
        settings = self._settings
        figures = loop.time_loop(pipeline, frames, settings.frames)
        figures["paced"] = [loop.time_paced(pipeline, frames, hz, settings.seconds) for hz in settings.rates_hz]
        return figures

    def _time_tensors(self, kind: FrameKind, precision: str) -> dict[str, Any]:
        return self._time(*self._open(kind, self._nets[precision]))

    def _time_kernels(self, kind: FrameKind) -> dict[str, Any]:
        """Time the kernels of this project on memory owned by torch, which captures CUDA graphs of them."""
        memory = TorchMemory()
        info = loop.series(kind.rows, kind.columns, collinear=kind.collinear)
        pipeline, frames = loop.make_kernel_pipeline(self._nets[self._precision], self._card, info, memory)
        figures = {"launches": pipeline.kernel_count, **self._time(pipeline, frames)}
        pipeline.close()
        memory.close()
        return figures

    def _time_without_graphs(self, kind: FrameKind) -> dict[str, Any]:
        pipeline, frames = self._open(kind, self._nets[self._precision], graphs=False)
        return loop.time_loop(pipeline, frames, max(self._settings.frames // 4, 2))

    def _time_compiled_frames(self, kind: FrameKind, net: Any) -> dict[str, Any]:
        """Time compiled whole frames, and give their largest difference from plain ones first."""
        pipeline, frames = self._open(kind, net, fuse=torch.compile)
        reference = self._open(kind, self._nets[self._precision])[0]
        pairs = [[p.push(pixels)[0].astype(np.float64) for p in (pipeline, reference)] for pixels in frames]
        largest = max(float(np.abs(got - expected).max()) for got, expected in pairs)
        return {"largest_counts_against_plain": largest, **self._time(pipeline, frames)}

    def _compare_slots(self, kind: FrameKind) -> dict[str, Any]:
        net = self._nets[self._precision]
        frames = self._open(kind, net)[1]
        return loop.compare_slots(
            lambda graphs: self._open(kind, net, graphs=graphs)[0], frames, self._settings.slots_frames
        )

    def _compare_with_denoiser(self, kind: FrameKind) -> dict[str, Any]:
        pipeline, frames = self._open(kind, self._nets[self._precision])
        engine = TorchEngine(self._settings.stream, precision="f32", device="cpu")  # the host prepares its views
        info = loop.series(kind.rows, kind.columns, collinear=kind.collinear)
        figures = loop.compare_with_denoiser(pipeline, engine, info, frames[: self._card.normalization.frames])
        engine.close()
        return figures

    def _time_stream_network(self, size: Size, precision: str, mode: str) -> dict[str, Any]:
        device, shape = self._device(graphs=mode != "eager"), self._input_shape(size)
        return network.time_network(self._stream, precision, shape, device, self._settings.repeats, mode)

    def _time_window_network(self, frames: int, size: Size, precision: str) -> dict[str, Any]:
        """Time the network, and add the share of the GPU that one view takes at 30 Hz, inferred every `hop` frames."""
        shape, repeats = (1, 1, frames, *size), max(self._settings.repeats // 5, 2)
        figures = network.time_network(self._window, precision, shape, self._device(), repeats, "graph")
        hop = self._window_card.hop
        if hop:
            figures |= {"hop": hop, "gpu_share_at_30_hz_one_view": round(figures["p50_ms"] / (1e3 * hop / 30), 4)}
        return figures
