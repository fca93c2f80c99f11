"""Evaluate stream engines on real recordings, where no truth exists.

    python tools/bench_real.py --data ../shared/data [--engines default,average] [--window window] [--frames 300]

held frame: frame t is predicted from the frames before it; its own pixels are used only for its motion. The mean
squared error in counts against the frame is compared with that of simple predictors.
held lines: the lines of one direction are predicted from those of the other direction and the frames before. The
baseline is the best mixture of interpolated lines and an exponential average; its weight and blur are tuned on the same
recording.
target: peak signal-to-noise ratio for a static target after 8 frames, against the mean of the 4 other frames, whose own
noise is subtracted; 14.3 counts are full scale.
stills: single noisy frames, without earlier frames, against an average of 400; peak signal-to-noise ratio of 8 bits
after gain and offset are fitted. The baseline is the Gaussian tuned with each truth.
dark: a channel without light, and a recording with 0.09 photons per pixel. The result is the standard deviation of the
output in time, and of its mean over time in space, each divided by that of the raw recording. A value above 1 means
that the engine invents structure.
The last line on stdout is one JSON object. Recordings that are missing are listed in it and left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter1d

import deepbid_rt
from deepbid_rt.denoising.network_inputs import VisibleLines, network_inputs, pad, padded_size
from deepbid_rt.motion.frame_context import FrameContext, FrameContextBuilder
from deepbid_rt.ports import Engine
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.runtimes import load_engine
from deepbid_rt.scan.normalizer import Normalizer, calibrate

Stack = NDArray[np.float32]
"""(T, Y, X) counts; single frames are (Y, X)."""
_FIRST = 60
"""The first frame that is scored; frames before it only fill the temporal averages."""
_FULL_SCALE = 14.3  # counts


def read(path: Path, frames: int) -> Stack:
    """Read the first channel of a TIFF movie as (T, Y, X) counts."""
    movie = TiffMovie(path)
    try:
        return np.stack([movie.frame(t)[0].astype(np.float32) for t in range(min(frames, movie.shape[0]))])
    finally:
        movie.close()


def squared(prediction: Stack, truth: Stack) -> float:
    """Return the mean squared error."""
    return float(np.mean((prediction - truth) ** 2, dtype=np.float64))


def predict(engine: Engine, movie: Stack, visible: tuple[VisibleLines, ...]) -> Iterator[list[Stack]]:
    """Yield, for each frame, one prediction for each choice of the lines of it that the engine gets."""
    scale: Normalizer = calibrate(movie[: engine.card.normalization.frames, None])
    size = movie.shape[1:]
    engine.warm_up((engine.card.depth, *padded_size(size, engine.card.grid)))
    builder = FrameContextBuilder(engine.card.memories, engine.card.look_ahead, 1, size)

    def predictions(context: FrameContext) -> Iterator[Stack]:
        for lines in visible:
            given = network_inputs(context.views[0, 0], context.averages[0], lines, context.later_frames[0])
            predicted = engine.infer(pad(given, engine.card.grid))[0, : size[0], : size[1]]
            yield predicted * np.float32(scale.scale) + np.float32(scale.offset)

    for t, frame in enumerate(movie):
        for context in builder.push(t, scale.apply(frame)[None, None]):
            yield list(predictions(context))
    for context in builder.flush():
        yield list(predictions(context))


def held_frame(movie: Stack, engines: dict[str, Engine]) -> dict[str, float]:
    """Return the errors of predictions of whole frames."""
    later = movie[_FIRST:]
    average, ema = movie[0], np.empty_like(movie)
    for t, frame in enumerate(movie):
        ema[t] = average
        average = average + np.float32(0.15) * (frame - average)
    sums = np.cumsum(np.concatenate([np.zeros_like(movie[:1]), movie]), axis=0, dtype=np.float64)
    eight = ((sums[_FIRST:-1] - sums[_FIRST - 8 : -9]) / 8).astype(np.float32)
    found = {
        "previous frame": squared(movie[_FIRST - 1 : -1], later),
        "mean of 8": squared(eight, later),
        "mean of 8, Gauss 1 px": squared(gaussian_filter(eight, (0, 1, 1)), later),
        "average 0.15": squared(ema[_FIRST:], later),
    }
    if len(movie) > _FIRST + 30:
        middle = slice(_FIRST, len(movie) - 30)
        around = uniform_filter1d(movie, 61, axis=0)[middle] * 61 / 60 - movie[middle] / 60
        found["mean of the 60 around, frames without 30 after left out"] = squared(around, movie[middle])
    for name, engine in engines.items():
        if engine.card.kind == "stream":
            predicted = np.stack([one for [one] in predict(engine, movie, ("none",))])
            found[name] = squared(predicted[_FIRST:], later)
    return found


def held_lines(movie: Stack, engines: dict[str, Engine], window: Engine | None) -> dict[str, float]:
    """Return the errors of predictions of the lines of one direction from those of the other."""
    movie = movie[:, : movie.shape[1] // 2 * 2]
    best = np.inf
    for blur in (0.5, 1.0, 1.5, 2.0):
        now = np.empty_like(movie)
        for k in (0, 1):  # a line is interpolated from lines of the other direction only
            other = gaussian_filter(movie[:, 1 - k :: 2], (0, blur / 2, blur))
            beside = np.concatenate([other[:, :1], other] if k == 0 else [other, other[:, -1:]], axis=1)
            now[:, k::2] = (beside[:, :-1] + beside[:, 1:]) / 2
        for gain in (0.03, 0.05, 0.1, 0.2, 0.4):
            averages, average = np.empty_like(movie), movie[:8].mean(axis=0)
            for t, frame in enumerate(movie):
                averages[t] = average
                average = average + np.float32(gain) * (frame - average)
            for average_blur in (0.0, 0.5, 1.0):
                before = gaussian_filter(averages[_FIRST:], (0, average_blur, average_blur))
                mixtures = (before + share * (now[_FIRST:] - before) for share in (0, 0.05, 0.1, 0.2, 0.4, 0.7))
                best = min([best, *(squared(mixture, movie[_FIRST:]) for mixture in mixtures)])
    found = {"best filter": best}
    for name, engine in engines.items():
        if engine.card.kind == "stream":
            errors = [
                (squared(from_even[1::2], frame[1::2]) + squared(from_odd[0::2], frame[0::2])) / 2
                for frame, (from_even, from_odd) in zip(movie, predict(engine, movie, ("even", "odd")), strict=True)
            ]
            found[name] = float(np.mean(errors[_FIRST:]))
    if window:
        halves = [denoise(window, movie[:, k::2]) for k in (0, 1)]
        found[window.card.name] = float(
            np.mean([squared(halves[k][_FIRST:], movie[_FIRST:, 1 - k :: 2]) for k in (0, 1)])
        )
    return found


def denoise(engine: Engine, movie: Stack) -> Stack:
    """Denoise (T, Y, X) counts of an ordinary scan frame by frame, as in live use."""
    return deepbid_rt.denoise(movie, engine, "ordinary")


def target(movie: Stack, engines: dict[str, Engine]) -> dict[str, float]:
    """Return the PSNR, dB, for 12 frames of a static target, averaged over starts at each of them."""
    noise = float(movie.var(axis=0, ddof=1).mean())
    orders = [np.roll(movie, -start, axis=0) for start in range(len(movie))]

    def psnr(images: list[Stack]) -> float:
        errors = [squared(i, o[8:].mean(axis=0)) - noise / (len(o) - 8) for i, o in zip(images, orders, strict=True)]
        return float(10 * np.log10(_FULL_SCALE**2 / np.mean(errors)))

    found = {"raw": psnr([o[7] for o in orders]), "mean of 8": psnr([o[:8].mean(axis=0) for o in orders])}
    return found | {name: psnr([denoise(e, o[:8])[7] for o in orders]) for name, e in engines.items()}


def stills(pairs: list[tuple[Stack, Stack]], engines: dict[str, Engine]) -> dict[str, float]:
    """Return the mean PSNR, dB, of single frames with a truth."""

    def psnr(image: Stack, truth: Stack) -> float:
        slope, offset = np.polyfit(image.ravel().astype(np.float64), truth.ravel(), 1)
        return float(10 * np.log10(255**2 / squared(slope * image + offset, truth)))

    def blurred(noisy: Stack, truth: Stack) -> float:
        return max(psnr(gaussian_filter(noisy, sigma), truth) for sigma in np.arange(0.5, 4.1, 0.25))

    found = {
        "raw": [psnr(noisy, truth) for noisy, truth in pairs],
        "best Gaussian": [blurred(noisy, truth) for noisy, truth in pairs],
        **{name: [psnr(denoise(e, noisy[None])[0], truth) for noisy, truth in pairs] for name, e in engines.items()},
    }
    return {name: float(np.mean(values)) for name, values in found.items()}


def dark(movie: Stack, engines: dict[str, Engine]) -> dict[str, dict[str, float]]:
    """Return the standard deviation of the output for a recording almost without light, relative to the raw one."""
    settled = min(len(movie) // 2, _FIRST)
    raw = movie[settled:]
    found = {}
    for name, engine in engines.items():
        denoised = denoise(engine, movie)[settled:]
        found[name] = {
            "in_time": float(denoised.std(axis=0).mean() / raw.std(axis=0).mean()),
            "in_space": float(denoised.mean(axis=0).std() / raw.mean(axis=0).std()),
            "mean": float(denoised.mean() - raw.mean()),
        }
    return found


def ultralow(path: Path) -> Stack:
    """Read the HDF5 recording."""
    import h5py  # not a dependency: only this file needs it

    with h5py.File(path) as file:
        return np.asarray(file["input_frames"], np.float32)


def main() -> None:
    """Evaluate the engines on all recordings in the folder and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--engines", default="default,average", help="separated by commas")
    parser.add_argument("--window", help="a window engine for the held lines")
    parser.add_argument("--frames", type=int, default=300)
    options = parser.parse_args()
    engines = {name: load_engine(name) for name in options.engines.split(",")}
    window = load_engine(options.window) if options.window else None
    result: dict[str, Any] = {}
    for name, file in (("fmi_gcamp", "fmi_frames_0001-0300.tif"), ("fissa_v1_A01", "AVG_A01.tif")):
        if (path := options.data / name / file).exists():
            movie = read(path, options.frames)
            result[name] = {"held_frame": held_frame(movie, engines), "held_lines": held_lines(movie, engines, window)}
            print(name, json.dumps(result[name]), file=sys.stderr)
    if (path := options.data / "si2023_2slice_2ch" / "scanimage_20220923_noroi.tif").exists():
        import tifffile

        pages = tifffile.imread(path).reshape(-1, 256, 256).astype(np.float32)
        result["target"] = target(pages[1::2], engines)
        result["dark_channel"] = dark(pages[0::2], engines)
    if found := sorted((options.data / "clean_pairs_stills").glob("noisy_*.tif")):
        both = [(path, path.with_name(path.name.replace("noisy", "clean"))) for path in found]
        result["stills"] = stills([(read(noisy, 1)[0], read(clean, 1)[0]) for noisy, clean in both], engines)
    if (path := options.data / "allen_ultralow" / "792757260_test_data.h5").exists():
        result["ultralow"] = dark(ultralow(path), engines)
    missing = {"fmi_gcamp", "fissa_v1_A01", "target", "stills", "ultralow"} - result.keys()
    print(json.dumps({"frames": options.frames, "missing": sorted(missing), **result}))


if __name__ == "__main__":
    main()
