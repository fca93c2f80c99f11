"""Measure the accuracy and the cost of the line-phase estimate.

    python tools/bench_line_phase.py [--size 256] [--seeds 2] [--recordings MOVIE.tif ...]

Accuracy: simulated movies that move by 1 px rms, for each layout and number of photons per pixel, after 1 and 5 seconds
at 30 Hz. It is the root mean square error over line phases from 0 to 3 px, with the number of movies for which there is
an estimate. Cost: processor time of one thread for a frame of 512x512. Recordings (assumed to be ordinary scans): the
estimate beside scikit-image's registration of the backward lines of the mean frame with the forward lines around them.
The last line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from skimage.registration import phase_cross_correlation

from deepbid_rt.frame import Layout, ScanGeometry, StreamInfo
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.scan.line_phase import LinePhaseEstimator
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings

PHOTONS = (0.3, 1.0, 3.0)
PHASES_PX = (0.0, 0.4, 1.3, 3.0)
LAYOUTS: tuple[Layout, ...] = ("collinear", "ordinary")
RATE_HZ = 30
AFTER_S = (1, 5)


def estimates(size: int, layout: Layout, photons: float, phase_px: float, seed: int) -> list[float | None]:
    """Return the estimate after each of `AFTER_S` seconds; None where there is none yet."""
    scan = ScanSettings((size, size), RATE_HZ, ScanGeometry(layout), photons=photons, line_phase_px=phase_px, seed=seed)
    source = SyntheticSource(SceneSettings(seed=seed), scan)
    estimator, found = LinePhaseEstimator(source.info), []
    for index in range(max(AFTER_S) * RATE_HZ):
        estimator.push(source.render(index)[0])
        if (index + 1) / RATE_HZ in AFTER_S:
            found.append(estimator.px)
    return found


def accuracy(size: int, layout: Layout, photons: float, seeds: int) -> dict[str, Any]:
    """Return the root mean square error after each of `AFTER_S` seconds, and the number of estimates."""
    errors_after: dict[int, list[float]] = {after: [] for after in AFTER_S}
    for px in PHASES_PX:
        for seed in range(1, seeds + 1):
            found = estimates(size, layout, photons, px, seed)
            for after, estimate in zip(AFTER_S, found, strict=True):
                errors_after[after] += [] if estimate is None else [estimate - px]
    result: dict[str, Any] = {"layout": layout, "photons": photons, "movies": len(PHASES_PX) * seeds}
    for after, errors in errors_after.items():
        rms = math.sqrt(sum(e * e for e in errors) / len(errors)) if errors else None
        result[f"after_{after}_s"] = {"answered": len(errors), "rms_px": None if rms is None else round(rms, 4)}
    return result


def cost_ms(shape: tuple[int, int, int], layout: Layout, frames: int = 300) -> float:
    """Return the processor time per frame, milliseconds."""
    movie = np.random.default_rng(0).poisson(3, (4, *shape)).astype(np.int16)
    estimator = LinePhaseEstimator(StreamInfo(shape, movie.dtype, RATE_HZ, ScanGeometry(layout)))
    started = time.thread_time()
    for index in range(frames):
        estimator.push(movie[index % 4])
    return round((time.thread_time() - started) / frames * 1e3, 3)


def recording(path: Path) -> dict[str, Any]:
    """Compare the estimate for a recording with the registration of its mean frame."""
    movie = TiffMovie(path)
    try:
        frames, (lines, pixels) = movie.shape[0], movie.shape[-2:]
        estimator = LinePhaseEstimator(StreamInfo((1, lines, pixels), movie.dtype, min(RATE_HZ, frames)))
        mean = np.zeros((lines, pixels))
        for index in range(frames):
            frame = movie.frame(index)[:1]
            estimator.push(frame)
            mean += frame[0] / frames
    finally:
        movie.close()
    backward = mean[1:-1:2]
    forward = (mean[0::2][: len(backward)] + mean[2::2][: len(backward)]) / 2
    both = [(image - image.mean(1, keepdims=True)) * np.hanning(pixels) for image in (backward, forward)]
    shift, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]  # scikit-image has no types
        *both, upsample_factor=50, normalization=None
    )
    return {"frames": frames, "px": estimator.px and round(estimator.px, 3), "registered_px": round(float(shift[1]), 3)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--recordings", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    rows = []
    for layout in LAYOUTS:
        for photons in PHOTONS:
            rows.append(accuracy(arguments.size, layout, photons, arguments.seeds))
            print(rows[-1], flush=True)
    cost = {"ordinary": cost_ms((1, 512, 512), "ordinary"), "collinear": cost_ms((1, 1024, 512), "collinear")}
    print("ms of processor time for a frame of 512x512:", cost)
    real = {}
    for path in arguments.recordings:
        real[path.name] = recording(path)
        print(path.name, real[path.name], flush=True)
    print(json.dumps({"size": arguments.size, "accuracy": rows, "cost_ms": cost, "recordings": real}))


if __name__ == "__main__":
    main()
