"""The whole benchmark: every part by itself, so that one that fails does not cost the others' figures."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepbid_rt.benchmark import loop, network
from deepbid_rt.benchmark.machine import describe_machine
from deepbid_rt.card import ModelCard
from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.device import CudaDevice, Device, HostDevice
from deepbid_rt.runtimes.gpu.torch_memory import TorchMemory
from deepbid_rt.runtimes.torch import TorchEngine
from deepbid_rt.runtimes.torch_net import Mixed, bind_net, load_net

Size = tuple[int, int]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How much to measure."""

    stream: Path
    window: Path
    sizes: tuple[Size, ...] = ((256, 256), (512, 512), (1024, 1024), (512, 1024))
    """(Y, X) of a view, for the network alone."""
    loops: tuple[tuple[int, int, bool], ...] = (
        (256, 256, False),
        (512, 512, False),
        (512, 512, True),
        (1024, 1024, False),
        (2048, 2048, False),
    )
    """(Y, X) of a view and whether frames are collinear, for the whole way."""
    window_frames: tuple[int, ...] = (24, 40)
    repeats: int = 300
    frames: int = 2000
    rates_hz: tuple[float, ...] = (30.0, 100.0, 200.0, 500.0)
    seconds: float = 4.0
    slots_frames: int = 1000
    precisions: tuple[str, ...] = ("f16", "bf16", "f32")
    compiled: bool = True


def smallest(settings: Settings) -> Settings:
    """Return the same with so little to measure that only Python is tested."""
    return replace(
        settings,
        sizes=((16, 24), (24, 32)),
        loops=((40, 48, False), (16, 24, True)),
        window_frames=(8,),
        repeats=2,
        frames=3,
        rates_hz=(100.0,),
        seconds=0.01,
        slots_frames=4,
        precisions=("f32", "bf16"),
        compiled=False,
    )


