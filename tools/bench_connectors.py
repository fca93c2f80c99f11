"""Benchmark of connectors: frames lost, latency, and the processor time that the acquisition computer loses to one.

    python tools/bench_connectors.py [--connectors tiff raw tcp] [--seconds 600] [--rate 30] [--size 512] [--channels 2]

One process stands in for the acquisition program and writes int16 noise at the frame rate; the connector runs as users
run it; this process receives. Files are written in series, and the oldest are deleted, so that a long run needs little
space. Latency is the time from the moment at which the first process has a frame to its arrival here. The share of a
core is the connector's processor time divided by the time between the first and the last frame. The last line on stdout
is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile

from deepbid_rt.frame import Frame, Gap, StreamEnd
from deepbid_rt.zmq_io import ZmqSource

BRIDGE = Path(__file__).parents[1] / "bridge"
POOL = 16
"""Different frames of noise, which are sent in turn."""
STAMP = 4
"""First pixels of a frame, which hold the time at which it was made: one 64-bit integer."""
KEPT_FILES = 4
IDLE_S = 3.0
SILENCE_S = 60.0


def frames(options: argparse.Namespace) -> Iterator[np.ndarray[Any, Any]]:
    """Yield stamped frames (C, Y, X) at the frame rate; the times are computed from the beginning, so none drifts."""
    rng = np.random.default_rng(0)
    shape = (options.channels, options.size, options.size)
    pool = [rng.integers(-100, 1000, shape, np.int16) for _ in range(POOL)]
    begun_s = time.monotonic()
    for number in range(round(options.rate * options.seconds)):
        time.sleep(max(0.0, begun_s + number / options.rate - time.monotonic()))
        frame = pool[number % POOL]
        frame.reshape(-1)[:STAMP].view(np.int64)[0] = time.time_ns()
        yield frame


def write_tiff(folder: Path, options: argparse.Namespace) -> None:
    """Write BigTIFF files page by page."""
    per_file = round(4 * options.rate)
    writer: tifffile.TiffWriter | None = None
    for number, frame in enumerate(frames(options)):
        if number % per_file == 0:
            if writer is not None:
                writer.close()
            writer = tifffile.TiffWriter(_next_file(folder, number // per_file, "tif"), bigtiff=True)
        if writer is not None:
            for page in frame:
                writer.write(page, contiguous=False, metadata=None, photometric="minisblack")
    if writer is not None:
        writer.close()


def write_raw(folder: Path, options: argparse.Namespace) -> None:
    """Append frames to files of pixels alone."""
    per_file = round(4 * options.rate)
    file: Any = None
    for number, frame in enumerate(frames(options)):
        if number % per_file == 0:
            if file is not None:
                file.close()
            file = _next_file(folder, number // per_file, "raw").open("wb", buffering=0)
        file.write(frame.data)
    if file is not None:
        file.close()


def _next_file(folder: Path, number: int, suffix: str) -> Path:
    if number >= KEPT_FILES:
        (folder / f"movie_{number - KEPT_FILES:05d}.{suffix}").unlink()
    return folder / f"movie_{number:05d}.{suffix}"


def write_tcp(folder: Path, options: argparse.Namespace) -> None:
    """Send big-endian lengths and frames to the first program that connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        (folder / "port.part").write_text(str(server.getsockname()[1]))
        (folder / "port.part").rename(folder / "port")
        connection, _ = server.accept()
        with connection:
            for frame in frames(options):
                connection.sendall(frame.nbytes.to_bytes(8, "big"))
                connection.sendall(frame.data)


WRITERS: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "tiff": write_tiff,
    "raw": write_raw,
    "tcp": write_tcp,
}


def connector(kind: str, folder: Path, options: argparse.Namespace) -> list[str]:
    """Return the command of a connector, as a user would type it."""
    shape = f"{options.channels},{options.size},{options.size}"
    common = ["--bind", "tcp://127.0.0.1:0", "--wait", "60", "--series", "1", "--rate", str(options.rate)]
    watch = [str(BRIDGE / "watch_folder.py"), str(folder), "--existing", "--idle", str(IDLE_S)]
    if kind == "tiff":
        return [sys.executable, *watch, "--channels", str(options.channels), *common]
    if kind == "raw":
        return [sys.executable, *watch, "--shape", shape, "--dtype", "int16", *common]
    until_s = time.monotonic() + SILENCE_S
    while not (folder / "port").exists():
        if time.monotonic() > until_s:
            raise TimeoutError("the sender does not listen")
        time.sleep(0.01)
    address = f"127.0.0.1:{(folder / 'port').read_text()}"
    return [sys.executable, str(BRIDGE / "tcp_frames.py"), "--connect", address, "--shape", shape, *common]


