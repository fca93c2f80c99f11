"""A recording to train on: a movie, its scan, its split into pairs, and the frames kept for validation."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StageError, StreamError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.scan.directions import split_scan, to_image_order
from deepbid_rt.scan.line_phase_corrector import LinePhasePolicy
from deepbid_rt.scan.normalizer import Normalizer
from deepbid_rt.train.check_recording import check_recording
from deepbid_rt.train.filled_movie import filled
from deepbid_rt.train.line_phase_corrected_movie import LinePhaseCorrectedMovie, line_offset_of
from deepbid_rt.train.movie import BlockReader, PlaneMovie
from deepbid_rt.train.pairs import Split, block_size
from deepbid_rt.train.recipe import Recipe, TrainingMode

log = logging.getLogger(__name__)

VOLUME_MODES: tuple[TrainingMode, ...] = ("tis", "sis")
"""Modes for volumes: the network's T axis holds the slices of a volume instead of the frames of a plane."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A movie with all that is needed to make training pairs from it; returned by `open_recording`."""

    movie: BlockReader
    scan: ScanGeometry
    split: Split
    normalizers: tuple[Normalizer, ...]
    """One per channel, measured on the recording's first frames."""
    training_frames: int
    """Number of frames at the start that are trained on; the others are for validation."""
    slices: int = 1
    """Slices of a volume, for the splits ``tis`` and ``sis``; the frames of the movie are the slices of all volumes."""
    aligned_px: float = 0.0
    """Pixels by which backward lines are moved to the left when `movie` is read."""

    @property
    def description(self) -> str:
        """Shape, pixel type and layout, for the card, the log, and the comparison when a run is continued."""
        shape = "x".join(map(str, self.movie.shape))
        lines = "unidirectional" if not self.scan.bidirectional else "mirrored" if self.scan.mirrored else "as sampled"
        volumes = f" of {self.slices} slices" if self.slices > 1 else ""
        moved = f", backward lines moved by {-self.aligned_px:+.2f} px" if self.aligned_px else ""
        return f"{shape} {self.movie.dtype.str} {self.scan.layout} {lines} {self.split}{volumes}{moved}"

    def read_views(self, t0: int, t1: int) -> NDArray[np.float32]:
        """Read frames ``t0`` to ``t1 - 1`` in network units and image order.

        Returns
        -------
        ndarray
            (T, C, V, Y, X). V is 2 for collinear scans, forward and backward; a last line without a partner is left
            out. V is 1 for ordinary scans, whose view has the lines of both directions.

        Raises
        ------
        StageError
            When pixels are not finite.
        """
        _, channels, lines, columns = self.movie.shape
        counts = np.stack([self.movie.read(t0, t1, c, 0, lines, 0, columns) for c in range(channels)], axis=1)
        if not np.isfinite(counts).all():
            raise StageError(
                f"a recording with pixels that are not finite in frames {t0} to {t1 - 1}",
                expected="finite counts",
                todo="replace NaN and infinity before training",
            )
        units = np.stack([n.apply(counts[:, c]) for c, n in enumerate(self.normalizers)], axis=1)
        if self.scan.layout == "ordinary":
            return to_image_order(units, self.scan)[:, :, None]
        return np.stack(split_scan(units[..., : lines // 2 * 2, :], self.scan), axis=2)


def open_recordings(
    movie: BlockReader,
    scan: ScanGeometry,
    recipe: Recipe,
    planes: int = 1,
    line_phase: LinePhasePolicy = "auto",
) -> list[Recording]:
    """Return the recordings in a movie of interleaved planes, see `open_recording`.

    Each plane becomes a recording with its own offset and noise, as in the live path. For modes ``tis`` and ``sis`` the
    planes are the slices of a volume and stay together. The line phase is measured once for all planes.
    """
    if recipe.mode in VOLUME_MODES or planes == 1:
        recordings = [open_recording(movie, scan, recipe, planes)]
    else:
        recordings = [open_recording(PlaneMovie(movie, plane, planes), scan, recipe) for plane in range(planes)]
    line_offset = line_offset_of(movie, scan, line_phase)
    if line_offset is None:
        return recordings
    log.warning(
        "the backward lines of a recording of %d frames are moved by %+.2f px along x for training; to turn this off, "
        "use --line-phase off",
        movie.shape[0],
        -line_offset.px,
    )
    return [
        replace(each, movie=LinePhaseCorrectedMovie(each.movie, scan, line_offset), aligned_px=line_offset.px)
        for each in recordings
    ]


def open_recording(movie: BlockReader, scan: ScanGeometry, recipe: Recipe, slices: int = 1) -> Recording:
    """Check that a recording fits the recipe and can be trained on, and measure its offset and noise.

    Parameters
    ----------
    movie : BlockReader
    scan : ScanGeometry
    recipe : Recipe
    slices : int
        Slices of a volume, for modes ``tis`` and ``sis``; frames of an incomplete last volume are left out.

    Raises
    ------
    StreamError
        When the scan does not fit the recipe's mode, the recording is too small or too short for the patch, or its
        pixels cannot be trained on, see `deepbid_rt.train.check_recording.check_recording`.
    FileError
        When a frame cannot be read.
    """
    movie = filled(movie)
    split = _split_of(recipe.mode, scan)
    if recipe.gap_weight and split == "mp-collinear":
        raise StreamError(
            "a collinear recording for a recipe with gap_weight",
            expected="an ordinary scan, whose lines show different places",
            todo="set gap_weight = 0, or state the right scan with --scan",
        )
    frames, _, lines, pixels = movie.shape
    t, y, x = _min_size(split, recipe)
    if recipe.mode in VOLUME_MODES:
        held_out = _held_out_volumes(frames // slices, slices, recipe) * slices
        frames = frames // slices * slices
    else:
        held_out = max(math.ceil(frames * recipe.held_out), t)
    if frames - held_out < t or lines < y or pixels < x:
        raise StreamError(
            f"a recording of {frames} frames of {lines} x {pixels} pixels",
            expected=f"at least {2 * t} frames of {y} x {x} for the recipe's patch and a held-out part as long",
            todo="choose a smaller patch or a larger recording",
        )
    normalizers = check_recording(movie, min(recipe.calibration_frames, frames - held_out))
    return Recording(movie, scan, split, normalizers, frames - held_out, slices)


def _held_out_volumes(volumes: int, slices: int, recipe: Recipe) -> int:
    """Return how many volumes at the end are for validation; refuse too few volumes and too few slices."""
    depth, minimum = (recipe.patch[0], 2) if recipe.mode == "tis" else (2 * recipe.patch[0], 1)
    held_out = max(math.ceil(volumes * recipe.held_out), minimum)
    if slices < depth or volumes - held_out < minimum:
        raise StreamError(
            f"a recording of {volumes} volumes of {slices} slices",
            expected=f"at least {2 * minimum} volumes of {depth} slices for mode {recipe.mode} and the recipe's patch",
            todo="state the number of slices of a volume with --planes, or choose a patch of fewer frames",
        )
    return held_out


def _min_size(split: Split, recipe: Recipe) -> tuple[int, int, int]:
    """Return the (T, Y, X) of raw pixels that one pair is made of."""
    if recipe.mode == "stream" and split == "mp-rows":
        return recipe.patch  # the patch has the lines of both directions
    return block_size(split, recipe.patch)


def _split_of(mode: TrainingMode, scan: ScanGeometry) -> Split:
    if mode in ("mp", "stream"):
        return "mp-collinear" if scan.layout == "collinear" else "mp-rows"
    if (mode == "mp-collinear") != (scan.layout == "collinear"):
        raise StreamError(
            f"a recording with {scan.layout} lines for mode {mode}",
            expected="collinear lines for mp-collinear and ordinary ones for the other modes",
            todo="use mode mp, or state the right scan with --scan",
        )
    return cast("Split", mode)
