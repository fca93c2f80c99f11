"""Publishing a source at its real frame rate; `simulate` and `replay` share it."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from deepbid_rt.cli.output import say
from deepbid_rt.ports import FrameSource
from deepbid_rt.simulator.publisher import Faults, Publisher, PublishSummary
from deepbid_rt.zmq_io import ZmqSink

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
) -> PublishSummary:
    """Publish `source` until it ends or Ctrl-C. The first line on stdout is the address, for programs that start this.

    Raises
    ------
    EndpointError
        When the address cannot be bound.
    """
    stop = threading.Event()

    def handle(_signum: int, _frame: FrameType | None) -> None:
        stop.set()

    sink = ZmqSink(bind, role="raw", insecure_lan=insecure_lan)
    previous = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        print(sink.endpoint, flush=True)
        while wait and not stop.is_set() and not sink.wait_for_subscriber(POLL_S):
            continue
        summary = Publisher(source, sink, rate_hz=rate_hz, rounds=rounds, faults=faults, stop=stop).run()
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
        sink.close()
    say(f"sent {summary.sent} frames at {summary.rate_hz:.2f} Hz, dropped {summary.dropped} on purpose")
    return summary
