"""A live session run from Python: what ``deepbid-rt serve`` does, with sinks of one's own."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from deepbid_rt.api.access import PYTHON, End, KeyFile, check_access
from deepbid_rt.api.arguments import (
    DEFAULT_ENGINE,
    EngineLike,
    Precision,
    Runtime,
    Scan,
    as_channels,
    as_engine,
    as_layout,
    check_count,
    check_denoising,
    check_endpoint,
    check_flag,
    check_gap,
    check_number,
)
from deepbid_rt.denoising.denoiser import GapPolicy, check_stabilizes
from deepbid_rt.errors import StreamError, require_effect
from deepbid_rt.live.session import Session, SessionSettings
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits
from deepbid_rt.ports import FrameSource, Sink
from deepbid_rt.recording.disk_sync import SYNC_S
from deepbid_rt.runtimes import engine_digest
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.line_phase_corrector import LinePhasePolicy
from deepbid_rt.zmq_io import LosslessSource, ZmqSink, ZmqSource

_POLL_S = 0.1
"""How often the waiting caller returns to Python, so that Ctrl-C works."""


def serve(
    source: str | FrameSource,
    engine: EngineLike = DEFAULT_ENGINE,
    *,
    sinks: Mapping[str, Sink] | None = None,
    publish: str | None = None,
    record: str | Path | None = None,
    record_raw: bool = False,
    name: str = "",
    sync_s: float = SYNC_S,
    scan: Scan | None = None,
    merge: MergeMode = "mean",
    gap: GapPolicy = "auto",
    stabilize: bool = False,
    line_phase: LinePhasePolicy = "auto",
    denoise_channels: Sequence[int] | None = None,
    frames: int | None = None,
    series: int | None = None,
    idle_s: float | None = None,
    stop: threading.Event | None = None,
    max_latency_ms: float | None = 200.0,
    keys: KeyFile = None,
    source_key: KeyFile = None,
    insecure_lan: bool = False,
    lossless: bool = False,
    precision: Precision = "auto",
    threads: int = 0,
    runtime: Runtime = "auto",
    trust: bool = False,
) -> dict[str, Any]:
    """Denoise what a source sends until a limit is reached, `stop` is set or Ctrl-C is pressed; return the summary.

    The first Ctrl-C denoises what has arrived, the second ends at once; both return the summary. Outside the main
    thread, where Ctrl-C does not arrive, end the session through `stop`.

    Parameters
    ----------
    source : str or FrameSource
        ``tcp://HOST:PORT`` of a microscope's stream, or any object with the methods of `FrameSource`.
    engine : str, Path or Engine
        See `Denoiser.for_array`, as for merge, gap, stabilize, line_phase, denoise_channels, precision,
        threads, runtime, trust.
    sinks : mapping of str to Sink, optional
        Objects with the methods of `Sink`, by name. Each gets every denoised frame in a thread of its own. A sink
        that is slower than the stream loses its oldest frames; how many is in the summary.
    publish : str, optional
        ``tcp://HOST:PORT`` to publish the denoised frames on; port 0 takes a free one.
    record : str or Path, optional
        Folder for the denoised recording and the session log.
    record_raw : bool
        Record the raw frames too; needs `record`.
    name : str
        Part of the names of the recorded files: letters, digits, ``_`` and ``-``.
    sync_s : float
        Seconds between two fsyncs of a recording; 0: after each frame.
    scan : {"ordinary", "collinear"} or ScanGeometry, optional
        Layout of an old sender that does not state it; senders state the rest of the scan.
    frames, series : int, optional
        End after so many frames or series; run until Ctrl-C when left out.
    idle_s : float, optional
        End when nothing came for so many seconds.
    stop : threading.Event, optional
        Ends the session when another thread sets it: what has arrived is denoised and recorded first.
    max_latency_ms : float or None
        Frames that would come out later than this after their arrival are skipped when newer ones wait, so that live
        output shows the present; None denoises every frame, however late.
    keys, source_key : str or Path, optional
        Folder made by ``deepbid-rt keys``, and file of the public key (``NAME.pub``) of the sender at `source`. With
        `keys`, `publish` sends to allowed keys only; with `source_key` too, frames come from its owner or not at all.
    insecure_lan : bool
        Allow addresses of other computers without keys.
    lossless : bool
        Receive every frame of a sender that was started for it, which waits when the session is slow. Needs
        ``max_latency_ms=None``.

    Returns
    -------
    dict
        As ``deepbid-rt serve --json`` prints it: frames in and out, losses by cause, latency, recordings, engine; and
        under ``sinks_lost`` the frames that each sink did not take.

    Raises
    ------
    DeepbidError
        When something cannot be opened, or the session fails. What was received before is denoised and recorded.
    OptionError
        When an argument cannot take effect: `record_raw`, `name` or `sync_s` without `record`, `scan` for a source that
        is no address or with more than the layout, `gap` for ``echo``, `precision`, `threads`, `runtime` or `trust` for
        this engine.
    """
    if sync_s != 0:
        check_number("sync_s", sync_s)
    for argument, asked in {
        "record_raw": record_raw,
        f"name={name!r}": name,
        f"sync_s={sync_s:g}": sync_s != SYNC_S,
    }.items():
        require_effect(
            argument,
            asked,
            record is not None,
            why="without a folder",
            expected="record=FOLDER beside it",
            todo="name the folder",
        )
    require_effect(
        f"scan={scan!r}",
        scan is not None,
        isinstance(source, str),
        why="for a source that is no address",
        expected="a source that states its scan",
        todo="state the scan in the source's StreamInfo",
    )
    _check_ends(source, sinks)
    check_denoising(merge=merge, gap=gap, stabilize=stabilize, line_phase=line_phase)
    for argument, limit in {"frames": frames, "series": series}.items():
        if limit is not None:
            check_count(argument, limit, 1)
    if idle_s is not None:
        check_number("idle_s", idle_s)
    if max_latency_ms is not None:
        check_number("max_latency_ms", max_latency_ms)
    if publish is not None:
        check_endpoint(publish, "publish")
    if stop is not None and not callable(getattr(stop, "is_set", None)):
        raise StreamError(f"stop={stop!r}", expected="a threading.Event", todo="write stop=threading.Event()")
    _check_access(source, source_key, publish, keys, insecure_lan)
    check_flag("lossless", lossless)
    require_effect(
        "lossless=True",
        lossless,
        max_latency_ms is None and isinstance(source, str),
        why=f"with max_latency_ms={max_latency_ms} and source {source!r}",
        expected="max_latency_ms=None, as no frame may be skipped, and an address",
        todo="add max_latency_ms=None",
    )
    layout = as_layout(scan)
    check_gap(f"gap={gap!r}", gap, engine)
    opened, own = as_engine(engine, precision=precision, threads=threads, runtime=runtime, trust=trust)
    with ExitStack() as stack:
        if own:
            stack.callback(opened.close)
        if stabilize:
            check_stabilizes(opened)
        publisher = ZmqSink(publish, keys=keys, insecure_lan=insecure_lan) if publish else None
        if publisher:
            stack.callback(publisher.close)
        opened_source: FrameSource
        if isinstance(source, str):
            opened_source = (LosslessSource if lossless else ZmqSource)(
                source,
                default_layout=layout,
                keys=keys if source_key is not None else None,
                server_key=source_key,
                insecure_lan=insecure_lan,
            )
        else:
            opened_source = source
        session = Session(
            opened_source,
            opened,
            SessionSettings(
                record=Path(record) if record is not None else None,
                record_raw=record_raw,
                name=name,
                sync_s=sync_s,
                max_latency_ms=max_latency_ms,
                wait_for_room=lossless,
                merge=merge,
                gap=gap,
                stabilize=stabilize,
                line_phase=line_phase,
                denoise_channels=as_channels(denoise_channels),
                limits=SessionLimits(frames=frames, series=series, idle_s=idle_s),
            ),
            sha256=engine_digest(str(engine)) if own else None,
            publisher=publisher,
            denoised=[SinkSettings(sink_name, sink) for sink_name, sink in (sinks or {}).items()],
        )
        _run(session, stop)
    report = session.report()
    lost = report.status.sink_lost
    return {**report.summary(), "sinks_lost": {sink: lost[sink] for sink in sinks or ()}}


def _check_ends(source: object, sinks: object) -> None:
    """Raise `StreamError` unless the source and the sinks have the methods that a session calls."""
    if not isinstance(source, str) and (missing := _missing(source, FrameSource)):
        raise StreamError(
            f"a {type(source).__name__} without {', '.join(missing)} as the source",
            expected="tcp://HOST:PORT, or an object with the methods of FrameSource",
            todo="denoise arrays and files with deepbid_rt.denoise",
        )
    if sinks is not None and not isinstance(sinks, Mapping):
        raise StreamError(f"sinks={sinks!r}", expected="sinks by name", todo="write sinks={'mine': sink}")
    for name, sink in (sinks or {}).items():
        if missing := _missing(sink, Sink):
            raise StreamError(
                f"sink {name!r} without {', '.join(missing)}",
                expected="an object with the methods of Sink: start, put, skip, end, close",
                todo="add them; those that have nothing to do may be empty",
            )


def _check_access(
    source: str | FrameSource, source_key: KeyFile, publish: str | None, keys: KeyFile, insecure_lan: bool
) -> None:
    check_flag("insecure_lan", insecure_lan)
    ends = [End(source, source_key)] if isinstance(source, str) else []
    require_effect(
        "source_key",
        source_key is not None,
        ends,
        why="for a source that is no address",
        expected="tcp://HOST:PORT as the source",
        todo="protect that source where it is made",
    )
    check_access(
        [*ends, *([End(publish, keys)] if publish else [])],
        keys=keys,
        server_keys={"source_key": source_key},
        insecure_lan=insecure_lan,
        binds=publish is not None,
        options=PYTHON,
    )


def _missing(thing: object, protocol: type) -> list[str]:
    methods = [name for name in vars(protocol) if not name.startswith("_")]
    return [name for name in methods if not callable(getattr(thing, name, None))]


def _run(session: Session, stop: threading.Event | None) -> None:
    """Run a session in a thread of its own, so that Ctrl-C reaches the caller, who then ends it cleanly."""
    failures: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            session.run()
        except BaseException as error:  # raised again in the caller's thread
            failures.append(error)
        finally:
            done.set()

    worker = threading.Thread(target=run, name="session", daemon=True)  # the third Ctrl-C leaves it behind
    steps = iter((worker.start, session.stop, session.abort))
    step = next(steps, None)
    while not done.is_set():
        # Not Thread.join: a Ctrl-C that interrupts it makes Python 3.11 take the thread for ended.
        try:
            if step is not None:
                begun, step = step, None
                begun()
            while not done.wait(_POLL_S):
                if stop is not None and stop.is_set():
                    session.stop()
        except KeyboardInterrupt:
            if (step := next(steps, None)) is None:
                raise
    worker.join()
    if failures:
        raise failures[0]
