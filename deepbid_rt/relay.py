"""What all connectors share: the loop that publishes what a connector reads, its options, and how it stops.

A connector in ``bridge/`` is one file: a `FrameSource` for one acquisition program, and a `main` that calls `run`. It
needs numpy, pyzmq and msgpack, and so does this module.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from deepbid_rt.errors import DeepbidError, RefusedError
from deepbid_rt.frame import Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.ports import FrameSource, Sink
from deepbid_rt.zmq_io import ZmqSink

_READ_S = 0.1
"""Longest wait for a frame: how late a stop is noticed."""
DEFAULT_BIND = "tcp://127.0.0.1:5590"


@dataclass(slots=True)
class RelaySummary:
    """What a relay has published."""

    series: int = 0
    frames: int = 0
    lost: int = 0
    """Frames that the acquisition program numbered and the connector did not get."""


def relay(
    source: FrameSource,
    sink: Sink,
    stop: threading.Event,
    *,
    series: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> RelaySummary:
    """Publish what a source reads, one series after the other.

    Opens and closes the source; the caller closes the sink. A series that is running when the relay stops is ended with
    reason ``abort``, and with ``error`` when the source fails.

    Parameters
    ----------
    source : FrameSource
        The acquisition program.
    sink : Sink
        Where its frames go.
    stop : threading.Event
        When set, the relay returns within a tenth of a second.
    series : int, optional
        Return after so many series; None: go on until stopped.
    say : callable
        Gets one sentence at the beginning and at the end of each series.

    Raises
    ------
    DeepbidError
        When the source cannot be opened or fails. All frames that it gave before are published. A source that can go
        on after bad input ends its series with reason ``error``, logs a warning, and goes on.
    """
    summary = RelaySummary()
    running = False
    reason = "error"
    frames = lost = 0
    source.open()
    try:
        while not stop.is_set() and (series is None or summary.series < series or running):
            match source.read(_READ_S):
                case StreamInfo() as info:
                    if running:
                        sink.end(StreamEnd("replaced"))
                    sink.start(info)
                    running, frames, lost = True, 0, 0
                    summary.series += 1
                    say(f"series {summary.series}: {_described(info)}")
                case Frame() as frame:
                    sink.put(frame)
                    frames, summary.frames = frames + 1, summary.frames + 1
                case Gap() as gap:
                    sink.skip(gap)
                    lost, summary.lost = lost + gap.count, summary.lost + gap.count
                case StreamEnd() as end:
                    sink.end(end)
                    running = False
                    say(f"series {summary.series} ended ({end.reason}): {frames} frames, {lost} lost before the relay")
        reason = "abort"
    finally:
        if running:
            sink.end(StreamEnd(reason))
            say(f"series {summary.series} ended ({reason}): {frames} frames, {lost} lost before the relay")
        source.close()
    return summary


def _described(info: StreamInfo) -> str:
    channels, lines, pixels = info.shape
    planes = f", {info.planes} planes" if info.planes > 1 else ""
    return f"{channels} x {lines} x {pixels} {info.dtype.name}{planes} at {info.rate_hz:g} frames/s"


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options of every connector; `run` reads them. The connector adds its own."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument(
        "--bind",
        default=DEFAULT_BIND,
        metavar="tcp://HOST:PORT",
        help="address to publish on (default %(default)s); other computers can reach any but 127.0.0.1",
    )
    made.add_argument("--name", default="scope1", help="name of the microscope (default %(default)s)")
    made.add_argument("--keys", type=Path, metavar="FOLDER", help="folder made by deepbid-rt keys: encrypts the stream")
    made.add_argument("--insecure-lan", action="store_true", help="publish to the network without keys")
    made.add_argument("--series", type=int, metavar="N", help="stop after N series (default: go on until Ctrl-C)")
    made.add_argument(
        "--wait", type=float, default=0.0, metavar="S", help="wait so long for a first subscriber before reading"
    )
    return made


def add_scan_options(
    made: argparse.ArgumentParser, *, mirrored: bool = True, first: str = "forward", bidirectional: bool = True
) -> None:
    """Add how lines were scanned, for acquisition programs that do not say; `scan_of` reads it.

    The arguments are what this acquisition program does when it is not set otherwise.
    """
    made.add_argument(
        "--scan",
        choices=("ordinary", "collinear"),
        default="ordinary",
        help="collinear: lines 2k and 2k+1 scan the same tissue, once in each direction (default %(default)s)",
    )
    made.add_argument(
        "--first", choices=("forward", "backward"), default=first, help="direction of line 0 (default %(default)s)"
    )
    made.add_argument(
        "--mirrored",
        action=argparse.BooleanOptionalAction,
        default=mirrored,
        help="whether the pixels of backward lines are in image order already",
    )
    made.add_argument(
        "--bidirectional",
        action=argparse.BooleanOptionalAction,
        default=bidirectional,
        help="whether lines are scanned in both directions",
    )


def scan_of(options: argparse.Namespace) -> ScanGeometry:
    """Return the scan that the options of `add_scan_options` describe. Raises `StreamError` for an impossible one."""
    return ScanGeometry(
        layout=options.scan, bidirectional=options.bidirectional, first=options.first, mirrored=options.mirrored
    )


def run(make: Callable[[], FrameSource], options: argparse.Namespace) -> int:
    """Publish until Ctrl-C, and return the exit status: 0, 2 when something was refused, 1 when the source failed.

    Prints the address, a line at the beginning and end of each series, and, last, the summary as one line of JSON.

    Parameters
    ----------
    make : callable
        Makes the source. What it refuses is reported like what the source refuses later.
    options : argparse.Namespace
        Of a parser that `parser` made.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    stop = threading.Event()
    previous = {one: signal.signal(one, lambda *_: stop.set()) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        source = make()
        access = {"keys": options.keys, "insecure_lan": options.insecure_lan}
        with closing(ZmqSink(options.bind, role="raw", source_name=options.name, **access)) as sink:
            _say(f"publishing on {sink.endpoint}")
            _wait(sink, options.wait, stop)
            summary = relay(source, sink, stop, series=options.series, say=_say)
    except DeepbidError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2 if isinstance(error, RefusedError) else 1
    finally:
        for one, handler in previous.items():
            signal.signal(one, handler)
    _say(json.dumps(asdict(summary)))
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _wait(sink: ZmqSink, wait_s: float, stop: threading.Event) -> None:
    left_s = wait_s
    while left_s > 0 and not stop.is_set() and not sink.wait_for_subscriber(min(left_s, _READ_S)):
        left_s -= _READ_S
