"""``deepbid-rt serve``: the live path, from a ZeroMQ stream to published and recorded denoised frames."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import number, print_json, print_table, say
from deepbid_rt.cli.page import make_page
from deepbid_rt.cli.session import SessionPlan, run_session
from deepbid_rt.live.status import SessionLimits
from deepbid_rt.runtimes import engine_digest, load_engine
from deepbid_rt.zmq_io import ZmqSink, ZmqSource


def run(
    source: Annotated[str, typer.Option("--source", help="Address of the raw stream, tcp://HOST:PORT.")],
    engine_name: o.EngineOption = o.ENGINE_DEFAULT,
    publish: Annotated[str | None, typer.Option(help="Address to publish denoised frames on.")] = None,
    record: Annotated[Path | None, typer.Option(help="Folder to record into.")] = None,
    record_raw: Annotated[bool, typer.Option("--record-raw", help="Record the raw frames as well.")] = False,
    roll_frames: Annotated[int, typer.Option(min=0, help="Frames in one file; 0: all.")] = 0,
    scan: Annotated[
        o.Layout | None, typer.Option("--scan", help="How lines lie, where the stream does not say.")
    ] = None,
    merge: o.MergeOption = o.Merge.MEAN,
    gap: o.GapOption = o.Gap.AUTO,
    stabilize: o.StabilizeOption = False,
    line_phase: o.LinePhaseOption = "auto",
    frames: Annotated[int | None, typer.Option(min=1, help="End after this many frames.")] = None,
    idle_timeout_s: Annotated[
        float | None, typer.Option("--idle-timeout", min=0.001, help="End after so many seconds without a frame.")
    ] = None,
    lag_frames: Annotated[int, typer.Option(min=2, help="Most frames waiting for the engine.")] = 256,
    precision: o.PrecisionOption = o.Precision.AUTO,
    threads: o.ThreadsOption = 0,
    http: o.HttpOption = None,
    http_token: o.HttpTokenOption = None,
    runtime: o.RuntimeOption = o.Runtime.AUTO,
    trust: o.TrustOption = False,
    insecure_lan: o.InsecureOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Denoise a live stream. Ctrl-C ends the session: what was received is flushed and summed up."""
    policy = o.line_phase(line_phase)
    with ExitStack() as stack:
        engine = load_engine(
            engine_name, precision=precision.value, threads=threads, runtime=runtime.value, trust=trust
        )
        stack.callback(engine.close)
        raw = ZmqSource(source, default_layout=scan.value if scan else None)
        sink = ZmqSink(publish, role="den", insecure_lan=insecure_lan) if publish else None
        if sink:
            stack.callback(sink.close)
            say(f"publishing on {sink.endpoint}")
        page = make_page(http, http_token, merge.value) if http else None
        if page:
            stack.callback(page.close)
        say(f"engine {engine.card.name}: {engine.description}; waiting for frames from {source}")
        outcome = run_session(
            SessionPlan(
                raw,
                engine,
                engine_digest(engine_name),
                publish=sink,
                page=page,
                record=record,
                record_raw=record_raw,
                roll_frames=roll_frames,
                merge=merge.value,
                gap=gap.value,
                stabilize=stabilize,
                line_phase=policy,
                limits=SessionLimits(frames, idle_timeout_s),
                lag_frames=lag_frames,
            )
        )
    status, summary = outcome.status, outcome.summary
    rows = [("frames in", str(status.frames_in)), ("frames out", str(status.frames_out))]
    rows += [(f"lost: {cause}", str(count)) for cause, count in summary["lost"].items()]
    rows += [(f"latency, {k}", f"{number(v, 0)} ms") for k, v in summary["latency_ms"].items()]
    rows += [(f"motion, {verdict}", str(count)) for verdict, count in (summary["motion"] or {}).items()]
    if (px := summary["line_phase_px"]) is not None:
        rows += [("line phase", f"{number(px, 2)} px, moved by {number(-summary['aligned_px'], 2)}")]
    rows += [("bad messages", str(sum(raw.status().bad.values())))]
    rows += [("recording", path) for path in summary["recordings"]]
    print_table("session", rows, ("", ""))
    if as_json:
        print_json(summary)
    if outcome.error:
        raise outcome.error
