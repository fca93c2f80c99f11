"""Publishing a source at its real frame rate; `simulate` and `replay` share it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from deepbid_rt.cli.interrupts import INTERRUPTS
from deepbid_rt.cli.output import print_line, say
from deepbid_rt.ports import FrameSource
from deepbid_rt.simulator.publisher import Faults, Publisher, PublishSummary
from deepbid_rt.zmq_io import LosslessSink, ZmqSink

POLL_S = 0.2
"""Longest wait for a subscriber before ``--wait`` checks for Ctrl-C again, seconds."""


def publish(
    source: FrameSource,
    bind: str,
    *,
    rate_hz: float | None,
    rounds: int,
    faults: Faults,
    wait: bool,
    insecure_lan: bool,
    keys: Path | None,
    lossless: bool,
    prepare: Callable[[], None] | None = None,
) -> PublishSummary:
    """Publish `source` until it ends or Ctrl-C. The first line on stdout is the address, for programs that start this.

    `prepare` is called when the address is bound and before it is printed: nobody waits for frames that long.

    Raises
    ------
    EndpointError
        When the address cannot be bound.
    OverrunError
        When the consumer of a lossless stream has left, or has taken nothing for a minute.
    """
    stop = threading.Event()
    sink: ZmqSink | LosslessSink
    if lossless:
        sink = LosslessSink(bind, keys=keys, insecure_lan=insecure_lan, stop=stop)
    else:
        sink = ZmqSink(bind, role="raw", keys=keys, insecure_lan=insecure_lan)
    try:
        if prepare:
            prepare()
        with INTERRUPTS.calling(stop.set):
            if not print_line(sink.endpoint):
                say(f"publishing on {sink.endpoint}; stdout takes no text")
            while wait and not stop.is_set() and not sink.wait_for_subscriber(POLL_S):
                continue
            summary = Publisher(source, sink, rate_hz=rate_hz, rounds=rounds, faults=faults, stop=stop).run()
    finally:
        sink.close()
    if isinstance(sink, LosslessSink) and sink.unconfirmed:
        say(f"! {sink.unconfirmed} messages were not confirmed by the consumer")
    say(f"sent {summary.sent} frames at {summary.rate_hz:.2f} Hz, dropped {summary.dropped} on purpose")
    return summary
