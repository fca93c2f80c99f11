"""Soak test of recordings: kill a session at random moments, many times, and look at what it leaves.

    python tools/soak_kills.py [--kills 200] [--size 128] [--rate 100] [--seconds 3]

One process sends one endless series, as a microscope does. Another one, ``deepbid-rt serve --record --record-raw``, is
killed (SIGKILL) at a random moment and started again into the same folder, so that each kill leaves one more part of
the recordings. After every kill each new file must open with all its pages whole, and after every tenth ``deepbid-rt
recover`` must explain each frame that is missing. The last line on stdout is one JSON object; the exit code is 1 when
something was wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from deepbid_rt.errors import DeepbidError
from deepbid_rt.recording.recovery import Recovery
from deepbid_rt.recording.sidecar import read_sidecar
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.recording.tiff_pages import last_frame_number
from deepbid_rt.recording.tiff_writer import TiffMovieWriter

KILLS_PER_FOLDER = 10
STARTS_S = 60.0
"""Longest wait for a session to begin recording."""


@contextmanager
def microscope(folder: Path, size: int, rate_hz: float) -> Iterator[str]:
    """Send one series for ever; yield its address."""
    rng = np.random.default_rng(0)
    writer = TiffMovieWriter(folder / "sent.tif")
    for index in range(20):
        writer.append(rng.integers(0, 1000, (1, size, size), np.int16), index, index / rate_hz)
    writer.close()
    options = ("--rate", str(rate_hz), "--loop", "10000000", "--bind", "tcp://127.0.0.1:*")
    command = [sys.executable, "-m", "deepbid_rt", "replay", str(folder / "sent.tif"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("the sending process has no output")
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def kill_once(source: str, folder: Path, delay_s: float, *, from_the_start: bool) -> int | None:
    """Run a session and kill it `delay_s` seconds after its start or its first frame; return the time, ns.

    Returns None when the session ended by itself or did not record.
    """
    before = set(folder.glob("*_raw*.tif"))
    options = ("--engine", "echo", "--record", str(folder), "--record-raw")
    command = [sys.executable, "-m", "deepbid_rt", "serve", "--source", source, *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + STARTS_S
        while not from_the_start and set(folder.glob("*_raw*.tif")) == before:
            if process.poll() is not None or time.monotonic() > deadline:
                return None
            time.sleep(0.02)
        time.sleep(delay_s)
        ended = process.poll() is not None
    finally:
        process.kill()
        killed_ns = time.time_ns()
        process.wait()
    return None if ended else killed_ns


class Findings:
    """What the kills have left."""

    def __init__(self) -> None:
        self.files = self.frames = self.lines = 0
        self.unreadable: list[str] = []
        self.empty = 0
        self.unlinked = 0
        self.behind_log: list[str] = []
        self.unexplained = 0
        self.interrupted = 0
        self.short_s: list[float] = []
        self.total_age_s: list[float] = []

    def look(self, folder: Path, seen: set[Path], killed_ns: int) -> None:
        """Look at the files that a kill has left."""
        new = set(folder.iterdir()) - seen
        pages: dict[str, int] = {}
        for path in sorted(path for path in new if path.suffix == ".tif"):
            self.files += 1
            stream = "raw" if "_raw" in path.name else "denoised"
            if path.stat().st_size == 0:  # killed between the creation of the file and its first frame
                self.empty += 1
                continue
            try:
                with TiffMovie(path) as movie:
                    pages[stream] = movie.shape[0]
                    self.frames += movie.shape[0]
                    last = dict(line.split(" = ") for line in movie.description(movie.shape[0] - 1).splitlines())
            except DeepbidError as error:
                self.unreadable.append(str(error))
                continue
            if last_frame_number(path) != int(last["frameNumbers"]):
                self.unreadable.append(f"{path} does not end with its last frame")
            with TiffMovie(path, salvage=True) as movie:
                self.unlinked += movie.shape[0] - pages[stream]
            if stream == "raw":
                self.short_s.append((killed_ns - int(last["t_ns"])) / 1e9)
        for path in (path for path in new if path.suffix == ".jsonl"):
            lines = read_sidecar(path)
            self.lines += len(lines)
            if totals := [line for line in lines if line["kind"] == "total"]:
                self.total_age_s.append((killed_ns - totals[-1]["t_ns"]) / 1e9)
                for stream, count in (totals[-1].get("recorded") or {}).items():
                    if pages.get(stream, 0) < count:
                        self.behind_log.append(f"{path}: {count} {stream} frames, {pages.get(stream, 0)} pages")

    def recover(self, folder: Path) -> None:
        """Let the recovery explain what is missing in a folder."""
        movies, _ = Recovery(folder).run()
        for movie in movies:
            for missing in movie.missing:
                if missing.cause == "unknown":
                    self.unexplained += missing.count
                elif missing.cause == "interruption":
                    self.interrupted += missing.count

    def figures(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {
            "files": self.files,
            "frames": self.frames,
            "log_lines": self.lines,
            "unreadable": self.unreadable,
            "empty_files": self.empty,
            "frames_written_but_not_linked": self.unlinked,  # their write was under way; recover finds them
            "fewer_pages_than_the_log_says": self.behind_log,
            "frames_missing_unexplained": self.unexplained,
            "frames_missing_between_parts": self.interrupted,
            "last_frame_before_the_kill_s": _spread(self.short_s),
            "last_total_before_the_kill_s": _spread(self.total_age_s),
        }


def _spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": round(float(np.median(values)), 3), "largest": round(max(values), 3)}


def main() -> None:
    """Kill sessions and print what they have left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--size", type=int, default=128, help="lines and pixels of a frame")
    parser.add_argument("--rate", type=float, default=100.0, help="frames per second")
    parser.add_argument("--seconds", type=float, default=3.0, help="longest time that a session records")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    findings, kills, not_killed = Findings(), 0, 0
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="soak_kills") as place,
        microscope(Path(place), options.size, options.rate) as source,
    ):
        while kills < options.kills and not_killed < 10:
            folder = Path(place) / f"session{kills // KILLS_PER_FOLDER}"
            folder.mkdir(exist_ok=True)
            seen = set(folder.iterdir())
            # One in ten is killed while it starts: before, while and after the first files come into being.
            early = kills % KILLS_PER_FOLDER == KILLS_PER_FOLDER - 1
            killed_ns = kill_once(source, folder, rng.uniform(0, options.seconds), from_the_start=early)
            if killed_ns is None:
                not_killed += 1
                continue
            kills += 1
            findings.look(folder, seen, killed_ns)
            if kills % KILLS_PER_FOLDER == 0 or kills == options.kills:
                if any(folder.iterdir()):
                    findings.recover(folder)
                shutil.rmtree(folder)
                print(f"{kills} kills, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    figures = findings.figures()
    print(json.dumps({"kills": kills, "sessions_that_ended_by_themselves": not_killed, **figures}))
    wrong = figures["unreadable"] or figures["fewer_pages_than_the_log_says"] or figures["frames_missing_unexplained"]
    sys.exit(1 if wrong or not_killed else 0)


if __name__ == "__main__":
    main()
