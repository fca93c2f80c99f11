"""Simulated movies for the questions, each drawn once."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.doctor.sample import Sample, Stamps
from deepbid_rt.frame import Layout, ScanGeometry, StreamInfo
from deepbid_rt.simulator.presets import PresetName, movie_preset
from deepbid_rt.simulator.synthetic import SyntheticSource

DARK = 100.0
"""Counts without light of every movie here."""


@functools.lru_cache(maxsize=64)
def movie(
    layout: Layout = "ordinary",
    *,
    mirrored: bool = True,
    photons: float = 3.0,
    preset: PresetName = "calcium-vibrating",
    motion_px: float = 1.0,
    frames: int = 40,
    size: int = 96,
    seed: int = 1,
    line_phase_px: float = 0.0,
    x_correlation: float = 0.0,
) -> NDArray[np.uint16]:
    """Return (T, Y, X) counts; not to be changed."""
    scan = ScanGeometry(layout, mirrored=mirrored)
    scene, microscope = movie_preset(preset, (size, size), seed, scan=scan, photons=photons, motion_px=motion_px)
    microscope = dataclasses.replace(microscope, line_phase_px=line_phase_px, x_correlation=x_correlation)
    source = SyntheticSource(scene, microscope)
    drawn = np.stack([source.render(index)[0][0] for index in range(frames)]).astype(np.uint16)
    drawn.flags.writeable = False
    return drawn


def info_of(frames: NDArray[Any], scan: ScanGeometry | None = None) -> StreamInfo:
    """Return the description of a movie (T, Y, X) of one channel and plane."""
    return StreamInfo((1, *frames.shape[1:]), frames.dtype, 30.0, scan or ScanGeometry())


def sample_of(frames: NDArray[Any], scan: ScanGeometry | None = None, **stamps: Any) -> Sample:
    """Return a sample of a movie (T, Y, X), stamped as by a live stream at 30 Hz."""
    numbers = np.arange(len(frames))
    sent = 10**18 + numbers * 33_333_333
    regular = Stamps(numbers, sent, sent + 1_000_000, numbers / 30.0, live=True)
    return Sample(
        info_of(frames, scan),
        frames[:, None],
        numbers,
        np.zeros(len(frames), np.int64),
        dataclasses.replace(regular, **stamps),
    )
