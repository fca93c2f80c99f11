"""Benchmark of the live path with the echo engine: frames per second without loss, added latency, and memory.

    python tools/bench_live.py [--size 512] [--seconds 10] [--soak 20000]

A second process publishes noise over TCP loopback. This process denoises it with the echo engine, which returns its
input, and publishes the result. Rates are increased until frames are lost. ``--soak N`` then serves N frames at 80 % of
the highest rate without loss and reports by how much the resident memory grew after the first tenth. The last line on
stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import psutil

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.frame import Event, Frame, StreamEnd, StreamInfo
from deepbid_rt.live.pipeline import Pipeline
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits, SessionStatus
from deepbid_rt.runtimes.echo import EchoEngine
from deepbid_rt.simulator.publisher import Publisher
from deepbid_rt.zmq_io import ZmqSink, ZmqSource

RATES_HZ = (100, 200, 300, 350, 400, 500, 600, 800, 1000)
POOL = 32
"""Different frames of noise, which are sent in turn."""


class NoiseSource:
    """A source of int16 noise, from a small pool of frames."""

    def __init__(self, size: int, rate_hz: float, frames: int) -> None:
        rng = np.random.default_rng(0)
        self._pool = [rng.integers(-100, 1000, (1, size, size), np.int16) for _ in range(POOL)]
        self._info = StreamInfo((1, size, size), np.dtype("<i2"), rate_hz, n_expected=frames)
        self._frames = frames

    def open(self) -> None:
        """Start a series."""
        self._events: Iterator[Event] = self._generate()

    def _generate(self) -> Iterator[Event]:
        yield self._info
        for index in range(self._frames):
            yield Frame(index, self._pool[index % POOL])
        yield StreamEnd("done")

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event."""
        return next(self._events, None)

    def close(self) -> None:
        """Do nothing."""


def publish(size: int, rate_hz: float, frames: int) -> None:
    """Act as the microscope: print the address, wait for a subscriber, publish."""
    with closing(ZmqSink("tcp://127.0.0.1:*", role="raw")) as sink:
        print(sink.endpoint, flush=True)
        if sink.wait_for_subscriber(60.0):
            summary = Publisher(NoiseSource(size, rate_hz, frames), sink).run()
            print(json.dumps({"rate_hz": summary.rate_hz}), flush=True)


@contextmanager
def microscope(size: int, rate_hz: float, frames: int) -> Iterator[subprocess.Popen[str]]:
    """Start a process that publishes."""
    command = [sys.executable, __file__, "--publish", str(size), str(rate_hz), str(frames)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process


def serve(size: int, rate_hz: float, frames: int) -> tuple[SessionStatus, int, float, list[int]]:
    """Serve one stream; return the status, the frames lost before the engine, the rate sent, and samples of memory."""
    memory: list[int] = []
    process_info = psutil.Process()

    def make_denoiser(info: StreamInfo) -> Denoiser:
        return Denoiser(EchoEngine(), info)

    class MemorySamplingSink(ZmqSink):
        def put(self, frame: Frame) -> None:
            super().put(frame)
            if frame.index % max(1, frames // 40) == 0:
                memory.append(process_info.memory_info().rss)

    with (
        microscope(size, rate_hz, frames) as process,
        closing(MemorySamplingSink("tcp://127.0.0.1:*", role="den")) as sink,
    ):
        if process.stdout is None:
            raise RuntimeError("the publishing process has no output")
        source = ZmqSource(process.stdout.readline().strip())
        status = Pipeline(
            source,
            make_denoiser,
            denoised=[SinkSettings("publisher", sink)],
            limits=SessionLimits(series=1, idle_s=20.0),
        ).run()
        rate = json.loads(process.stdout.readline())["rate_hz"]
    return status, sum(source.status().lost.values()), rate, memory


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="lines and pixels of a frame")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    parser.add_argument("--soak", type=int, default=0, help="frames of the memory measurement")
    parser.add_argument("--publish", nargs=3, type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        size, rate, frames = options.publish
        publish(int(size), rate, int(frames))
        return

    quiet, _, _, _ = serve(options.size, 30.0, max(2, round(30 * options.seconds)))
    latency = quiet.latency["total"].summary()
    print(f"30 Hz: added latency {latency} ms", file=sys.stderr)
    best = 0.0
    for rate_hz in RATES_HZ:
        frames = round(rate_hz * options.seconds)
        status, lost, sent_hz, _ = serve(options.size, rate_hz, frames)
        lost += status.engine_lost + sum(status.sink_lost.values())
        print(f"{rate_hz} Hz: sent at {sent_hz:.1f} Hz, out {status.frames_out}, lost {lost}", file=sys.stderr)
        if lost or status.frames_out < frames:
            break
        best = max(best, sent_hz)
        if sent_hz < 0.97 * rate_hz:  # the sender cannot go faster
            break
    result = {
        "size": options.size,
        "latency_added_ms_at_30_hz": latency,
        "sustained_fps": round(best, 1),
        "processor": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(),
    }
    if options.soak:
        begun = time.perf_counter()
        status, lost, sent_hz, memory = serve(options.size, 0.8 * best, options.soak)
        settled = memory[len(memory) // 10]
        result["soak"] = {
            "frames_out": status.frames_out,
            "lost": lost + status.engine_lost,
            "seconds": round(time.perf_counter() - begun, 1),
            "rss_mib": [round(m / 2**20, 1) for m in (settled, memory[len(memory) // 2], memory[-1])],
            "growth": round(memory[-1] / settled - 1, 4),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
