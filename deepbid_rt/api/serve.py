"""A live session run from Python: what ``deepbid-rt serve`` does, with sinks of one's own."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from deepbid_rt.api.arguments import DEFAULT_ENGINE, EngineLike, Precision, Runtime, Scan, as_engine, as_scan
from deepbid_rt.denoising.denoiser import GapPolicy
from deepbid_rt.errors import StreamError
from deepbid_rt.live.session import Session, SessionSettings
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits
from deepbid_rt.ports import FrameSource, Sink
from deepbid_rt.runtimes import engine_digest
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.line_phase_corrector import LinePhasePolicy
from deepbid_rt.zmq_io import ZmqSink, ZmqSource

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
    scan: Scan | None = None,
    merge: MergeMode = "mean",
    gap: GapPolicy = "auto",
    stabilize: bool = False,
    line_phase: LinePhasePolicy = "auto",
    frames: int | None = None,
    series: int | None = None,
    idle_s: float | None = None,
    precision: Precision = "auto",
    threads: int = 0,
    runtime: Runtime = "auto",
    trust: bool = False,
) -> dict[str, Any]:
    """Denoise what a source sends until a limit is reached or Ctrl-C is pressed; return the summary.

    Parameters
    ----------
    source : str or FrameSource
        ``tcp://HOST:PORT`` of a microscope's stream, or any object with the methods of `FrameSource`.
    engine : str, Path or Engine
        See `Denoiser.for_array`, as for merge, gap, stabilize, line_phase, precision, threads, runtime, trust.
    sinks : mapping of str to Sink, optional
        Objects with the methods of `Sink`, by name. Each gets every denoised frame in a thread of its own. A sink
        that is slower than the stream loses its oldest frames; how many is in the summary.
    publish : str, optional
        ``tcp://HOST:PORT`` to publish the denoised frames on; port 0 takes a free one.
    record : str or Path, optional
        Folder for the denoised recording and the session log.
    record_raw : bool
        Record the raw frames too; needs `record`.
    scan : {"ordinary", "collinear"} or ScanGeometry, optional
        How lines are scanned, where an old sender does not say.
    frames, series : int, optional
        End after so many frames or series; run until Ctrl-C when left out.
    idle_s : float, optional
        End when nothing came for so many seconds.

    Returns
    -------
    dict
        As ``deepbid-rt serve --json`` prints it: frames in and out, losses by cause, latency, recordings, engine; and
        under ``sinks_lost`` the frames that each sink did not take.

    Raises
    ------
    DeepbidError
        When something cannot be opened, or the session fails. What was received before is denoised and recorded.
    """
    if record_raw and record is None:
        raise StreamError(
            "record_raw without a folder", expected="record=FOLDER beside it", todo="name the folder, or leave it out"
        )
    layout = None if scan is None else as_scan(scan).layout
    opened, own = as_engine(engine, precision=precision, threads=threads, runtime=runtime, trust=trust)
    with ExitStack() as stack:
        if own:
            stack.callback(opened.close)
        publisher = ZmqSink(publish) if publish else None
        if publisher:
            stack.callback(publisher.close)
        session = Session(
            ZmqSource(source, default_layout=layout) if isinstance(source, str) else source,
            opened,
            SessionSettings(
                record=Path(record) if record is not None else None,
                record_raw=record_raw,
                merge=merge,
                gap=gap,
                stabilize=stabilize,
                line_phase=line_phase,
                limits=SessionLimits(frames=frames, series=series, idle_s=idle_s),
            ),
            sha256=engine_digest(str(engine)) if own else None,
            publisher=publisher,
            denoised=[SinkSettings(name, sink) for name, sink in (sinks or {}).items()],
        )
        _run(session)
    report = session.report()
    lost = report.status.sink_lost
    return {**report.summary(), "sinks_lost": {name: lost[name] for name in sinks or ()}}


def _run(session: Session) -> None:
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

    worker = threading.Thread(target=run, name="session")
    worker.start()
    # Not Thread.join: a Ctrl-C that interrupts it makes Python 3.11 take the thread for ended.
    try:
        while not done.wait(_POLL_S):
            pass
    except KeyboardInterrupt:
        session.stop()
        done.wait()
    worker.join()
    if failures:
        raise failures[0]
