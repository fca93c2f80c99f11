"""Digests of what is computed, to show that a change of the code changes no output.

    python tools/output_digests.py --out before.json         # before the change
    python tools/output_digests.py --against before.json     # after it, on the same machine

Fixed simulated movies go through ``deepbid-rt denoise`` with every engine, scan and merge; a short training, its
export and an evaluation run as well. Every output is reduced to the SHA-256 of its pixels or numbers. Digests are
comparable on one machine only: processors round differently. Only commands are used, so that the tool works across
changes of the package's modules. The last line of stdout is one JSON object; exit code 1 means that a digest differs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tifffile
import torch

from deepbid_rt.cli import app

ENGINES = ("echo", "average", "light", "default", "best", "window")
STREAM_ENGINES = ("average", "light", "default", "best")
MERGE_MODES = ("mean", "forward", "backward", "interleave")
FRAMES = 44
"""More than the window engine's window and the frames that calibrate a stream engine."""


def run(*arguments: object) -> str:
    """Run one command of the package in this process; return what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        app([str(argument) for argument in arguments], standalone_mode=False)
    return printed.getvalue()


def digest_of(path: Path) -> str:
    """Return the SHA-256 of the pixels of a TIFF file, its shape and type included."""
    pixels = tifffile.imread(path)
    return hashlib.sha256(repr((pixels.shape, pixels.dtype.str)).encode() + pixels.tobytes()).hexdigest()


def make_movies(folder: Path, size: int, frames: int) -> dict[str, tuple[Path, tuple[object, ...]]]:
    """Write the input movies; return the path of each and the options that describe its scan."""
    scans: dict[str, tuple[object, ...]] = {
        "ordinary": (),
        "ordinary-backward-first": ("--first", "backward"),
        "ordinary-unidirectional": ("--unidirectional",),
        "collinear": ("--scan", "collinear"),
        "collinear-unmirrored": ("--scan", "collinear", "--unmirrored", "--first", "backward"),
    }
    movies = {}
    for name, options in scans.items():
        scan = options or ("--scan", "ordinary")
        scan = scan if "--scan" in scan else ("--scan", "ordinary", *scan)
        out = folder / name
        run("synth", "--out", out, "--frames", frames, "--size", size, "--seed", 5, "--motion", 1.5, *scan)
        movies[name] = out / "raw.tif", scan
    phase = folder / "phase"
    run("synth", "--out", phase, "--frames", frames, "--size", size, "--line-phase", 1.4, "--scan", "ordinary")
    movies["line-phase"] = phase / "raw.tif", ("--scan", "ordinary", "--line-phase", "1.4")
    pixels = tifffile.imread(movies["collinear"][0])
    odd = folder / "odd.tif"
    tifffile.imwrite(odd, pixels[:, :-3, :-5], photometric="minisblack")
    movies["collinear-odd-size"] = odd, ("--scan", "collinear")
    floats = folder / "float.tif"
    tifffile.imwrite(floats, pixels.astype(np.float32) / 3, photometric="minisblack")
    movies["collinear-float"] = floats, ("--scan", "collinear")
    interleaved = folder / "interleaved.tif"
    tifffile.imwrite(interleaved, np.concatenate([pixels, pixels[::-1] // 2]), photometric="minisblack")
    movies["two-channels-two-planes"] = interleaved, ("--scan", "collinear", "--channels", 2, "--planes", 2)
    return movies


def cases(
    movies: dict[str, tuple[Path, tuple[object, ...]]], engines: Sequence[str]
) -> Iterator[tuple[str, Path, tuple[object, ...]]]:
    """Yield a name, a movie and the options of each run of ``denoise``."""
    for (name, (path, scan)), engine in itertools.product(movies.items(), engines):
        merges = MERGE_MODES if name in ("collinear", "collinear-odd-size") else ("mean",)
        for merge in merges:
            yield f"{engine} {name} {merge}", path, (*scan, "--engine", engine, "--merge", merge)
    for engine in set(STREAM_ENGINES) & set(engines):
        for name in ("ordinary", "collinear"):
            path, scan = movies[name]
            yield f"{engine} {name} stabilized", path, (*scan, "--engine", engine, "--stabilize")
    path, scan = movies["collinear"]
    for engine in {"default", "window"} & set(engines):
        yield f"{engine} collinear f32", path, (*scan, "--engine", engine, "--precision", "f32")
    if "default" in engines:
        yield "default collinear torch", path, (*scan, "--engine", "default", "--runtime", "torch")


def trained(folder: Path, steps: int) -> Iterator[tuple[str, str]]:
    """Train and export both kinds of network for a few steps; yield the digests of their weights and answers."""
    run("synth", "--out", folder / "training", "--frames", 72, "--size", 192, "--seed", 6)
    movie = folder / "training" / "raw.tif"
    for name, options in {
        "stream": ("--preset", "fast"),
        "window": ("--preset", "window", "--mode", "mp-collinear"),
    }.items():
        out = folder / f"run-{name}"
        run("train", movie, "--out", out, "--scan", "collinear", "--steps", steps, "--minutes", 0, *options)
        found = torch.load(out / "best.pt", weights_only=True)
        digest = hashlib.sha256()
        for key, tensor in sorted(found["average"].items()):
            digest.update(key.encode() + tensor.numpy().tobytes())
        yield f"train {name}", digest.hexdigest()
        engine = folder / f"{name}.onnx"
        run("export", out, "-o", engine)
        denoised = folder / f"{name}-trained.tif"
        run("denoise", movie, denoised, "--scan", "collinear", "--engine", engine)
        yield f"train {name} exported", digest_of(denoised)


def digests(settings: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Compute all digests."""
    movies = make_movies(folder, settings.size, settings.frames)
    found = {f"synth {name}": digest_of(path) for name, (path, _) in movies.items()}
    for number, (name, path, options) in enumerate(cases(movies, settings.engines)):
        out = folder / f"{number}.tif"
        run("denoise", path, out, *options)
        found[name] = digest_of(out)
        print(name, file=sys.stderr)
        if name == "default collinear mean":
            truth = path.with_name("truth.tif")
            scores = run("evaluate", out, "--truth", truth, "--raw", path, "--json")
            found["evaluate"] = hashlib.sha256(scores.strip().splitlines()[-1].encode()).hexdigest()
    for name, digest in trained(folder, settings.steps) if settings.steps else ():
        found[name] = digest
        print(name, file=sys.stderr)
    return found


def main() -> None:
    """Write or compare digests; see the module's text."""
    parser = argparse.ArgumentParser(description="Digests of all outputs, written or compared.")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--against", type=Path, help="JSON file of an earlier run on this machine")
    parser.add_argument("--size", type=int, default=128, help="lines and pixels of the movies")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--steps", type=int, default=4, help="training steps; 0 trains nothing")
    parser.add_argument("--engines", nargs="+", default=ENGINES, help="engines to run")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = digests(settings, Path(folder))
    if settings.out:
        settings.out.write_text(json.dumps(found, indent=1) + "\n")
    before = json.loads(settings.against.read_text()) if settings.against else {}
    differ = sorted(name for name in before if before[name] != found.get(name))
    for name in differ:
        print(f"differs: {name}", file=sys.stderr)
    print(json.dumps({"outputs": len(found), "compared": len(before), "differ": differ}))
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
