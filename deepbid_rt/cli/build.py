"""``deepbid-rt build``: builds a TensorRT plan of an ONNX engine file for the GPU of this computer."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import numpy as np
import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import print_json, print_table, progress_bar, say
from deepbid_rt.denoising.network_inputs import padded_size
from deepbid_rt.errors import EndpointError, EngineError, StreamError, require_effect
from deepbid_rt.frame import Frame, ScanGeometry, StreamInfo
from deepbid_rt.movies.open_movie import open_movie_file
from deepbid_rt.runtimes import find_engine
from deepbid_rt.scan.directions import view_line_counts
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings
from deepbid_rt.wire.loopback import is_loopback
from deepbid_rt.zmq_io import ZmqSource
from deepbid_rt.zmq_io.endpoint import host_of

PARITY_FRAMES = 40
"""Most frames on which the plan is compared with the ONNX file."""
WAIT_S = 30.0
"""Seconds to wait for a stream that gives the size."""


class BuildPrecision(StrEnum):
    """Arithmetic of the plan."""

    FP16 = "fp16"
    BF16 = "bf16"
    FP32 = "fp32"


def build_command(
    engine: Annotated[str, typer.Argument(metavar="ENGINE", help="Engine file (.onnx) or shipped engine.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Plan to write (.plan), beside it its .json.")],
    size: Annotated[
        str | None, typer.Option(help="LINESxPIXELS of one view: 512x512; of a collinear frame, half its lines.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Take the size from a live stream, tcp://HOST:PORT.")] = None,
    precision: Annotated[
        BuildPrecision | None, typer.Option(help="Arithmetic of the network; fp16 if left out.")
    ] = None,
    level: Annotated[int, typer.Option(min=0, max=5, help="How hard TensorRT tries.")] = 5,
    workspace: Annotated[int, typer.Option(min=1, help="Most memory of one layer, MiB.")] = 1024,
    timing_cache: Annotated[
        Path | None, typer.Option("--timing-cache", help="What earlier builds measured; beside the plan if left out.")
    ] = None,
    frames: Annotated[Path | None, typer.Option(help="Recording to compare on; simulated if left out.")] = None,
    keep_onnx: Annotated[
        Path | None, typer.Option("--keep-onnx", help="Write the network that is built here as well.")
    ] = None,
    print_trtexec: Annotated[
        bool, typer.Option("--print-trtexec", help="Print NVIDIA's equivalent commands and build nothing.")
    ] = False,
    as_json: o.JsonOption = False,
) -> None:
    """Build a plan, compare it with the ONNX file on frames, and write it with its sidecar. Takes minutes."""
    if print_trtexec:
        _check_print_options(precision, timing_cache, frames, keep_onnx)
    build = _load_build()
    path = find_engine(engine)
    model, card = build.read_onnx(path)
    view = _size(size, source)
    shape = (card.depth, *padded_size(view, card.grid))
    effort = build.BuildEffort(level, workspace << 20)
    spec = build.BuildSpec(path, out, shape, (precision or BuildPrecision.FP16).value, effort, timing_cache)
    if keep_onnx:
        keep_onnx.write_bytes(build.specialized_network(spec, model, card))
    if print_trtexec:
        for command in build.trtexec_commands(keep_onnx or path, out, effort, 11):
            print(command)
        say("on TensorRT 10 add --stronglyTyped to the first" if keep_onnx else "name --keep-onnx to get that network")
        return
    movie = _movie(frames, view)
    begun = time.perf_counter()
    with progress_bar() as bar:
        task = bar.add_task("building", total=100, note="")

        def report(phase: str, fraction: float) -> None:
            bar.update(task, completed=round(100 * fraction), note=phase)

        progress = build.BuildProgress(report)
        with _stop_on_interrupt(progress):
            facts = build.build(spec, model, card, movie, progress)
        bar.update(task, completed=100, note="")
    seconds = time.perf_counter() - begun
    rows = [("seconds", f"{seconds:.0f}"), ("GPU", f"{facts.gpu} ({facts.capability})"), ("TensorRT", facts.tensorrt)]
    rows += [(f"parity: {name}", f"{value:.6g}") for name, value in facts.parity.items()]
    rows += [(f"layers in {kind}", str(count)) for kind, count in facts.layers.items()]
    print_table(f"{out} for views of {view[0]}x{view[1]}", rows, ("", ""))
    if as_json:
        print_json({"plan": str(out), "seconds": round(seconds, 1), "parity": dict(facts.parity)})


def _check_print_options(
    precision: BuildPrecision | None, timing_cache: Path | None, frames: Path | None, keep_onnx: Path | None
) -> None:
    """Raise `OptionError` when an option cannot take effect with ``--print-trtexec``."""
    for option, value in {"--timing-cache": timing_cache, "--frames": frames}.items():
        require_effect(
            option,
            value,
            effective=False,
            why="with --print-trtexec, which builds nothing",
            expected="a build",
            todo="leave --print-trtexec out",
        )
    require_effect(
        "--precision",
        precision,
        keep_onnx,
        why="with --print-trtexec and without --keep-onnx",
        expected="--keep-onnx FILE beside it, as the network in that file has this arithmetic",
        todo="add --keep-onnx",
    )


def _load_build() -> Any:
    """Import the build, which needs onnx, only when it is used."""
    try:
        from deepbid_rt.runtimes.tensorrt import build
    except ImportError as error:
        raise EngineError(
            f"building without {error.name}", expected="the package onnx", todo='run pip install "deepbid-rt[tensorrt]"'
        ) from error
    return build


def _size(size: str | None, source: str | None) -> tuple[int, int]:
    if (size is None) == (source is None):
        raise StreamError(
            "a build with both --size and --source" if size else "a build without a frame size",
            expected="one of --size and --source",
            todo="say --size 512x512, or --source tcp://HOST:PORT with the stream running",
        )
    if size is not None:
        match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", size)
        if not match:
            raise StreamError(f"size {size!r}", expected="LINESxPIXELS", todo="write it as 512x512")
        return int(match[1]), int(match[2])
    info = _wait_for_stream(source or "")
    lines = max(view_line_counts(info.shape[1], info.scan)) if info.scan.layout == "collinear" else info.shape[1]
    say(f"the stream has views of {lines}x{info.shape[2]}")
    return lines, info.shape[2]


def _wait_for_stream(address: str) -> StreamInfo:
    if not is_loopback(host_of(address, connect=True)):
        raise EndpointError(
            f"{address}, which is another computer",
            expected="a stream of this computer",
            todo="say --size instead",
        )
    source = ZmqSource(address)
    with closing(source):
        source.open()
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            event = source.read(0.1)
            if isinstance(event, StreamInfo):
                return event
    raise StreamError(
        f"no series from {address} within {WAIT_S:.0f} s",
        expected="a stream that begins, or one that is running",
        todo="start the microscope's stream, or say --size",
    )


def _movie(path: Path | None, view: tuple[int, int]) -> list[np.ndarray[Any, Any]]:
    if path is not None:
        with open_movie_file(path) as movie:
            return [movie.frame(n)[0] for n in range(min(PARITY_FRAMES, movie.shape[0]))]
    settings = ScanSettings(size=(min(view[0], 256), min(view[1], 256)), rate_hz=30.0, scan=ScanGeometry(), seed=7)
    source = SyntheticSource(SceneSettings(seed=7), settings, PARITY_FRAMES)
    source.open()
    images = []
    while (event := source.read(0.0)) is not None:
        if isinstance(event, Frame):
            images.append(event.pixels[0].copy())
    source.close()
    return images


@contextmanager
def _stop_on_interrupt(progress: Any) -> Iterator[None]:
    """Stop the build at its next step on the first Ctrl-C; the second Ctrl-C raises KeyboardInterrupt."""

    def handle(_signum: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, previous)
        progress.stop()
        say("stopping at the next step")

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
