"""Draw every preset of the simulator: a raw frame, its truth, the mean of the truth, and one column over time.

    python tools/draw_presets.py --out docs/images/synthetic.png

Each panel has its own contrast. The last line on stdout is one JSON object with the correlation of the raw movie with
the truth and the processor time per frame of one thread.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deepbid_rt.evaluation.movie import line_pair_means
from deepbid_rt.evaluation.paper import agreement
from deepbid_rt.evaluation.picture import side_by_side
from deepbid_rt.simulator.presets import PRESET_NAMES, movie_preset
from deepbid_rt.simulator.synthetic import SyntheticSource


def draw(name: Any, options: argparse.Namespace, path: Path) -> dict[str, float]:
    """Simulate one preset, draw it, and return the correlation and the processor time."""
    source = SyntheticSource(*movie_preset(name, (options.size, options.size), options.seed), options.frames)
    source.render(0)  # draws the tissue, which is not timed
    started = time.process_time()
    pixels, truth = source.render_movie(options.frames)
    frame_s = (time.process_time() - started) / options.frames
    raw = line_pair_means(pixels.astype(np.float32))
    middle = options.frames // 2
    panels = [
        ("raw, mean of both views", raw[middle, 0]),
        ("truth", truth[middle, 0]),
        ("mean of the truth", truth[:, 0].mean(0)),
        ("truth, one column over time", truth[:, 0, :, options.size // 2].T),
    ]
    side_by_side(panels, path, name, reference=None, side=384)
    return {
        "correlation_xyt_raw": round(agreement(raw, truth)["correlation_xyt"], 4),
        "cpu_ms_per_frame": round(1e3 * frame_s, 2),
    }


def main() -> None:
    """Draw all presets, one below the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("synthetic.png"))
    parser.add_argument("--size", type=int, default=192, help="lines and pixels")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    measured, strips = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for name in PRESET_NAMES:
            path = Path(folder) / f"{name}.png"
            measured[name] = draw(name, options, path)
            strips.append(Image.open(path).convert("RGB"))
    whole = Image.new(
        "RGB", (max(strip.width for strip in strips), sum(strip.height for strip in strips)), (18, 20, 24)
    )
    top = 0
    for strip in strips:
        whole.paste(strip, (0, top))
        top += strip.height
    whole.quantize(64).save(options.out, optimize=True)
    print(json.dumps({"out": str(options.out), "size": options.size, "seed": options.seed, "presets": measured}))


if __name__ == "__main__":
    main()
