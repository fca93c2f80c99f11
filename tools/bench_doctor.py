"""Count how often ``deepbid-rt doctor`` is right, on simulated movies with and without each fault, and on recordings.

    python tools/bench_doctor.py [--size 128] [--frames 64] [--seeds 2] [--photons 0.1 0.3 1 3 30] [--recordings ...]

Movies of all presets, with a motion of 0.5 and 2 px rms. Without a fault, each question is counted as fine, not known
or a false alarm. With a fault, its question is counted as found, not known or missed. Recordings: the answers. The last
line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.doctor.collect import from_recording
from deepbid_rt.doctor.examination import QUESTIONS, examine
from deepbid_rt.doctor.sample import Sample, Stamps
from deepbid_rt.errors import DeepbidError
from deepbid_rt.frame import Layout, ScanGeometry, StreamInfo
from deepbid_rt.movies.movie_source import MovieSource
from deepbid_rt.scan.missing_pixels import SENTINEL
from deepbid_rt.simulator.presets import PRESET_NAMES, PresetName, movie_preset
from deepbid_rt.simulator.synthetic import SyntheticSource

PHOTONS = (0.1, 0.3, 1.0, 3.0, 30.0)
MOTIONS_PX = (0.5, 2.0)
RATE_HZ = 30.0
OFFSET = 100.0
"""Counts of darkness in the presets."""
Movie = NDArray[Any]
MOVIES: dict[tuple[Any, ...], Movie] = {}
"""Movies of the present scene: many faults begin with the same one."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One simulated movie, before any fault."""

    preset: PresetName
    photons: float
    motion_px: float
    seed: int
    size: int
    frames: int

    def movie(self, layout: Layout = "ordinary", mirrored: bool = True, **microscope: Any) -> Movie:
        """Return (T, Y, X) uint16."""
        key = (self, layout, mirrored, *microscope.items())
        if key in MOVIES:
            return MOVIES[key].copy()
        scan = ScanGeometry(layout, mirrored=mirrored)
        scene, settings = movie_preset(
            self.preset, (self.size, self.size), self.seed, scan=scan, photons=self.photons, motion_px=self.motion_px
        )
        source = SyntheticSource(scene, replace(settings, **microscope))
        MOVIES[key] = np.stack([source.render(index)[0][0] for index in range(self.frames)])
        return MOVIES[key].copy()

    def rng(self) -> np.random.Generator:
        """Return random numbers of this scene."""
        return np.random.default_rng([self.seed, int(1000 * self.photons)])


def sample_of(
    movie: Movie, stated: ScanGeometry | None = None, stamps: Callable[[Stamps], Stamps] = lambda stamps: stamps
) -> Sample:
    """Return a sample of a movie (T, Y, X), as a live stream with regular stamps would give it."""
    count, lines, pixels = movie.shape
    info = StreamInfo((1, lines, pixels), movie.dtype, RATE_HZ, stated or ScanGeometry())
    sent = 10**18 + (np.arange(count) * (1e9 / RATE_HZ)).astype(np.int64)
    numbers = np.arange(count)
    regular = Stamps(numbers, sent, sent + 2_000_000, numbers / RATE_HZ, live=True)
    return Sample(info, movie[:, None], numbers, np.zeros(count, np.int64), stamps(regular))


def _flicker(scene: Scene) -> Sample:
    movie = scene.movie() - OFFSET
    light = 1 + 0.1 * scene.rng().standard_normal(len(movie))
    return sample_of(_counts(movie * light[:, None, None] + OFFSET))


def _stripes(scene: Scene) -> Sample:
    movie = scene.movie().astype(np.float64)
    noise = float(np.std(movie[1] - movie[0])) / np.sqrt(2)
    pixel = np.arange(movie.size).reshape(movie.shape)  # a disturbance of one frequency runs on through the frames
    return sample_of(_counts(movie + 0.5 * noise * np.sin(2 * np.pi * 0.3137 * pixel) + 1000))


def _saturated(scene: Scene) -> Sample:
    movie = scene.movie()
    return sample_of(np.minimum(movie, int(np.quantile(movie, 0.98))))


