"""``deepbid-rt serve``: denoises a live ZeroMQ stream, publishes and records the result."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.api.access import End, check_access
from deepbid_rt.api.arguments import check_gap
from deepbid_rt.cli import options as o
from deepbid_rt.cli.config import ConfigOption
from deepbid_rt.cli.output import print_json, print_table, say
from deepbid_rt.cli.page import make_page, page_sinks
from deepbid_rt.cli.session import interruptible_preparation, run_session, summary_rows, what_was_wrong
from deepbid_rt.denoising.denoiser import check_stabilizes
from deepbid_rt.errors import require_effect
from deepbid_rt.live.session import Session, SessionSettings
from deepbid_rt.live.status import SessionLimits
from deepbid_rt.recording.disk_sync import SYNC_S
from deepbid_rt.runtimes import engine_digest, load_engine
from deepbid_rt.zmq_io import LosslessSource, ZmqSink, ZmqSource
from deepbid_rt.zmq_io.descriptor_limit import raise_descriptor_limit


def serve_command(
    source: Annotated[
        str,
        typer.Option(
            "--source",
            help="Address of the raw stream, tcp://HOST:PORT; scanimage+tcp://HOST:PORT for ScanImage's publisher.",
        ),
    ],
    engine_name: o.EngineOption = o.ENGINE_DEFAULT,
    publish: Annotated[str | None, typer.Option(help="Address to publish denoised frames on.")] = None,
    record: Annotated[Path | None, typer.Option(help="Folder to record into.")] = None,
    record_raw: Annotated[bool, typer.Option("--record-raw", help="Record the raw frames as well.")] = False,
    name: Annotated[
        str, typer.Option(help="Part of the names of the recorded files, such as mouse7: letters, digits, _ and -.")
    ] = "",
    sync_s: Annotated[
        float,
        typer.Option("--sync", min=0.0, help="Seconds between two fsyncs of a recording; 0: after each frame."),
    ] = SYNC_S,
    roll_frames: Annotated[int, typer.Option(min=0, help="Frames per file; 0: one file per series.")] = 0,
    scan: Annotated[
        o.LayoutChoice | None, typer.Option("--scan", help="Scan layout of a stream that does not state it.")
    ] = None,
    merge: o.MergeOption = o.MergeChoice.MEAN,
    gap: o.GapOption = o.GapChoice.AUTO,
    stabilize: o.StabilizeOption = False,
    line_phase: o.LinePhaseOption = "auto",
    denoise_channels: o.DenoiseChannelsOption = None,
    frames: Annotated[int | None, typer.Option(min=1, help="End after this many frames.")] = None,
    idle_timeout_s: Annotated[
        float | None, typer.Option("--idle-timeout", min=0.001, help="End after this many seconds without a frame.")
    ] = None,
    lag_frames: Annotated[
        int,
        typer.Option(
            min=2, help="Largest number of frames waiting for the engine; beyond it the older half is dropped."
        ),
    ] = 256,
    max_latency: o.MaxLatencyOption = "200",
    precision: o.PrecisionOption = o.PrecisionChoice.AUTO,
    threads: o.ThreadsOption = 0,
    http: o.HttpOption = None,
    http_token: o.HttpTokenOption = None,
    runtime: o.RuntimeOption = o.RuntimeChoice.AUTO,
    trust: o.TrustOption = False,
    keys: o.KeysOption = None,
    source_key: Annotated[
        Path | None,
        typer.Option("--source-key", help="Public key (NAME.pub) of the computer at --source; needs --keys."),
    ] = None,
    insecure_lan: o.InsecureOption = False,
    lossless: o.LosslessOption = False,
    config: ConfigOption = None,
    as_json: o.JsonOption = False,
) -> None:
    """Denoise a live stream. Ctrl-C ends the session: all received frames are denoised first."""
    policy = o.parse_line_phase(line_phase)
    channels_denoised = o.parse_channels(denoise_channels)
    max_latency_ms = o.parse_max_latency(max_latency)
    for option, asked in {
        "--record-raw": record_raw,
        f"--roll-frames {roll_frames}": roll_frames,
        f"--name {name}": name,
        f"--sync {sync_s:g}": sync_s != SYNC_S,
    }.items():
        require_effect(
            option, asked, record, why="without --record", expected="--record FOLDER beside it", todo="add --record"
        )
    o.check_page_options(http, http_token)
    check_access(
        [End(source, source_key), *([End(publish, keys)] if publish else [])],
        keys=keys,
        server_keys={"--source-key": source_key},
        insecure_lan=insecure_lan,
        binds=publish is not None,
    )
    require_effect(
        "--lossless",
        lossless,
        max_latency_ms is None,
        why=f"with --max-latency {max_latency}, which skips frames",
        expected="--max-latency none beside it",
        todo="add --max-latency none",
    )
    # The scan is stated by the stream. So --merge and --scan are accepted: they apply to the streams they are for.
    check_gap(f"--gap {gap.value}", gap.value, engine_name)
    with ExitStack() as stack:
        stack.enter_context(interruptible_preparation(as_json))
        engine = load_engine(
            engine_name, precision=precision.value, threads=threads, runtime=runtime.value, trust=trust
        )
        stack.callback(engine.close)
        if stabilize:
            check_stabilizes(engine)
        raise_descriptor_limit()
        make_source = LosslessSource if lossless else ZmqSource
        raw = make_source(
            source,
            default_layout=scan.value if scan else None,
            keys=keys if source_key else None,
            server_key=source_key,
            insecure_lan=insecure_lan,
        )
        publisher = ZmqSink(publish, role="den", keys=keys, insecure_lan=insecure_lan) if publish else None
        if publisher:
            stack.callback(publisher.close)
            say(f"publishing on {publisher.endpoint}")
        page = make_page(http, http_token, merge.value) if http else None
        if page:
            stack.callback(page.close)
        raw_sinks, denoised_sinks = page_sinks(page)
        session = Session(
            raw,
            engine,
            SessionSettings(
                record=record,
                record_raw=record_raw,
                roll_frames=roll_frames,
                name=name,
                sync_s=sync_s,
                merge=merge.value,
                gap=gap.value,
                stabilize=stabilize,
                line_phase=policy,
                denoise_channels=channels_denoised,
                limits=SessionLimits(frames, idle_timeout_s),
                lag_frames=lag_frames,
                max_latency_ms=max_latency_ms,
                wait_for_room=lossless,
            ),
            sha256=engine_digest(engine_name),
            publisher=publisher,
            raw=raw_sinks,
            denoised=denoised_sinks,
            reopen_engine=lambda: load_engine(
                engine_name, precision=precision.value, threads=threads, runtime=runtime.value, trust=trust
            ),
        )
        say(f"engine {engine.card.name}: {engine.description}; waiting for frames from {source}")
        outcome = run_session(session, page).require_frames()
    print_table("session", summary_rows(outcome.report), ("", ""))
    for line in what_was_wrong(outcome.report):
        say(f"! {line}")
    if as_json:
        print_json(outcome.summary)
    if outcome.error:
        raise outcome.error
