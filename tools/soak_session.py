"""Faults that a live session must survive, each for as long as asked.

    python tools/soak_session.py overload [--seconds 60] [--size 512] [--rate 30] [--factor 3]
    python tools/soak_session.py long [--frames 1000000] [--size 128] [--rate 700]
    python tools/soak_session.py full-disk [--size 256] [--rate 60]

A second process publishes noise over TCP loopback; this process runs a session that records, with an engine that
returns its input.

``overload``: for a third of the time the engine takes `factor` times as long as a frame may take, then it is fast
again. Reported are the age of the frames that came out, in milliseconds after their arrival, and how long after the
overload the first frame younger than one frame interval came out. ``long``: nothing may be unexplained, and memory,
threads and descriptors must not grow. ``full-disk``: the recording folder is a small file system in memory (which needs
the right to mount one; without it the tool says so and ends with exit code 2). It runs full and has room again later.

The last line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from deepbid_rt.errors import DeepbidError
from deepbid_rt.frame import Event, Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.live.session import Session, SessionSettings
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.runtimes.echo import ECHO_CARD
from deepbid_rt.simulator.publisher import Publisher
from deepbid_rt.zmq_io import ZmqSink, ZmqSource

POOL = 16
"""Different frames of noise, which are sent in turn."""


class NoiseSource:
    """A source of int16 noise, from a small pool of frames."""

    def __init__(self, size: int, rate_hz: float, frames: int) -> None:
        rng = np.random.default_rng(0)
        self._pool = [rng.integers(-100, 1000, (1, size, size), np.int16) for _ in range(POOL)]
        self._info = StreamInfo((1, size, size), np.dtype("<i2"), rate_hz, n_expected=frames)
        self._frames = frames

    def open(self) -> None:
        """Start the series."""
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
            Publisher(NoiseSource(size, rate_hz, frames), sink).run()


@contextmanager
def microscope(size: int, rate_hz: float, frames: int) -> Iterator[str]:
    """Publish in another process; yields the address."""
    command = [sys.executable, __file__, "publish", str(size), str(rate_hz), str(frames)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the publishing process has no output")
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class SlowEcho:
    """Returns its input after `seconds`, which another thread may change."""

    card = ECHO_CARD
    description = "echo (no network), slowed down"

    def __init__(self) -> None:
        self.seconds = 0.0
        self.first = threading.Event()

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Accept any shape."""

    def infer(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return `window` itself."""
        self.first.set()
        time.sleep(self.seconds)
        return window

    def close(self) -> None:
        """Do nothing."""


class Ages:
    """A sink that notes when each frame came out and how old it was."""

    def __init__(self) -> None:
        self.out: list[tuple[float, float]] = []  # monotonic seconds, age in ms
        self.skipped = 0

    def start(self, info: StreamInfo) -> None:
        """Do nothing."""

    def put(self, frame: Frame) -> None:
        """Note the frame's age."""
        self.out.append((time.monotonic(), (time.time_ns() - frame.arrived_ns) / 1e6))

    def skip(self, gap: Gap) -> None:
        """Count skipped frames."""
        self.skipped += gap.count if gap.cause == "skipped" else 0

    def end(self, end: StreamEnd) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def run(session: Session) -> str | None:
    """Run a session; return the text of the error that it ends with."""
    try:
        session.run()
    except DeepbidError as error:
        return str(error)
    return None


def pages(folder: Path, stream: str) -> int:
    """Return how many frames the recordings of a stream hold; every file must open."""
    count = 0
    for path in sorted(folder.glob(f"*_{stream}*.tif")):
        with TiffMovie(path) as movie:
            count += movie.shape[0]
    return count


def overload(size: int, rate_hz: float, seconds: float, factor: float) -> dict[str, Any]:
    """Overload the engine in the middle third of the time."""
    frames, engine, ages = round(seconds * rate_hz), SlowEcho(), Ages()
    times: list[float] = []
    states: set[str] = set()
    with tempfile.TemporaryDirectory() as folder, microscope(size, rate_hz, frames) as address:
        session = Session(
            ZmqSource(address),
            engine,
            SessionSettings(record=Path(folder), record_raw=True, limits=SessionLimits(series=1, idle_s=20.0)),
            denoised=[SinkSettings("ages", ages)],
        )

        def slow_down() -> None:
            engine.first.wait(60.0)
            time.sleep(seconds / 3)
            times.append(time.monotonic())
            engine.seconds = factor / rate_hz
            for _ in range(20):
                time.sleep(seconds / 60)
                states.add(session.report().status.state.value)
            engine.seconds = 0.0
            times.append(time.monotonic())

        thread = threading.Thread(target=slow_down)
        thread.start()
        error = run(session)
        thread.join()
        report = session.report()
        raw_pages, denoised_pages = pages(Path(folder), "raw"), pages(Path(folder), "denoised")
    during = [age for at, age in ages.out if times[0] + factor / rate_hz < at < times[1]]
    again = [at - times[1] for at, age in ages.out if at > times[1] and age < 1e3 / rate_hz]
    return {
        "frames_sent": frames,
        "raw_pages": raw_pages,
        "denoised_pages": denoised_pages,
        "skipped": report.status.skipped,
        "announced_as_skipped": ages.skipped,
        "unexplained": report.unexplained,
        "age_ms_during_overload": {f"p{q}": round(float(np.percentile(during, q)), 1) for q in (50, 99)}
        if during
        else {},
        "recovered_after_s": round(again[0], 3) if again else None,
        "states_during_overload": sorted(states),
        "error": error,
    }


def long(size: int, rate_hz: float, frames: int) -> dict[str, Any]:
    """Serve many frames; sample memory, threads and descriptors."""
    process, samples = psutil.Process(), []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(max(0.05, frames / rate_hz / 200)):
            samples.append((process.memory_info().rss, process.num_threads(), process.num_fds()))

    with microscope(size, rate_hz, frames) as address, closing(ZmqSink("tcp://127.0.0.1:*", role="den")) as sink:
        # No frame is skipped on purpose, so that every missing one is a loss.
        settings = SessionSettings(limits=SessionLimits(series=1, idle_s=30.0), max_latency_ms=None)
        session = Session(ZmqSource(address), SlowEcho(), settings, publisher=sink)
        thread = threading.Thread(target=sample)
        thread.start()
        begun_s = time.monotonic()
        error = run(session)
        seconds = time.monotonic() - begun_s
        done.set()
        thread.join()
    report = session.report()
    warm, last = np.median(samples[len(samples) // 10 : len(samples) // 5 + 1], axis=0), samples[-2:][0]
    return {
        "frames_sent": frames,
        "frames_in": report.status.frames_in,
        "frames_out": report.status.frames_out,
        "skipped": report.status.skipped,
        "lost": report.lost_anywhere,
        "unexplained": report.unexplained,
        "seconds": round(seconds, 1),
        "memory_growth_percent": round(100 * (last[0] / warm[0] - 1), 2),
        "memory_mib": [round(rss / 2**20, 1) for rss, _, _ in samples[:: max(1, len(samples) // 20)]],
        "thread_growth": int(last[1] - warm[1]),
        "descriptor_growth": int(last[2] - warm[2]),
        "error": error,
    }


def full_disk(size: int, rate_hz: float) -> dict[str, Any] | None:
    """Fill the disk of the recording, then make room. None when no file system can be mounted."""
    frame_bytes = 2 * size * size
    frames = round(12 * rate_hz)
    room = (frames + 2 * round(rate_hz)) * frame_bytes
    with tempfile.TemporaryDirectory() as folder:
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", folder], capture_output=True, check=False
        )
        if mount.returncode:
            return None
        try:
            # Something else takes most of the disk, and gives it back.
            other = Path(folder) / "other"
            other.write_bytes(bytes(room - round(rate_hz) * frame_bytes))
            alarmed: list[float] = []
            with microscope(size, rate_hz, frames) as address:
                session = Session(
                    ZmqSource(address),
                    SlowEcho(),
                    SessionSettings(record=Path(folder), limits=SessionLimits(series=1, idle_s=20.0)),
                )

                def give_back() -> None:
                    for _ in range(3000):
                        if any(alarm.kind in ("sink", "disk") for alarm in session.alarms.current()):
                            alarmed.append(time.monotonic())
                            break
                        time.sleep(0.01)
                    time.sleep(1.0)
                    other.unlink()

                thread = threading.Thread(target=give_back)
                thread.start()
                error = run(session)
                thread.join()
            report = session.report()
            return {
                "frames_sent": frames,
                "frames_out": report.status.frames_out,
                "recorded": pages(Path(folder), "denoised"),
                "files": len(list(Path(folder).glob("*_denoised*.tif"))),
                "lost": report.lost_anywhere,
                "unexplained": report.unexplained,
                "alarm_raised": bool(alarmed),
                "alarm_at_the_end": [alarm.text for alarm in report.alarms],
                "error": error,
            }
        finally:
            with suppress(OSError):
                subprocess.run(["umount", folder], check=False)


def main() -> int:
    """Run one scenario and print its result."""
    if sys.argv[1:2] == ["publish"]:
        publish(int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=["overload", "long", "full-disk"])
    parser.add_argument("--size", type=int, help="lines and pixels of a frame")
    parser.add_argument("--rate", type=float, help="frames per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the overload scenario")
    parser.add_argument("--factor", type=float, default=3.0, help="overload: time of the engine, in frame intervals")
    parser.add_argument("--frames", type=int, default=1_000_000, help="frames of the long scenario")
    arguments = parser.parse_args()
    result: dict[str, Any] | None
    if arguments.scenario == "overload":
        result = overload(arguments.size or 512, arguments.rate or 30.0, arguments.seconds, arguments.factor)
    elif arguments.scenario == "long":
        result = long(arguments.size or 128, arguments.rate or 700.0, arguments.frames)
    else:
        result = full_disk(arguments.size or 256, arguments.rate or 60.0)
    if result is None:
        print("no file system can be mounted here; run the tool as root", file=sys.stderr)
    machine = f"{platform.machine()}, {psutil.cpu_count()} cores"
    print(json.dumps({"scenario": arguments.scenario, "machine": machine, "result": result}))
    return 0 if result else 2


if __name__ == "__main__":
    sys.exit(main())