def run(settings: Settings, say: Say) -> dict[str, Any]:
    """Measure everything.

    Parameters
    ----------
    settings : Settings
        How much.
    say : callable
        Told what is measured now.

    Returns
    -------
    dict
        Plain data for JSON. ``errors`` holds what failed, by part; its other parts are whole.

    Raises
    ------
    EngineError
        When the engines are of the wrong kind.
    """
    cuda = torch.cuda.is_available()
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False  # float32 is to mean float32
    stream, card = load_net(settings.stream)
    window, window_card = load_net(settings.window)
    if card.kind != "stream" or window_card.kind != "window":
        raise EngineError(
            f"engines of kinds {card.kind!r} and {window_card.kind!r}",
            expected="a stream engine and a window engine",
            todo="name them with --engine and --window-engine",
        )
    result: dict[str, Any] = {"machine": describe_machine(), "errors": {}}

    def device(graphs: bool = True) -> Device:
        return CudaDevice(graphs=graphs) if cuda else HostDevice()

    def part(name: str, work: Callable[[], Any]) -> None:
        say(name)
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            value = work()
        except Exception:  # kept and reported; the machine may be lent for minutes only
            result["errors"][name] = traceback.format_exc()
            return
        if cuda and isinstance(value, dict):
            value["gpu_memory_mib"] = round(torch.cuda.max_memory_reserved() / 2**20)
        result[name] = value

    def views(size: Size, n: int) -> tuple[int, ...]:
        return n, card.depth, *size

    place = device().place
    part("parity stream", lambda: network.parity(stream, views(settings.sizes[0], 1), place))
    window_shape = (1, 1, settings.window_frames[0], *settings.sizes[0])
    part("parity window", lambda: network.parity(window, window_shape, place))

    def whole_way(rows: int, columns: int, collinear: bool, module: Any, graphs: bool = True, **rest: Any) -> Any:
        info = loop.series(rows, columns, collinear=collinear)
        return loop.make(bind_net(module), card, info, device(graphs), **rest)

    mixed = {name: Mixed(stream, network.PRECISIONS[name]).to(place).eval() for name in settings.precisions}
    first = settings.precisions[0]
    for rows, columns, collinear in settings.loops:
        name = f"{rows}x{columns} {'collinear' if collinear else 'ordinary'}"
        for precision in settings.precisions[: 2 if (rows, columns) == settings.loops[1][:2] else 1]:

            def timed(r: int = rows, c: int = columns, k: bool = collinear, p: str = precision) -> Any:
                pipeline, frames = whole_way(r, c, k, mixed[p])
                figures = loop.time_loop(pipeline, frames, settings.frames)
                figures["paced"] = [loop.time_paced(pipeline, frames, hz, settings.seconds) for hz in settings.rates_hz]
                return figures

            part(f"whole way {name} {precision}", timed)
        if cuda:  # kernels have no other place to run
            part(
                f"whole way {name} {first} in kernels",
                partial(_in_kernels, mixed[first], card, settings, rows, columns, collinear),
            )
    rows, columns, collinear = settings.loops[min(2, len(settings.loops) - 1)]

    def slots() -> Any:
        frames = whole_way(rows, columns, collinear, mixed[first])[1]
        return loop.compare_slots(
            lambda graphs: whole_way(rows, columns, collinear, mixed[first], graphs)[0], frames, settings.slots_frames
        )

    def against_denoiser() -> Any:
        pipeline, frames = whole_way(rows, columns, collinear, mixed[first])
        engine = TorchEngine(settings.stream, precision="f32", device="cpu")  # views prepared on the host
        figures = loop.compare_with_denoiser(
            pipeline, engine, loop.series(rows, columns, collinear=collinear), frames[: card.normalization.frames]
        )
        engine.close()
        return figures

    def eager() -> Any:
        pipeline, frames = whole_way(rows, columns, collinear, mixed[first], graphs=False)
        return loop.time_loop(pipeline, frames, max(settings.frames // 4, 2))

    part("graphs against single operations", slots)
    part("whole way without graphs", eager)
    part("whole way against the denoiser", against_denoiser)
    for size in settings.sizes:
        for mode in ("graph", "eager"):
            for precision in settings.precisions if mode == "graph" else (first,):
                on = partial(device, mode == "graph")
                time_one = partial(network.time_network, stream, precision, views(size, 1))
                part(
                    f"network stream {mode} {size[0]}x{size[1]} {precision}",
                    partial(_on, time_one, on, settings.repeats, mode),
                )
    for depth in settings.window_frames:
        size = settings.sizes[1] if len(settings.sizes) > 1 else settings.sizes[0]
        for precision in settings.precisions[:2]:
            time_one = partial(network.time_network, window, precision, (1, 1, depth, *size))
            part(
                f"network window {depth} frames {size[0]}x{size[1]} {precision}",
                partial(_on, time_one, device, max(settings.repeats // 5, 2), "graph", window_card.hop),
            )
    if settings.compiled:
        part(
            f"network stream compiled {settings.sizes[1][0]}x{settings.sizes[1][1]} {first}",
            lambda: network.time_network(
                stream, first, views(settings.sizes[1], 1), device(), settings.repeats, "compiled"
            ),
        )
        for rows, columns, collinear in settings.loops[1:3]:
            name = f"{rows}x{columns} {'collinear' if collinear else 'ordinary'}"
            for what, module in (("around the network", mixed[first]), ("everywhere", torch.compile(mixed[first]))):
                part(
                    f"whole way {name} {first} compiled {what}",
                    partial(_compiled, whole_way, mixed[first], module, (rows, columns, collinear), settings),
                )
    return result


def _on(
    time_one: Callable[..., dict[str, Any]], on: Callable[[], Device], repeats: int, mode: str, hop: int = 0
) -> dict[str, Any]:
    """Time a network; of a window engine add what one view costs that is inferred every `hop` frames at 30 Hz."""
    figures = time_one(on(), repeats, mode)
    if hop:
        figures |= {"hop": hop, "gpu_share_at_30_hz_one_view": round(figures["p50_ms"] / (1e3 * hop / 30), 4)}
    return figures


def _in_kernels(net: Any, card: ModelCard, settings: Settings, rows: int, columns: int, collinear: bool) -> Any:
    """Time the whole way in kernels of our own; memory is torch's here, which captures graphs of them too."""
    memory = TorchMemory()
    pipeline, frames = loop.make_in_kernels(net, card, loop.series(rows, columns, collinear=collinear), memory)
    figures = {"launches": pipeline.launches, **loop.time_loop(pipeline, frames, settings.frames)}
    figures["paced"] = [loop.time_paced(pipeline, frames, hz, settings.seconds) for hz in settings.rates_hz]
    pipeline.close()
    memory.close()
    return figures


def _compiled(whole_way: Any, plain: Any, fast: Any, series: tuple[int, int, bool], settings: Settings) -> Any:
    """Time the whole way compiled; how far it is from the plain one is said first, as a wrong answer costs nothing."""
    pipeline, frames = whole_way(*series, fast, fuse=torch.compile)
    reference = whole_way(*series, plain)[0]
    pairs = [[p.push(pixels)[0].astype(np.float64) for p in (pipeline, reference)] for pixels in frames]
    largest = max(float(np.abs(got - expected).max()) for got, expected in pairs)
    figures = {"largest_counts_against_plain": largest, **loop.time_loop(pipeline, frames, settings.frames)}
    figures["paced"] = [loop.time_paced(pipeline, frames, hz, settings.seconds) for hz in settings.rates_hz]
    return figures
