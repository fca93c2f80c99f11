"""Compare engines on simulated movies that none of them was trained on, with the raw movie and the best Gaussian.

    python tools/bench_quality.py [--engines default,average,window] [--seeds 1 2 3 4 5 6] [--motion 1]
        [--layout collinear] [--views each] [--preset heart-beating] [--settled 60]
        [--line-phase 1.3] [--align auto off]
        [--pictures STACK.tif ...]

Every engine denoises the same movies frame by frame, as in live use. The best Gaussian is tuned with the truth of each
movie. The last line on stdout is one JSON object: for each method the mean over the movies, the range of the
correlation, and the ratio of the mean intensity to the raw one that is farthest from 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

import deepbid_rt
from deepbid_rt.card import ViewInput
from deepbid_rt.cli.options import parse_line_phase
from deepbid_rt.evaluation.baselines import gaussian, tune_gaussian
from deepbid_rt.evaluation.dynamics import dynamics
from deepbid_rt.evaluation.movie import MovieReader, line_pair_means
from deepbid_rt.evaluation.paper import agreement
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.ports import Engine
from deepbid_rt.runtimes import load_engine
from deepbid_rt.simulator.presets import PRESET_NAMES, movie_preset
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings


class OtherViews:
    """An engine that gets other views of a frame than its card says."""

    def __init__(self, engine: Engine, views: ViewInput) -> None:
        self.card = dataclasses.replace(engine.card, views=views)
        self.description, self.warm_up = engine.description, engine.warm_up
        self.infer, self.close = engine.infer, engine.close


def score(movie: NDArray[Any], truth: NDArray[Any], raw_mean: float) -> dict[str, float]:
    """Return the metrics of one movie."""
    return {
        **{key: agreement(movie, truth)[key] for key in ("correlation_xyt", "snr_db")},
        "correlation_dynamic": dynamics(movie, truth)["correlation_dynamic"],
        "mean_ratio": float(movie.mean() / raw_mean),
    }


def middle_page(files: list[Path], seed: int) -> NDArray[np.float32]:
    """Return the middle page of the file that the seed selects, with its darkest percentile subtracted."""
    with Image.open(files[seed % len(files)]) as file:
        pages = [np.array(image, np.float32) for image in ImageSequence.Iterator(file)]
    middle = pages[len(pages) // 2]
    return np.asarray(np.maximum(middle - np.percentile(middle, 1), 0), np.float32)


def main() -> None:
    """Score all methods on all seeds and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default="default,average,window", help="separated by commas")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=160)
    parser.add_argument("--settled", type=int, default=0, help="frames at the start that are not scored")
    parser.add_argument("--motion", type=float, default=1.0, help="pixels rms")
    parser.add_argument("--photons", type=float, default=0.4, help="per pixel of one line")
    parser.add_argument("--layout", choices=["collinear", "ordinary"], default="collinear")
    parser.add_argument("--line-phase", type=float, default=0.0, help="backward lines lie this far right, pixels")
    parser.add_argument("--align", nargs="+", default=["auto"], help="auto, off or pixels; one run for each")
    parser.add_argument("--views", choices=get_args(ViewInput), help="views of an inference, instead of the card's")
    parser.add_argument("--pictures", type=Path, nargs="+", help="clean images, scanned instead of drawn tissue")
    parser.add_argument("--preset", choices=PRESET_NAMES, help="a named movie; it sets motion and photons")
    options = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in options.seeds:
        size, layout = (options.size, options.size), ScanGeometry(options.layout)
        if options.pictures:
            scene = SceneSettings(seed=seed, motion_px=options.motion, picture=middle_page(options.pictures, seed))
            scan = ScanSettings(size=size, photons=options.photons, seed=seed, scan=layout)
        elif options.preset:
            scene, scan = movie_preset(options.preset, size, seed, scan=layout)
        else:
            scene = SceneSettings(seed=seed, motion_px=options.motion)
            scan = ScanSettings(size=size, photons=options.photons, seed=seed, scan=layout)
        scan = dataclasses.replace(scan, line_phase_px=options.line_phase)
        source = SyntheticSource(scene, scan, options.frames)
        frames, truth = source.render_movie(options.frames)
        noisy = frames.astype(np.float32)
        raw = line_pair_means(noisy) if options.layout == "collinear" else noisy
        tuned = tune_gaussian(raw, truth)
        movies: dict[str, MovieReader | NDArray[Any]] = {
            "raw": raw,
            "best Gaussian": gaussian(raw, tuned.sigma_xy, tuned.sigma_t),
        }
        for name in options.engines.split(","):
            engine = load_engine(name)
            shown = OtherViews(engine, options.views) if options.views else engine
            for align in options.align:
                row = name if len(options.align) == 1 else f"{name}, align {align}"
                movies[row] = deepbid_rt.denoise(
                    frames, shown, layout, source.info.rate_hz, line_phase=parse_line_phase(align)
                )
        for name, movie in movies.items():
            scored = np.s_[options.settled :]
            whole = movie if isinstance(movie, np.ndarray) else movie.read(0, movie.shape[0])
            rows.setdefault(name, []).append(score(whole[scored], truth[scored], float(raw[scored].mean())))
            print(f"seed {seed} {name}: {rows[name][-1]}", file=sys.stderr)
    result: dict[str, Any] = {}
    for name, scores in rows.items():
        correlations = [s["correlation_xyt"] for s in scores]
        means = {key: round(float(np.mean([s[key] for s in scores])), 4) for key in scores[0] if key != "mean_ratio"}
        farthest = max((s["mean_ratio"] for s in scores), key=lambda ratio: abs(ratio - 1))
        result[name] = {
            **means,
            "correlation_range": [round(min(correlations), 3), round(max(correlations), 3)],
            "mean_ratio_farthest": round(farthest, 4),
        }
    print(
        json.dumps(
            {
                "seeds": options.seeds,
                "size": options.size,
                "layout": options.layout,
                "settled": options.settled,
                "line_phase_px": options.line_phase,
                **({"pictures": [path.name for path in options.pictures]} if options.pictures else {}),
                **({"preset": options.preset} if options.preset else {"motion_px": options.motion}),
                "methods": result,
            }
        )
    )


if __name__ == "__main__":
    main()