def _cut_off(scene: Scene) -> Sample:
    movie = scene.movie().astype(np.float64)
    return sample_of(_counts(movie - np.quantile(movie, 0.6)))


def _masked(scene: Scene) -> Sample:
    movie = scene.movie()
    y, x = np.indices(movie.shape[1:]) - (scene.size - 1) / 2
    movie[:, np.hypot(y, x) > scene.size / 2] = 0
    return sample_of(movie)


def _blanked(scene: Scene) -> Sample:
    movie = scene.movie()
    dark = scene.rng().normal(OFFSET, 15.0, (len(movie), scene.size, 6))
    movie[:, :, :6] = _counts(dark)
    return sample_of(movie)


def _averaged_lines(scene: Scene) -> Sample:
    movie = scene.movie().astype(np.float64)
    movie[:, 1:-1] = (movie[:, :-2] + 2 * movie[:, 1:-1] + movie[:, 2:]) / 4
    return sample_of(_counts(movie))


def _averaged_frames(scene: Scene) -> Sample:
    movie = scene.movie().astype(np.float64)
    return sample_of(_counts((movie[1:] + movie[:-1]) / 2))


def _interleaved(scene: Scene, period: int) -> Sample:
    parts = [replace(scene, seed=scene.seed + 100 * n).movie() for n in range(period)]
    mixed = np.stack([parts[t % period][t] for t in range(scene.frames)])
    return sample_of(mixed)


def _sentinel(scene: Scene) -> Sample:
    movie = np.minimum(scene.movie(), 32767).astype(np.int16)
    movie[:, -2:] = SENTINEL
    return sample_of(movie)


def _clock_apart(stamps: Stamps) -> Stamps:
    return replace(stamps, arrived_ns=stamps.arrived_ns - 10 * 10**9)


def _slower(stamps: Stamps) -> Stamps:
    return replace(stamps, acquired_s=1.2 * stamps.acquired_s)


