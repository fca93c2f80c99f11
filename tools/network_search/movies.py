"""Movies as networks meet them, walked through as live use does. Knows nothing of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from train_engine import draw_movie

from deepbid_rt.denoising.network_inputs import Rows, network_inputs
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.motion.frame_context import FrameContextBuilder
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.scan.directions import split_scan
from deepbid_rt.simulator.presets import NAMES, preset
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import open_recording

Image = NDArray[np.float32]
KINDS = ("still", "1 px", "3 px", "calcium-vibrating", "vessels-flow", "heart-beating")
"""Simulated movies that networks are judged on: brain that moves so far, or a preset."""
RECORDINGS = {"fmi_gcamp": "fmi_frames_0001-0300.tif", "fissa_v1_A01": "AVG_A01.tif"}
"""Real ones, ordinary scans: folder and file."""


@dataclass(frozen=True)
class Diet:
    """What a network is given beside the current view and its mask."""

    gains: tuple[float, ...] = (0.4, 0.15, 0.03)
    """Of the memories."""
    later_frames: int = 0
    """Frames that come after the current one, in its place."""
    contrast: bool = False
    """A number that says how much of what is remembered is not noise."""
    history: bool = True
    """False: nothing is remembered."""

    @property
    def depth(self) -> int:
        """Arrays given (K)."""
        return 3 + len(self.gains) + self.later_frames + self.contrast


@dataclass(frozen=True)
class Seen:
    """A movie with its past, in units of noise."""

    views: NDArray[np.float16]
    """(T, V, Y, X)"""
    averages: NDArray[np.float16]
    """(T, M + 1, Y, X)"""
    later_frames: NDArray[np.float16]
    """(T, A, Y, X): the next frames in the place of this one, NaN where they do not show it"""
    scale: float
    """Counts per unit of noise."""

    def inputs(self, t: int, view: Image, diet: Diet, rows: Rows = "all", place: Any = np.s_[:, :]) -> Image:
        """Return (K, Y, X) for one view of a frame, cut out at `place`."""
        history = self.averages[t].astype(np.float32)
        known = history[-1] > 0
        contrast = np.log1p(history[-2][known].std()) if known.any() else 0.0
        history = history[:, *place] * np.float32(diet.history)
        given = network_inputs(view[place], history, rows, self.later_frames[t][:, *place].astype(np.float32))
        number = np.full((int(diet.contrast), *given.shape[1:]), contrast, np.float32)
        return np.concatenate([given, number])


def see(counts: NDArray[Any], scan: ScanGeometry, diet: Diet) -> Seen:
    """Walk through a movie (T, 1, Y, X)."""
    recipe = Recipe.from_dict({"mode": "stream", "patch": [1, 32, 32], "memories": list(diet.gains)})
    [normalizer] = open_recording(ArrayMovie(counts), scan, recipe).normalizers
    views = np.stack(split_scan(normalizer.apply(counts[:, 0]), scan), axis=1)
    context = FrameContextBuilder(diet.gains, diet.later_frames, 1, views.shape[2:])
    known = [one for t, frame in enumerate(views) for one in context.push(t, frame[None])] + context.flush()
    averages, later_frames = (
        np.stack([one[0] for one in arrays]).astype(np.float16)
        for arrays in ([one.averages for one in known], [one.later_frames for one in known])
    )
    return Seen(views.astype(np.float16), averages, later_frames, float(normalizer.scale))


def to_learn_from(count: int, size: int, frames: int, folder: Path) -> list[NDArray[Any]]:
    """Return collinear movies (T, 1, 2N, N) of training's own draw; kept in a folder, as drawing them takes long."""
    movies = []
    for number in [n for n in range(2 * count) if n % 4][:count]:  # the others are ordinary scans
        file = folder / f"{number}-{size}-{frames}.npy"
        if not file.exists():
            movie = draw_movie(number, size, frames)[0]
            folder.mkdir(parents=True, exist_ok=True)
            np.save(file, movie.read(0, frames, 0, 0, 2 * size, 0, size)[:, None])
        movies.append(np.load(file))
    return movies


def to_judge_by(kind: str, seed: int, size: int, frames: int) -> tuple[NDArray[Any], Image]:
    """Simulate counts (T, 1, 2N, N) and truth (T, N, N) that nothing was trained on."""
    if kind in NAMES:
        scene, scan = preset(kind, (size, size), seed)
    else:
        scan = ScanSettings(size=(size, size), photons=0.4, seed=seed)
        scene = SceneSettings(seed=seed, motion_px=0.0 if kind == "still" else float(kind[0]))
    source = SyntheticSource(scene, scan, frames)
    counts, truth = zip(*(source.render(t) for t in range(frames)), strict=True)
    return np.stack(counts), np.stack(truth)[:, 0].astype(np.float32)


def recordings(folder: Path | None, frames: int) -> dict[str, NDArray[Any]]:
    """Read the real recordings that are there, (T, 1, Y, X)."""
    found = {}
    for name, file in RECORDINGS.items() if folder else ():
        if (path := cast("Path", folder) / name / file).exists():
            movie = TiffMovie(path)
            found[name] = np.stack([movie.frame(t)[:1] for t in range(min(frames, movie.shape[0]))])
            found[name] = found[name][:, :, : found[name].shape[2] // 2 * 2]
            movie.close()
    return found


def walked(movies: Sequence[NDArray[Any]], diet: Diet) -> list[Seen]:
    """Walk through collinear movies."""
    return [see(counts, ScanGeometry("collinear"), diet) for counts in movies]
