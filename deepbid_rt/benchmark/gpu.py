"""The whole benchmark: every part by itself, so that one that fails does not cost the others' figures."""

from __future__ import annotations

import platform
import shutil
import subprocess
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from deepbid_rt.benchmark import loop, network
from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.device import CudaDevice, Device, HostDevice
from deepbid_rt.runtimes.torch import Mixed, TorchEngine, bind_net, load_net

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
        except Exception:  # noqa: BLE001  # kept and reported; the machine may be lent for minutes only
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

    def whole_way(rows: int, columns: int, collinear: bool, module: Any, graphs: bool = True) -> Any:
        info = loop.series(rows, columns, collinear=collinear)
        return loop.make(bind_net(module), card, info, device(graphs))

    mixed = {name: Mixed(stream, network.PRECISIONS[name]).to(place).eval() for name in settings.precisions}
    first = settings.precisions[0]
    for rows, columns, collinear in settings.loops:
        name = f"{rows}x{columns} {'collinear' if collinear else 'ordinary'}"
        for precision in settings.precisions[: 2 if (rows, columns) == settings.loops[1][:2] else 1]:

            def timed(r: int = rows, c: int = columns, k: bool = collinear, p: str = precision) -> Any:
                pipeline, frames = whole_way(r, c, k, mixed[p])
                figures = loop.time_loop(pipeline, frames, settings.frames)
                figures["paced"] = [
                    loop.time_paced(pipeline, frames, hz, settings.seconds) for hz in settings.rates_hz
                ]
                return figures

            part(f"whole way {name} {precision}", timed)
    rows, columns, collinear = settings.loops[min(2, len(settings.loops) - 1)]

    def slots() -> Any:
        frames = whole_way(rows, columns, collinear, mixed[first])[1]
        return loop.compare_slots(
            lambda graphs: whole_way(rows, columns, collinear, mixed[first], graphs)[0], frames, settings.slots_frames
        )

    def against_denoiser() -> Any:
        pipeline, frames = whole_way(rows, columns, collinear, mixed[first])
        engine = TorchEngine(settings.stream, precision="f32")
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
                part(
                    f"network stream {mode} {size[0]}x{size[1]} {precision}",
                    lambda s=size, m=mode, p=precision: network.time_network(
                        stream, p, views(s, 1), device(m == "graph"), settings.repeats, m
                    ),
                )
    for depth in settings.window_frames:
        size = settings.sizes[1] if len(settings.sizes) > 1 else settings.sizes[0]
        for precision in settings.precisions[:2]:
            part(
                f"network window {depth} frames {size[0]}x{size[1]} {precision}",
                lambda d=depth, s=size, p=precision: _per_hop(
                    network.time_network(window, p, (1, 1, d, *s), device(), max(settings.repeats // 5, 2), "graph"),
                    window_card.hop,
                ),
            )
    if settings.compiled:
        part(
            f"network stream compiled {settings.sizes[1][0]}x{settings.sizes[1][1]} {first}",
            lambda: network.time_network(
                stream, first, views(settings.sizes[1], 1), device(), settings.repeats, "compiled"
            ),
        )
        part("whole way compiled", lambda: _compiled(whole_way, mixed[first], rows, columns, collinear, settings))
    return result


def _compiled(whole_way: Any, module: Any, rows: int, columns: int, collinear: bool, settings: Settings) -> Any:
    fast = torch.compile(module, mode="max-autotune-no-cudagraphs")
    pipeline, frames = whole_way(rows, columns, collinear, fast)
    return loop.time_loop(pipeline, frames, settings.frames)


def _per_hop(figures: dict[str, Any], hop: int) -> dict[str, Any]:
    """Add what one inference of one view every `hop` frames means at 30 Hz."""
    return figures | {"hop": hop, "gpu_share_at_30_hz_one_view": round(figures["p50_ms"] / (1e3 * hop / 30), 4)}


def describe_machine() -> dict[str, Any]:
    """Return versions, GPU, driver and clocks, as found."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "onnx": onnx.__version__,
        "device": "CPU, times mean nothing",
    }
    if torch.cuda.is_available():
        facts |= {
            "device": torch.cuda.get_device_name(),
            "capability": ".".join(str(n) for n in torch.cuda.get_device_capability()),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    if shutil.which("nvidia-smi"):
        query = "driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,memory.used"
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True, check=False
        )
        facts["nvidia-smi"] = {"query": query, "answer": done.stdout.strip()}
    return facts
