"""Movies with the temporal averages of their frames, computed as in the live path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from train_engine import simulate_movie

from deepbid_rt.denoising.network_inputs import VisibleLines, network_inputs
from deepbid_rt.frame import Image, ScanGeometry
from deepbid_rt.motion.frame_context import FrameContextBuilder
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.scan.directions import split_scan
from deepbid_rt.simulator.presets import PRESET_NAMES, movie_preset
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import open_recording

KINDS = ("still", "1 px", "3 px", "calcium-vibrating", "vessels-flow", "heart-beating")
"""Simulated movies that networks are scored on: brain with motion of this size, or a preset."""
RECORDINGS = {"fmi_gcamp": "fmi_frames_0001-0300.tif", "fissa_v1_A01": "AVG_A01.tif"}
"""Real recordings, which are ordinary scans: folder and file."""


@dataclass(frozen=True)
class InputSettings:
    """The inputs of a network besides the current view and its mask."""

    gains: tuple[float, ...] = (0.4, 0.15, 0.03)
    """Weight of the newest frame in each temporal average."""
    later_frames: int = 0
    """Number of later frames, aligned to the current one."""
    contrast: bool = False
    """Add an image with one number: the contrast of the slowest average."""
    history: bool = True
    """False: all temporal averages are zero."""

    @property
    def depth(self) -> int:
        """Number of input arrays (K)."""
        return 3 + len(self.gains) + self.later_frames + self.contrast


@dataclass(frozen=True)
class PreparedMovie:
    """A movie with its temporal averages, in units of the noise."""

    views: NDArray[np.float16]
    """(T, V, Y, X)"""
    averages: NDArray[np.float16]
    """(T, M + 1, Y, X)"""
    later_frames: NDArray[np.float16]
    """(T, A, Y, X): the next frames, aligned to this one; NaN outside them"""
    scale: float
    """Counts per unit of noise."""

    def inputs(
        self, t: int, view: Image, settings: InputSettings, rows: VisibleLines = "all", place: Any = np.s_[:, :]
    ) -> Image:
        """Return the inputs (K, Y, X) for one view of a frame, cropped to `place`."""
        averages = self.averages[t].astype(np.float32)
        covered = averages[-1] > 0
        contrast = np.log1p(averages[-2][covered].std()) if covered.any() else 0.0
        averages = averages[:, *place] * np.float32(settings.history)
        inputs = network_inputs(view[place], averages, rows, self.later_frames[t][:, *place].astype(np.float32))
        number = np.full((int(settings.contrast), *inputs.shape[1:]), contrast, np.float32)
        return np.concatenate([inputs, number])


def prepare_movie(counts: NDArray[Any], scan: ScanGeometry, settings: InputSettings) -> PreparedMovie:
    """Compute the temporal averages of a movie (T, 1, Y, X)."""
    recipe = Recipe.from_dict({"mode": "stream", "patch": [1, 32, 32], "memories": list(settings.gains)})
    [normalizer] = open_recording(ArrayMovie(counts), scan, recipe).normalizers
    views = np.stack(split_scan(normalizer.apply(counts[:, 0]), scan), axis=1)
    builder = FrameContextBuilder(settings.gains, settings.later_frames, 1, views.shape[2:])
    contexts = [context for t, frame in enumerate(views) for context in builder.push(t, frame[None])]
    contexts += builder.flush()
    averages, later_frames = (
        np.stack([one[0] for one in arrays]).astype(np.float16)
        for arrays in ([each.averages for each in contexts], [each.later_frames for each in contexts])
    )
    return PreparedMovie(views.astype(np.float16), averages, later_frames, float(normalizer.scale))


def training_movies(count: int, size: int, frames: int, folder: Path) -> list[NDArray[Any]]:
    """Return collinear movies (T, 1, 2N, N), simulated as for training engines and cached in a folder."""
    movies = []
    for number in [n for n in range(2 * count) if n % 4][:count]:  # the others are ordinary scans
        file = folder / f"{number}-{size}-{frames}.npy"
        if not file.exists():
            movie = simulate_movie(number, size, frames)[0]
            folder.mkdir(parents=True, exist_ok=True)
            np.save(file, movie.read(0, frames, 0, 0, 2 * size, 0, size)[:, None])
        movies.append(np.load(file))
    return movies


def evaluation_movie(kind: str, seed: int, size: int, frames: int) -> tuple[NDArray[Any], Image]:
    """Simulate counts (T, 1, 2N, N) and truth (T, N, N) that no network was trained on."""
    if kind in PRESET_NAMES:
        scene, scan = movie_preset(kind, (size, size), seed)
    else:
        scan = ScanSettings(size=(size, size), photons=0.4, seed=seed)
        scene = SceneSettings(seed=seed, motion_px=0.0 if kind == "still" else float(kind[0]))
    source = SyntheticSource(scene, scan, frames)
    counts, truth = zip(*(source.render(t) for t in range(frames)), strict=True)
    return np.stack(counts), np.stack(truth)[:, 0].astype(np.float32)


def read_recordings(folder: Path | None, frames: int) -> dict[str, NDArray[Any]]:
    """Read the real recordings that are in a folder, (T, 1, Y, X)."""
    recordings = {}
    for name, file in RECORDINGS.items() if folder else ():
        if (path := cast("Path", folder) / name / file).exists():
            movie = TiffMovie(path)
            recordings[name] = np.stack([movie.frame(t)[:1] for t in range(min(frames, movie.shape[0]))])
            recordings[name] = recordings[name][:, :, : recordings[name].shape[2] // 2 * 2]
            movie.close()
    return recordings


def prepare_collinear_movies(movies: Sequence[NDArray[Any]], settings: InputSettings) -> list[PreparedMovie]:
    """Compute the temporal averages of collinear movies."""
    return [prepare_movie(counts, ScanGeometry("collinear"), settings) for counts in movies]
