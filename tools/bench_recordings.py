"""Replay recordings through ``serve --record`` and compare the result with ``denoise``.

    python tools/bench_recordings.py MOVIE.tif... [--rate 30] [--engine NAME] [--out DIR]

``deepbid-rt replay`` publishes each movie in a separate process; ``serve`` denoises and records it live. Then
``deepbid-rt denoise`` denoises the same movie, and the pixels of both must be equal. Pictures are written to --out. The
last line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from deepbid_rt.evaluation.noise import noise_summary
from deepbid_rt.evaluation.picture import side_by_side
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.runtimes import DEFAULT_ENGINE

CLI = (sys.executable, "-m", "deepbid_rt")


def serve_replayed(movie: Path, rate_hz: float, options: list[str], folder: Path) -> dict[str, Any]:
    """Replay `movie` and serve it; return the summary of the session."""
    replay: list[str | Path] = [*CLI, "replay", movie, "--bind", "tcp://127.0.0.1:*", "--rate", str(rate_hz), "--wait"]
    with subprocess.Popen([*replay, *options[2:]], stdout=subprocess.PIPE, text=True) as publisher:
        endpoint = publisher.stdout.readline().strip() if publisher.stdout else ""
        serve: list[str | Path] = [
            *CLI,
            "serve",
            "--source",
            endpoint,
            "--record",
            folder,
            "--idle-timeout",
            "5",
            "--json",
            *options[:2],
        ]
        served = subprocess.run(serve, stdout=subprocess.PIPE, text=True, check=True)
    summary: dict[str, Any] = json.loads(served.stdout.splitlines()[-1])
    return summary


def measure(movie: Path, rate_hz: float, engine: str, scan: str, out: Path) -> dict[str, Any]:
    """Serve one recording, denoise it offline, compare the results, and draw a picture."""
    options = ["--engine", engine, "--scan", scan]
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        session = serve_replayed(movie, rate_hz, options, Path(scratch) / "live")
        offline_path = Path(scratch) / "offline.tif"
        subprocess.run([*CLI, "denoise", movie, offline_path, *options], check=True)
        paths = (movie, Path(session["recordings"][0]), offline_path)
        raw, live, offline = (stack.enter_context(closing(TiffMovie(path))) for path in paths)
        frames = raw.shape[0]
        same = live.shape == offline.shape and all(
            np.array_equal(live.frame(t), offline.frame(t)) for t in range(live.shape[0])
        )
        result = {
            "movie": movie.name,
            "shape": list(raw.shape),
            "dtype": live.dtype.str,
            "type_and_count_kept": live.dtype == raw.dtype and live.shape[0] == frames,
            "frames_in": session["frames_in"],
            "frames_out": session["frames_out"],
            "lost": session["lost"],
            "latency_ms": session["latency_ms"],
            "live_equals_offline": same,
            **noise_summary(raw, live),
        }
        at = frames // 2
        mean = np.mean([raw.frame(t)[0].astype(np.float32) for t in range(frames)], axis=0)
        side_by_side(
            [
                ("raw frame", raw.frame(at)[0]),
                ("denoised live", live.frame(at)[0]),
                (f"mean of {frames} raw frames", mean),
            ],
            out / f"{movie.stem}.png",
            title=f"{movie.stem}, frame {at}",
            reference=1,
        )
    return result


def main() -> None:
    """Measure all recordings and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("movies", type=Path, nargs="+", metavar="MOVIE.tif")
    parser.add_argument("--rate", type=float, default=30.0, help="frames per second")
    parser.add_argument("--engine", default=DEFAULT_ENGINE)
    parser.add_argument("--scan", default="ordinary", choices=("ordinary", "collinear"))
    parser.add_argument("--out", type=Path, default=Path("recordings"), help="folder for the pictures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = [measure(m, options.rate, options.engine, options.scan, options.out) for m in options.movies]
    print(json.dumps({"engine": options.engine, "rate_hz": options.rate, "recordings": results}))


if __name__ == "__main__":
    main()
