"""``deepbid-rt demo``: denoises a simulated microscope live and scores the recording against the clean movie."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.demo_scores import score_demo
from deepbid_rt.cli.output import number, print_json, print_table, say
from deepbid_rt.cli.page import make_page, page_sinks
from deepbid_rt.cli.session import run_session
from deepbid_rt.denoising.denoiser import check_stabilizes
from deepbid_rt.errors import EngineError, FileError, StageError
from deepbid_rt.frame import MotionStatus
from deepbid_rt.live.session import Session, SessionSettings
from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.live.status import SessionLimits
from deepbid_rt.ports import Engine
from deepbid_rt.runtimes import engine_digest, load_engine
from deepbid_rt.zmq_io import ZmqSink, ZmqSource

SIZES = (512, 384, 320, 256, 192, 160, 128, 112, 96, 80, 64)
"""Sizes to choose from, largest first."""
HEADROOM = 1.6
"""How much faster than the stream the engine alone must be: simulation, recording and page need time as well."""
SEED = 3
"""Seed of a movie that no shipped engine was trained on."""
LEAST_FRAMES = 11
"""Frames that the comparison with the clean movie needs."""
VIEWS = 2
"""Views of a collinear frame, which the engine denoises one by one."""


def demo_command(
    engine_name: o.EngineOption = o.ENGINE_DEFAULT,
    seconds: Annotated[float, typer.Option(min=1.0, help="Length of the simulated session.")] = 20.0,
    size: Annotated[
        int | None,
        typer.Option(min=8, help="Lines and pixels of a frame; if omitted, the largest size that the engine sustains."),
    ] = None,
    rate_hz: o.RateOption = 30.0,
    out: Annotated[Path, typer.Option("--out", help="Folder for the recording and the picture.")] = Path("demo"),
    stabilize: o.StabilizeOption = False,
    http: o.HttpOption = None,
    http_token: o.HttpTokenOption = None,
    precision: o.PrecisionOption = o.PrecisionChoice.AUTO,
    threads: o.ThreadsOption = 0,
    view: Annotated[bool, typer.Option("--view", help="Open the viewer; the demo ends when you close it.")] = False,
    as_json: o.JsonOption = False,
) -> None:
    """Denoise a simulated microscope live: simulate, stream over TCP, denoise, record, compare with the clean movie."""
    o.check_page_options(http, http_token)
    folder = out / time.strftime("%Y%m%d-%H%M%S")
    with ExitStack() as stack:
        engine = load_engine(engine_name, precision=precision.value, threads=threads)
        stack.callback(engine.close)
        if stabilize:
            check_stabilizes(engine)
        page = make_page(http, http_token) if http else None
        if page:
            stack.callback(page.close)
        size, rate_hz, factor = _fit(engine, size, rate_hz)
        say(f"engine {engine.card.name}: {engine.description}")
        say(f"{size}x{size} pixels at {rate_hz:.1f} Hz; the engine alone is {factor:.1f} times as fast")
        _make(folder)
        truth_path, raw_path = folder / "truth.tif", folder / "raw.tif"
        frames = round(seconds * rate_hz)
        microscope = stack.enter_context(_microscope(size, rate_hz, frames, truth_path, raw_path))
        stack.callback(microscope.terminate)  # has an effect only when the demo fails or is interrupted
        publisher = ZmqSink("tcp://127.0.0.1:*", role="den")
        stack.callback(publisher.close)
        # The viewer gets the microscope's address from the session, so that it cannot be the first subscriber.
        viewer = stack.enter_context(_viewer(publisher.endpoint, folder)) if view else None
        if viewer is not None:
            stack.callback(viewer.terminate)  # has an effect only when the demo fails
        raw_sinks, denoised_sinks = page_sinks(page)
        session = Session(
            ZmqSource(_first_line(microscope)),
            engine,
            SessionSettings(
                record=folder,
                stabilize=stabilize,
                limits=SessionLimits(idle_s=30.0, series=1),
                max_latency_ms=None,  # every frame is compared with the clean movie
            ),
            sha256=engine_digest(engine_name),
            publisher=publisher,
            raw=raw_sinks,
            denoised=denoised_sinks,
        )
        outcome = run_session(session, page)
        if outcome.error:
            raise outcome.error
        if outcome.interrupted:
            if outcome.report.status.frames_out < LEAST_FRAMES:
                raise KeyboardInterrupt
            microscope.terminate()  # Ctrl-C has reached it too; a signal to this process alone has not
        code = microscope.wait()
        if not outcome.report.status.frames_out:
            raise StageError(
                f"no frame came from the simulated microscope, which ended with code {code}",
                expected=f"{frames} frames",
                todo="run deepbid-rt simulate by itself to see why",
            )
        scores = score_demo(
            Path(outcome.report.recordings[0]), truth_path, raw_path, folder / "demo.png", registered=stabilize
        )
        stream = {"rate_hz": rate_hz, "size": size, "real_time_factor": round(factor, 2)}
        result = _result(outcome.report, stream, scores, folder / "demo.png")
        _print(result, outcome.report, scores)
        if as_json:
            print_json(result)
        if viewer is not None:
            say("the viewer stays open until you close it")
            viewer.wait()


def _result(report: SessionReport, stream: dict[str, Any], scores: dict[str, Any], picture: Path) -> dict[str, Any]:
    """Return what ``demo --json`` prints."""
    summary = report.summary()
    return {
        "frames_in": summary["frames_in"],
        "frames_out": summary["frames_out"],
        "frames_lost": sum(summary["lost"].values()),
        "fps": round(report.status.frames_out / report.status.busy_s, 2),
        **stream,
        "delay_frames": report.delay_frames,
        "latency_ms": summary["latency_ms"],
        "motion": summary["motion"],
        "correlation_xyt": {"raw": scores["raw"]["correlation_xyt"], "denoised": scores["correlation_xyt"]},
        "snr_db": {"raw": scores["raw"]["snr_db"], "denoised": scores["snr_db"]},
        "engine": summary["engine"],
        "recording": summary["recordings"][0],
        "picture": str(picture),
    }


def _fit(engine: Engine, size: int | None, rate_hz: float) -> tuple[int, float, float]:
    """Choose the largest size that the engine sustains at `rate_hz`; with a given size, the rate that it sustains.

    Returns size, rate, and how many times faster than this stream the engine alone is.
    """
    trial = size or 128
    grid, depth, hop = engine.card.grid, engine.card.depth, engine.card.hop
    side = -(-trial // grid) * grid
    engine.warm_up((depth, side, side))
    noise = np.random.default_rng(0).standard_normal((depth, side, side), np.float32)
    durations = []
    for _ in range(3):
        begun = time.perf_counter()
        engine.infer(noise)
        durations.append(time.perf_counter() - begun)
    fps = hop / (VIEWS * sorted(durations)[1])
    if size is None:
        fits = [s for s in SIZES if fps * (trial / s) ** 2 >= HEADROOM * rate_hz]
        size = fits[0] if fits else SIZES[-1]
        fps *= (trial / size) ** 2
    rate_hz = min(rate_hz, round(fps / HEADROOM, 2))
    if rate_hz <= 0:
        raise EngineError(
            f"engine {engine.card.name!r} needs more than a minute for a frame of {size}x{size}",
            expected="at least one frame in a minute",
            todo="choose a smaller --size",
        )
    return size, rate_hz, fps / rate_hz


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise FileError(
            f"the folder {folder} cannot be made ({error.strerror})",
            expected="a place for new folders",
            todo="name another folder with --out",
        ) from error


def _microscope(size: int, rate_hz: float, frames: int, truth: Path, raw: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deepbid_rt", "simulate", "--bind", "tcp://127.0.0.1:*", "--wait"]
    command += ["--size", str(size), "--rate", str(rate_hz), "--frames", str(frames), "--seed", str(SEED)]
    command += ["--truth", str(truth), "--raw", str(raw)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _viewer(endpoint: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deepbid_rt", "view", "--connect", endpoint, "--out", str(folder / "view")]
    return subprocess.Popen(command, text=True)


def _first_line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline().strip() if process.stdout else ""
    if not line.startswith("tcp://"):
        raise StageError(
            f"the simulated microscope printed {line!r} and ended with code {process.wait()}",
            expected="the address that it publishes on",
            todo="run deepbid-rt simulate by itself to see why",
        )
    return line


def _print(result: dict[str, Any], report: SessionReport, scores: dict[str, Any]) -> None:
    rows = [
        ("frames in / out / lost", f"{result['frames_in']} / {result['frames_out']} / {result['frames_lost']}"),
        ("frames per second", number(result["fps"])),
        ("delay", f"{result['delay_frames']} frames"),
    ]
    if motion := result["motion"]:
        rows.append(("motion", ", ".join(f"{motion[status]} {status}" for status in get_args(MotionStatus))))
    for stage, histogram in report.status.latency.items():
        times = f"{number(histogram.quantile_ms(0.5))} / {number(histogram.quantile_ms(0.99))} ms"
        rows.append((f"latency p50 / p99, {stage}", times))
    print_table("session", rows, ("", ""))
    quality = [(key, number(scores["raw"][key], 3), number(scores[key], 3)) for key in scores if key != "raw"]
    print_table("compared with the clean movie", quality, ("", "raw", "denoised"))
    say(f"recording {result['recording']}")
    say(f"picture   {result['picture']}")