FAULTS: dict[str, tuple[str, Callable[[Scene], Sample]]] = {
    "backward lines in sampling order": ("mirrored", lambda s: sample_of(s.movie(mirrored=False))),
    "mirrored stated as unmirrored": ("mirrored", lambda s: sample_of(s.movie(), ScanGeometry(mirrored=False))),
    "collinear stated as ordinary": ("layout", lambda s: sample_of(s.movie("collinear"))),
    "ordinary stated as collinear": ("layout", lambda s: sample_of(s.movie(), ScanGeometry("collinear"))),
    "line phase 1.5 px": ("line phase", lambda s: sample_of(s.movie(line_phase_px=1.5))),
    "transposed, noise correlated by 0.3": (
        "axes",
        lambda s: sample_of(s.movie(x_correlation=0.3).transpose(0, 2, 1)),
    ),
    "transposed, line phase 1.5 px": ("axes", lambda s: sample_of(s.movie(line_phase_px=1.5).transpose(0, 2, 1))),
    "transposed, in sampling order": ("axes", lambda s: sample_of(s.movie(mirrored=False).transpose(0, 2, 1))),
    "transposed, collinear": ("axes", lambda s: sample_of(s.movie("collinear").transpose(0, 2, 1))),
    "two channels as time": ("interleaved", lambda s: _interleaved(s, 2)),
    "five planes as time": ("interleaved", lambda s: _interleaved(s, 5)),
    "2 % of the pixels saturated": ("saturated", _saturated),
    "60 % of the pixels cut off": ("offset", _cut_off),
    "inverted counts": ("inverted", lambda s: sample_of(np.uint16(65535) - s.movie())),
    "two lines not scanned": ("sentinel", _sentinel),
    "lowest 4 bits empty": ("bit depth", lambda s: sample_of(s.movie() // 16 * 16)),
    "lines smoothed": ("noise", _averaged_lines),
    "frames averaged": ("noise", _averaged_frames),
    "clock 10 s ahead": ("clock", lambda s: sample_of(s.movie(), stamps=_clock_apart)),
    "rate 20 % too high": ("rate", lambda s: sample_of(s.movie(), stamps=_slower)),
    "round field": ("masked", _masked),
    "6 columns blanked": ("edges", _blanked),
    "interference, 0.5 of the noise": ("stripes", _stripes),
    "flicker of 10 %": ("flicker", _flicker),
}


def _counts(movie: NDArray[np.float64]) -> Movie:
    return np.clip(np.rint(movie), 0, 65535).astype(np.uint16)


def scenes(options: argparse.Namespace, photons: float) -> Iterator[Scene]:
    """Yield all scenes of one number of photons."""
    for preset in PRESET_NAMES:
        for motion_px in MOTIONS_PX:
            for seed in range(1, options.seeds + 1):
                MOVIES.clear()
                yield Scene(preset, photons, motion_px, seed, options.size, options.frames)


def simulated(options: argparse.Namespace) -> dict[str, Any]:
    """Return all counts over simulated movies, and the error of the photons per pixel."""
    clean: dict[str, dict[str, Counter[str]]] = {question: {} for question in QUESTIONS}
    faults: dict[str, dict[str, Counter[str]]] = {name: {} for name in FAULTS}
    photons_found: dict[str, list[float]] = {}
    seconds = []
    for photons in options.photons:
        key = f"{photons:g}"
        for scene in scenes(options, photons):
            for layout in ("ordinary", "collinear"):
                sample = sample_of(scene.movie(layout), ScanGeometry(layout))
                begun = time.perf_counter()
                examination = examine(sample)
                seconds.append(time.perf_counter() - begun)
                for finding in examination.findings:
                    clean[finding.question].setdefault(key, Counter())[finding.level] += 1
                    if finding.question == "photons" and finding.level != "not known":
                        photons_found.setdefault(key, []).append(finding.figures["photons_per_pixel"])
                    if options.verbose and finding.level in ("attention", "note"):
                        print(f"false alarm: {scene} {layout}: {finding.question}: {finding.answer}", flush=True)
            for name, (question, make) in FAULTS.items():
                if options.faults and not any(part in name for part in options.faults):
                    continue
                (finding,) = examine(make(scene), questions=(question,)).findings
                level = finding.level
                faults[name].setdefault(key, Counter())[level] += 1
                if options.verbose and level == "ok":
                    print(f"missed: {scene}: {name}", flush=True)
    return {
        "clean": {question: {key: _clean(count) for key, count in rows.items()} for question, rows in clean.items()},
        "faults": {name: {key: _fault(count) for key, count in rows.items()} for name, rows in faults.items() if rows},
        "photons_per_pixel_found": {key: round(float(np.median(found)), 3) for key, found in photons_found.items()},
        "examination_s": round(float(np.median(seconds)), 3),
    }


def _clean(count: Counter[str]) -> dict[str, int]:
    return {"ok": count["ok"], "not_known": count["not known"], "false_alarms": count["attention"] + count["note"]}


def _fault(count: Counter[str]) -> dict[str, int]:
    return {"found": count["attention"] + count["note"], "not_known": count["not known"], "missed": count["ok"]}


def recordings(paths: list[Path]) -> dict[str, Any]:
    """Return what is found in recordings."""
    found: dict[str, Any] = {}
    for path in paths:
        try:
            with closing(MovieSource(path, scan=ScanGeometry())) as source:
                source.open()
                examination = examine(from_recording(source))
        except DeepbidError as error:
            found[path.name] = {"error": str(error)}
            continue
        found[path.name] = {
            finding.question: {"level": finding.level, "answer": finding.answer, **finding.summary()["figures"]}
            for finding in examination.findings
        }
    return found


def main() -> None:
    """Measure, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="lines and pixels")
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--photons", type=float, nargs="+", default=PHOTONS, help="mean photons per pixel of a line")
    parser.add_argument("--faults", nargs="*", help="only faults whose names contain one of these")
    parser.add_argument("--recordings", type=Path, nargs="*", default=[], metavar="PATH")
    parser.add_argument("--verbose", action="store_true", help="print each false alarm and each fault missed")
    options = parser.parse_args()
    result = {**vars(options), **simulated(options), "recordings": recordings(options.recordings)}
    print(json.dumps(result, default=str))


if __name__ == "__main__":
    main()
