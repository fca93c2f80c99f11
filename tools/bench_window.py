"""Measure the effect of three rules of the window engine: filling at the ends of a series, look-ahead, grid of 8.

    python tools/bench_window.py [--engine NAME] [--size 96]

On a simulated movie it measures the error of the first and last frames for three ways to fill the rest of the window,
the error of a block of frames by its look-ahead, and the change of the output when windows begin at other frames.
Errors are root mean square, in standard deviations of the noise of one view. The last line on stdout is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.ports import Engine
from deepbid_rt.runtimes import load_engine
from deepbid_rt.scan.normalizer import calibrate
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings

LONG_WINDOW = 48
"""Frames; so long that its ends do not affect its middle."""

Stack = NDArray[np.float32]


def movie(size: int, frames: int, seed: int) -> tuple[Stack, Stack]:
    """Simulate one view of a movie and its truth, (T, Y, X) in network units."""
    source = SyntheticSource(SceneSettings(seed=seed), ScanSettings(size=(size, size), seed=seed), frames)
    raw, truth = (part[:, 0] for part in source.render_movie(frames))
    forward = raw[:, 0::2]
    normalizer = calibrate(forward[:16, None])
    return normalizer.apply(forward), normalizer.apply(truth)


FILLS = {"first or last frame repeated": "edge", "mirror image in time": "symmetric", "zeros": "constant"}


def edges(engine: Engine, noisy: Stack, truth: Stack, *, start: bool) -> dict[str, float]:
    """Return the error of the first (or last) block of 8 frames for each way to fill the rest of the window."""
    card = engine.card
    missing = card.window - card.hop - card.look_ahead if start else card.look_ahead
    block = slice(missing, missing + card.hop) if start else slice(-missing - card.hop, -missing)
    given = slice(missing, None) if start else slice(None, -missing)
    squares: dict[str, list[float]] = {name: [] for name in [*FILLS, "true frames"]}
    for begin in range(0, len(noisy) - card.window, card.hop):
        whole, clean = noisy[begin : begin + card.window], truth[begin : begin + card.window]
        for name in squares:
            window = whole
            if name in FILLS:
                beyond = (missing, 0) if start else (0, missing)
                window = np.pad(whole[given], (beyond, (0, 0), (0, 0)), mode=FILLS[name])  # type: ignore[call-overload]
            denoised = engine.infer(np.ascontiguousarray(window))
            squares[name].append(float(np.mean((denoised[block] - clean[block]) ** 2)))
    return {name: float(np.sqrt(np.mean(values))) for name, values in squares.items()}


def look_aheads(engine: Engine, noisy: Stack, truth: Stack) -> dict[str, float]:
    """Return the error of a block of 8 frames by the number of frames after it in the window."""
    length, errors = engine.card.window, {}
    for ahead in range(0, length - 8, 8):
        squares = []
        for begin in range(0, len(noisy) - length, 8):
            place = length - ahead - 8
            block = engine.infer(noisy[begin : begin + length])[place : place + 8]
            squares.append(np.mean((block - truth[begin + place : begin + place + 8]) ** 2))
        errors[str(ahead)] = float(np.sqrt(np.mean(squares)))
    return errors


def shifts(engine: Engine, noisy: Stack) -> dict[str, float]:
    """Return the change of the middle of a long window's output when the window begins some frames later."""
    length = LONG_WINDOW
    engine.warm_up((length, *noisy.shape[1:]))
    middle = slice(length // 2 - 4, length // 2 + 4)
    changes = {}
    for shift in (1, 2, 4, 8):
        squares = []
        for begin in range(0, len(noisy) - length - 8, 8):
            here = engine.infer(noisy[begin : begin + length])[middle].copy()
            there = engine.infer(noisy[begin + shift : begin + shift + length])
            later = there[middle.start - shift : middle.stop - shift]
            squares.append(np.mean((here - later) ** 2))
        changes[str(shift)] = float(np.sqrt(np.mean(squares)))
    return changes


def main() -> None:
    """Measure on all seeds and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="window")
    parser.add_argument("--size", type=int, default=96, help="lines and pixels, a multiple of the engine's grid")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    engine = load_engine(options.engine, precision="f32")
    rows = []
    for seed in options.seeds:
        noisy, truth = movie(options.size, options.frames, seed)
        engine.warm_up((engine.card.window, options.size, options.size))
        rows.append(
            {
                "start": edges(engine, noisy, truth, start=True),
                "end": edges(engine, noisy, truth, start=False),
                "look_ahead": look_aheads(engine, noisy, truth),
                "origin_shift": shifts(engine, noisy),
            }
        )
    means = {
        table: {key: round(float(np.mean([row[table][key] for row in rows])), 4) for key in rows[0][table]}
        for table in rows[0]
    }
    for table, values in means.items():
        print(table, *(f"  {key:>22} {value:.3f}" for key, value in values.items()), sep="\n", file=sys.stderr)
    print(json.dumps({"engine": engine.card.name, "size": options.size, "seeds": options.seeds, **means}))


if __name__ == "__main__":
    main()
