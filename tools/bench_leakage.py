"""Measure the temporal leakage of an engine: how much its output responds to later frames.

    python tools/bench_leakage.py [--engine NAME] [--size 64]

It prints the response of output frame t to a step of brightness in frame t + k, averaged over the steps of one hop;
k > 0 means later frames. The last line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.evaluation.leakage import leakage
from deepbid_rt.frame import ScanGeometry, StreamInfo
from deepbid_rt.runtimes import DEFAULT_ENGINE, load_engine


def main() -> None:
    """Print the response for each k."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--engine", default=DEFAULT_ENGINE)
    parser.add_argument("--size", type=int, default=64)
    arguments = parser.parse_args()
    engine = load_engine(arguments.engine)
    card = engine.card
    reach = card.delay + 2
    first = max(card.window, reach)
    shape = (1, arguments.size, arguments.size)
    info = StreamInfo(shape, np.dtype(np.int16), 30.0, ScanGeometry())
    frames = np.random.default_rng(0).poisson(100, (first + card.hop + reach + card.window, *shape)).astype(np.int16)
    curve = leakage(lambda info: Denoiser(engine, info), info, frames, 50.0, range(first, first + card.hop), reach)
    engine.close()
    for k, response in curve.items():
        print(f"{k:4d} {response:8.4f}", file=sys.stderr)
    print(json.dumps({"engine": card.name, "response": {str(k): response for k, response in curve.items()}}))


if __name__ == "__main__":
    main()
