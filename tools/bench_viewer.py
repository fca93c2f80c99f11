"""Measure the viewer beside a session: displayed frames per second, age of what is displayed, cost, and growth.

    python tools/bench_viewer.py [--size 512] [--rate 30] [--minutes 10] [--engine average]

A process publishes noise over TCP loopback, ``deepbid-rt serve`` denoises it, and ``deepbid-rt view`` shows raw and
denoised frames in a window of 1280x800: on the desktop, or on a virtual screen (Xvfb), which draws in software.
``--engine`` is the engine of the session: ``average``, ``default`` or ``echo``; choose one that leaves enough processor
time for the viewer.

The age is the time from sending by the microscope to the picture on the screen. The cost is the processor time of all
threads of the viewer for each displayed frame. Both are measured from some seconds after the window opened. Frames that
``serve`` lost are counted from the first frame to the last. The last line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psutil

START_S = 8.0
"""Time for the viewer to open its window; not measured."""
REPORTED = (
    *("displayed", "with_raw", "received", "skipped"),
    *("displayed_fps", "age_ms_p50", "age_ms_p95", "age_ms_last_10_s", "cpu_ms_per_frame"),
)
"""Keys of the viewer's result that are reported."""


def started(stack: ExitStack, *command: str, **options: Any) -> subprocess.Popen[str]:
    """Start a process that is killed when the stack closes."""
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, **options)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def screen(stack: ExitStack) -> str:
    """Start a virtual screen if there is none; returns a description of the screen."""
    if os.environ.get("DISPLAY") or sys.platform != "linux":
        return "desktop"
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        raise SystemExit("no screen: neither DISPLAY nor Xvfb (Debian: apt-get install xvfb)")
    read, write = os.pipe()
    started(
        stack,
        xvfb,
        "-displayfd",
        str(write),
        "-screen",
        "0",
        "1280x800x24",
        "-nolisten",
        "tcp",
        "-noreset",
        pass_fds=[write],
    )
    os.close(write)
    with closing(os.fdopen(read)) as number:
        os.environ["DISPLAY"] = f":{number.readline().strip()}"
    return "Xvfb, software GL"


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="lines and pixels of a frame")
    parser.add_argument("--rate", type=float, default=30.0, help="frames per second")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the measurement")
    parser.add_argument("--engine", default="average", help="engine of the session")
    options = parser.parse_args()
    seconds = 60 * options.minutes
    frames = round((seconds + 3 * START_S) * options.rate)
    with ExitStack() as stack:
        where = screen(stack)
        live = Path(__file__).with_name("bench_live.py")
        numbers = [str(options.size), str(options.rate), str(frames)]
        microscope = started(stack, sys.executable, str(live), "--publish", *numbers)
        cli = (sys.executable, "-m", "deepbid_rt")
        source = _line(microscope.stdout)
        serve = started(
            stack,
            *cli,
            *("serve", "--source", source, "--engine", options.engine, "--publish", "tcp://127.0.0.1:*"),
            *("--idle-timeout", "5", "--json"),
            stderr=subprocess.PIPE,
        )
        published = _line(serve.stderr).removeprefix("publishing on ")
        length = str(seconds + START_S)
        view = started(stack, *cli, "view", "--connect", published, "--seconds", length, "--json")
        memory = _watch(view, serve, seconds)
        shown = json.loads(view.communicate()[0].strip().splitlines()[-1])
        microscope.terminate()
        served = json.loads(serve.communicate()[0].strip().splitlines()[-1])
    settled = min(1 + len(memory) // 10, len(memory) - 1)  # skips samples taken while the window opens
    result = {
        "size": options.size,
        "rate_hz": options.rate,
        "minutes": options.minutes,
        "engine": options.engine,
        "screen": where,
        "load_average": round(os.getloadavg()[0], 1),
        **{key: shown.get(key) for key in REPORTED},
        "viewer_rss_mib": [round(m[0] / 2**20, 1) for m in (memory[settled], memory[-1])],
        "serve_rss_mib": [round(m[1] / 2**20, 1) for m in (memory[settled], memory[-1])],
        "serve_lost": served["lost"],
    }
    print(json.dumps(result))


def _line(stream: Any) -> str:
    return str(stream.readline().strip())


def _watch(view: subprocess.Popen[str], serve: subprocess.Popen[str], seconds: float) -> list[list[int]]:
    """Sample resident memory of viewer and session until the viewer ends."""
    memory: list[list[int]] = []
    begun_s = time.monotonic()
    processes = [psutil.Process(process.pid) for process in (view, serve)]
    while view.poll() is None:
        try:
            sizes = [process.memory_info().rss for process in processes]
        except psutil.Error:
            break
        if all(sizes) and (not memory or time.monotonic() - begun_s > START_S):
            memory.append(sizes)
        time.sleep(max(0.1, seconds / 100))
    return memory


if __name__ == "__main__":
    main()
