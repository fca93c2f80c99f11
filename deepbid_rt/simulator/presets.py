"""Named simulated movies: tissue and microscope of the experiments in the papers, with the same noise level."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings

PresetName = Literal["calcium-vibrating", "vessels-flow", "heart-beating"]
PRESET_NAMES: tuple[PresetName, ...] = get_args(PresetName)
RAW_CORRELATION = 0.44
"""Correlation of the raw movie with the truth over x, y and t that a preset aims at; 0.43 in the DeepBID paper."""
LINE_US = 64.0
"""Duration of a line of an 8 kHz resonant scanner, microseconds."""
RATE_HZ = 30.0
"""Frames per second, at most; large frames take longer."""
_PIXELS = {8: ("|u1", 8.0), 12: ("<u2", 100.0), 16: ("<u2", 100.0)}
"""Pixel type and counts per photon for each number of bits."""
_SAMPLES, _SPAN_S = 16, 10.0
"""Number of frames, and the seconds they span, from which the required light is computed."""


def movie_preset(
    name: PresetName,
    size: tuple[int, int] = (256, 256),
    seed: int = 0,
    *,
    scan: ScanGeometry | None = None,
    bits: int = 16,
    correlation: float = RAW_CORRELATION,
    photons: float | None = None,
    motion_px: float | None = None,
    fill: float = 0.0,
) -> tuple[SceneSettings, ScanSettings]:
    """Return the settings of a named movie.

    Parameters
    ----------
    name : {"calcium-vibrating", "vessels-flow", "heart-beating"}
        Neurons with calcium transients in vibrating tissue; vessels with bright plasma and red blood cells of up to
        30 mm/s; a chamber of a heart that beats 2 to 8 times per second.
    size : (int, int)
        Lines and pixels of the field of view, of 1 um each.
    seed : int
        Draws tissue, activity, motion and noise.
    scan : ScanGeometry, optional
        Scan layout; collinear by default.
    bits : {8, 12, 16}
        Bits of the digitiser.
    correlation : float
        Correlation of the raw movie with the truth; for a collinear scan, of the mean of both views. Ignored when
        ``photons`` is given.
    photons : float, optional
        Mean photons per pixel of one line.
    motion_px : float, optional
        Root mean square displacement of the whole tissue along each axis, pixels; that of the preset by default.
    fill : float
        Share of the swing of a resonant mirror in which it samples, see `ScanSettings`.

    Raises
    ------
    StreamError
        When there is no preset of that name, or a value is out of range.
    """
    if name not in _SCENES or bits not in _PIXELS or not 0 < correlation < 1:
        raise StreamError(
            f"a preset {name!r} with {bits} bits at a raw correlation of {correlation}",
            expected=f"one of {', '.join(PRESET_NAMES)} with 8, 12 or 16 bits at more than 0 and less than 1",
            todo="correct the name or the value",
        )
    scene = dataclasses.replace(_SCENES[name](size), seed=seed)
    if motion_px is not None:
        scene = dataclasses.replace(scene, motion_px=motion_px)
    scan = scan or ScanGeometry("collinear")
    lines = size[0] * (2 if scan.layout == "collinear" else 1)
    dtype, gain = _PIXELS[bits]
    microscope = ScanSettings(
        size=size,
        rate_hz=min(RATE_HZ, 1e6 / (lines * LINE_US)),
        scan=scan,
        line_us=LINE_US,
        fill=fill,
        gain=gain,
        dark=0.02,
        read_noise=0.15 * gain,
        offset=gain,
        dtype=dtype,
        bits=bits,
        seed=seed,
    )
    if photons is None:
        photons = photons_for(correlation, scene, microscope)
    return scene, dataclasses.replace(microscope, photons=photons)


def photons_for(correlation: float, scene: SceneSettings, scan: ScanSettings) -> float:
    """Return the mean photons per pixel of one line that give the raw movie this correlation with the truth.

    The variance of the truth is measured on clean frames of the scene; the variance of the noise follows from the
    settings of the detector.
    """
    unit = dataclasses.replace(scan, photons=1.0, gain=1.0, offset=0.0, dark=0.0, dtype="<f4", bits=None)
    source = SyntheticSource(scene, unit)
    frames = np.linspace(0, _SPAN_S * scan.rate_hz, _SAMPLES).astype(int).tolist()
    truth = np.stack([source.render(index)[1] for index in frames])
    mean, variance = float(truth.mean()), float(truth.var())
    # r^2 = V p^2 / (V p^2 + noise), noise = (slope p + floor) for p photons in each line: a quadratic equation in p
    views = 2 if scan.scan.layout == "collinear" else 1
    excess_factor = 1 + scan.excess
    slope = mean * excess_factor / views
    floor = (scan.dark * excess_factor + (scan.read_noise / scan.gain) ** 2 + 1 / (12 * scan.gain**2)) / views
    square = correlation**2
    half = square * slope / (2 * variance * (1 - square))
    return half + math.sqrt(half**2 + square * floor / (variance * (1 - square)))


def _calcium(size: tuple[int, int]) -> SceneSettings:
    return SceneSettings(kind="dense", soma_radius_px=5.0, motion_px=2.0, depth_um=200.0)


def _vessels(size: tuple[int, int]) -> SceneSettings:
    return SceneSettings(kind="flow", soma_radius_px=5.0, motion_px=0.4, depth_um=150.0, flow_mm_s=30.0)


def _heart(size: tuple[int, int]) -> SceneSettings:
    peak_px = min(max(min(size) / 32, 2.0), 10.0)
    return SceneSettings(kind="heart", soma_radius_px=4.0, motion_px=0.5, depth_um=50.0, beat_px=peak_px)


_SCENES: dict[str, Callable[[tuple[int, int]], SceneSettings]] = {
    "calcium-vibrating": _calcium,
    "vessels-flow": _vessels,
    "heart-beating": _heart,
}
