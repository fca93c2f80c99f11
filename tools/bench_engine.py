"""Measure the speed of engines in live use: the whole denoiser, both views of collinear frames, frame by frame.

    python tools/bench_engine.py [--engines light,default,best,window,average] [--size 512] [--frames 200] [--runs 3]

The frames show simulated tissue that moves. Times are per frame, averaged over each hop of the engine (a window engine
computes once per hop). Each run measures all engines in turn; results are medians over the runs. The last line on
stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

import numpy as np
import psutil

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.frame import Frame
from deepbid_rt.ports import Engine
from deepbid_rt.runtimes import load_engine
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings

_RENDERED_FRAMES = 64
"""Frames are rendered once and repeated forwards and backwards, so that the motion stays continuous."""


class Scene:
    """Collinear frames of moving tissue, size x size after merging."""

    def __init__(self, size: int) -> None:
        source = SyntheticSource(SceneSettings(seed=1, motion_px=1.0), ScanSettings(size=(size, size), seed=1))
        self.info = source.info
        self._frames = [source.render(index)[0] for index in range(_RENDERED_FRAMES)]

    def frame(self, index: int) -> Frame:
        """Return frame number `index`."""
        period = 2 * _RENDERED_FRAMES - 2
        return Frame(index, self._frames[min(index % period, period - index % period)])


def measure(engine: Engine, scene: Scene, frames: int) -> dict[str, float]:
    """Denoise `frames` frames with one engine after its first window; return milliseconds per frame and memory."""
    before = psutil.Process().memory_info().rss
    denoiser = Denoiser(engine, scene.info)
    hop, first = engine.card.hop, max(engine.card.window, engine.card.normalization.frames)
    start = -(-first // hop) * hop  # measured after the first window and the calibration
    hops_ms = []
    for index in range(0, start + -(-frames // hop) * hop, hop):
        begun = time.perf_counter()
        for step in range(hop):
            denoiser.push(scene.frame(index + step))
        if index >= start:
            hops_ms.append((time.perf_counter() - begun) / hop * 1e3)
    memory = psutil.Process().memory_info().rss - before
    return {
        "ms_p50": float(np.median(hops_ms)),
        "ms_p99": float(np.quantile(hops_ms, 0.99)),
        "fps": 1e3 / float(np.mean(hops_ms)),
        "memory_mb": memory / 1e6,
    }


def main() -> None:
    """Measure all engines and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--engines", default="light,default,best,window,average", help="names or files, separated by commas"
    )
    parser.add_argument("--size", type=int, default=512, help="lines and pixels after merging")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--precision", choices=("auto", "bf16", "f32"), default="auto")
    parser.add_argument("--json", action="store_true", help="no effect: JSON is always printed")
    options = parser.parse_args()
    names = options.engines.split(",")
    scene = Scene(options.size)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    engines: dict[str, dict[str, Any]] = {}
    for run in range(options.runs):
        for name in names:
            # The engine average has no network, and so no precision.
            engine = load_engine(name, precision="auto" if name == "average" else options.precision)
            runs[name].append(measure(engine, scene, options.frames))
            print(f"run {run + 1} {name}: {runs[name][-1]}", file=sys.stderr)
            engines[name] = {"delay_frames": engine.card.delay, "precision": engine.description}
            engine.close()
    for name, found in runs.items():
        medians = {key: round(statistics.median(figures[key] for figures in found), 2) for key in found[0]}
        # The first run shows the memory of an engine; later runs reuse what it allocated.
        engines[name] |= medians | {"memory_mb": round(found[0]["memory_mb"], 1)}
    result: dict[str, Any] = {"size": options.size, "frames": options.frames, "runs": options.runs, "engines": engines}
    if {"default", "window"} <= engines.keys():
        result["ratio_default_to_window"] = round(engines["default"]["fps"] / engines["window"]["fps"], 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