@contextmanager
def process(command: list[str], **more: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a program, and end it with the block."""
    with subprocess.Popen(command, text=True, **more) as running:
        try:
            yield running
        finally:
            running.kill()


def measure(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one connector; return what was lost and what it took."""
    expected = round(options.rate * options.seconds)
    arguments = [f"--{name}={getattr(options, name)}" for name in ("seconds", "rate", "size", "channels")]
    with tempfile.TemporaryDirectory(prefix="connectors-", dir=options.folder) as name:
        folder = Path(name)
        writer = [sys.executable, __file__, "--write", kind, name, *arguments]
        with process(writer) if kind == "tcp" else _nothing():
            command = connector(kind, folder, options)
            with (
                process(command, stdout=subprocess.PIPE) as running,
                closing(ZmqSource(_first_line(running).removeprefix("publishing on "))) as source,
            ):
                source.open()
                with process(writer) if kind != "tcp" else _nothing():
                    figures = receive(source, psutil.Process(running.pid))
                said = running.stdout.read().splitlines() if running.stdout else []
    published = json.loads(said[-1]) if said else {}
    lost = expected - figures["frames"]
    return {
        **figures,
        "lost": lost,
        "lost_before_publishing": expected - published.get("frames", 0),
        "noticed": figures["gaps"] == lost or lost == 0,
    }


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _first_line(running: subprocess.Popen[str]) -> str:
    return running.stdout.readline().strip() if running.stdout else ""


def receive(source: ZmqSource, watched: psutil.Process) -> dict[str, Any]:
    """Receive one series."""
    latencies_ms: list[float] = []
    count = gaps = 0
    begun_s, begun_cpu_s, begun_rss = 0.0, 0.0, 0
    last_s, last_cpu_s, last_rss = 0.0, 0.0, 0
    silent_s = 0.0
    while silent_s < SILENCE_S:
        event = source.read(0.5)
        silent_s = 0.0 if event is not None else silent_s + 0.5
        if isinstance(event, Gap):
            gaps += event.count
        if isinstance(event, StreamEnd):
            break
        if not isinstance(event, Frame):
            continue
        made_ns = int(event.pixels.reshape(-1)[:STAMP].view(np.int64)[0])
        latencies_ms.append((event.arrived_ns - made_ns) / 1e6)
        count += 1
        if count == 1 or count % 30 == 0:
            spent = watched.cpu_times()
            last_s, last_cpu_s, last_rss = time.monotonic(), spent.user + spent.system, watched.memory_info().rss
            if count == 1:
                begun_s, begun_cpu_s = last_s, last_cpu_s
            if begun_rss == 0 and last_s - begun_s > 5:
                begun_rss = last_rss
    seconds = last_s - begun_s
    return {
        "frames": count,
        "gaps": gaps,
        "seconds": round(seconds, 1),
        "core_share": round((last_cpu_s - begun_cpu_s) / seconds, 4) if seconds > 0 else None,
        "latency_ms": {
            f"p{share}": round(float(np.percentile(latencies_ms, share)), 1) if latencies_ms else None
            for share in (50, 95, 99, 100)
        },
        "rss_mib": [round(rss / 2**20, 1) for rss in (begun_rss, last_rss)],
    }


def main() -> None:
    """Run the benchmark and print its result."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--connectors", nargs="+", choices=tuple(WRITERS), default=list(WRITERS))
    made.add_argument("--seconds", type=float, default=600.0, help="length of each run (default %(default)s)")
    made.add_argument("--rate", type=float, default=30.0, help="frames per second (default %(default)s)")
    made.add_argument("--size", type=int, default=512, help="lines and pixels (default %(default)s)")
    made.add_argument("--channels", type=int, default=2, help="(default %(default)s)")
    made.add_argument("--folder", type=Path, help="where files are written (default: the folder for temporary files)")
    made.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.write:
        kind, folder = options.write
        WRITERS[kind](Path(folder), options)
        return
    results = {}
    for kind in options.connectors:
        results[kind] = measure(kind, options)
        print(f"{kind}: {json.dumps(results[kind])}", file=sys.stderr, flush=True)
    print(
        json.dumps(
            {
                "size": options.size,
                "channels": options.channels,
                "rate_hz": options.rate,
                "seconds": options.seconds,
                "connectors": results,
                "processor": platform.processor() or platform.machine(),
                "cores": psutil.cpu_count(),
                "load": [round(one, 2) for one in psutil.getloadavg()],
            }
        )
    )


if __name__ == "__main__":
    main()
