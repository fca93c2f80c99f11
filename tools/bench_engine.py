"""Time engines as live use runs them: the whole denoiser, both views of collinear frames, one frame at a time.

    python tools/bench_engine.py [--engines stream-default,average,calcium-window] [--size 512] [--frames 80]

Times are per frame, averaged over each hop of the engine (a windowed engine computes once per hop). The last line on
stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import psutil

from deepbid_rt.denoiser import Denoiser
from deepbid_rt.frame import Frame, ScanGeometry, StreamInfo
from deepbid_rt.runtimes import load_engine


def measure(name: str, size: int, frames: int, precision: Any) -> dict[str, Any]:
    """Push `frames` collinear frames of noise, size x size after merging, through one engine."""
    before = psutil.Process().memory_info().rss
    engine = load_engine(name, precision=precision)
    info = StreamInfo((1, 2 * size, size), np.dtype("<i2"), 30.0, ScanGeometry("collinear"))
    denoiser = Denoiser(engine, info)
    pool = np.random.default_rng(0).poisson(40.0, (16, *info.shape)).astype(np.int16)
    hop = engine.card.hop
    start = -(-engine.card.window // hop) * hop  # the first window fills, calibration ends
    hops_ms = []
    for index in range(0, start + -(-frames // hop) * hop, hop):
        begun = time.perf_counter()
        for step in range(hop):
            denoiser.push(Frame(index + step, pool[(index + step) % 16]))
        if index >= start:
            hops_ms.append((time.perf_counter() - begun) / hop * 1e3)
    memory = psutil.Process().memory_info().rss - before
    engine.close()
    return {
        "ms_p50": round(float(np.median(hops_ms)), 2),
        "ms_p99": round(float(np.quantile(hops_ms, 0.99)), 2),
        "fps": round(1e3 / float(np.mean(hops_ms)), 2),
        "delay_frames": engine.card.delay,
        "memory_mb": round(memory / 1e6, 1),
        "precision": engine.description,
    }


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--engines", default="stream-default,average,calcium-window", help="names or files, separated by commas"
    )
    parser.add_argument("--size", type=int, default=512, help="lines and pixels after merging")
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--precision", choices=("auto", "bf16", "f32"), default="auto")
    parser.add_argument("--json", action="store_true", help="accepted for symmetry: JSON is always printed")
    options = parser.parse_args()
    engines = {}
    for name in options.engines.split(","):
        engines[name] = measure(name, options.size, options.frames, options.precision)
        print(f"{name}: {engines[name]}", file=sys.stderr)
    print(json.dumps({"size": options.size, "frames": options.frames, "engines": engines}))


if __name__ == "__main__":
    main()
