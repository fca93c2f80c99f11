"""Questions about the noise: how it is correlated, and how many photons there are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.doctor.finding import Finding, how_sure, not_known
from deepbid_rt.doctor.sample import Runs, as_floats

TILE_PX = 16
"""Side of the tiles that are judged one by one, so that tiles in which tissue moves can be left out."""
MOST_PAIRS = 64
"""Pairs of frames that are used, spread over all of them, to bound the time."""
_LAGS = 4
_FAR = (3, 4)
"""Lags at which noise of detectors is no longer correlated, and moving tissue is."""
FAR_ERRORS, FAR_CORRELATION = 2.0, 0.03
"""Correlation at far lags, in standard errors and as it is, up to which a tile shows noise alone."""
MOVING = 1.5
"""Factor by which what moves is more correlated to the next line than to the one after it, from the width of a focus of
1 to 2 pixels. Noise of neighbouring lines is not correlated to the one after it, unless lines were smoothed."""
MIN_TILES = 8
CORRELATED_Y = 0.06
"""Correlation of the noise of neighbouring lines that is worth saying: two lines are scanned at different times."""
CORRELATED_T = 0.15
"""Correlation of the noise of neighbouring frames that is worth saying: averaged or filtered frames."""
UNCERTAIN = 2.0
"""Factor by which the correlation of lines that moves may be underestimated: motion differs between x and y."""
STILL = 0.02
"""Correlation with the next pixel and line but one up to which nothing moves."""
NOISE_ERRORS = 4.0
"""Standard errors that a correlation of lines or frames must differ from 0."""
DIM_PHOTONS = 0.1
"""Photons per pixel below which a frame shows next to nothing; a real recording with 0.09 shows no cells at all."""
SLOPE_Z = 5.0
"""Standard errors from which on the variance follows the mean."""
_BINS = 12
_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class NoiseCorrelation:
    """Correlation of the noise with that of the next pixel, line and frame; each with its standard error."""

    x: float
    y: float
    t: float
    error: float
    """Standard error of `x` and `y`."""
    error_t: float
    uncertain: float
    """How much of `y` may still come from what moves; 0 when nothing moves."""
    tiles: float
    """Share of the tiles that show noise alone and were used."""


def noise_correlation(runs: Runs) -> NoiseCorrelation | None:
    """Measure how the noise of neighbouring pixels, lines and frames is correlated.

    Parameters
    ----------
    runs : sequence of ndarray
        Arrays (T, Y, X) of raw counts, lines in image order.

    Returns
    -------
    NoiseCorrelation or None
        None with fewer than 2 frames, with frames that are too small, or when too much of the picture moves.

    Notes
    -----
    The difference of two frames that follow each other holds the noise of both, and what moved, which is correlated
    over several pixels: tiles whose difference is correlated at 3 and 4 pixels are left out, and from the others the
    share is subtracted that their correlation with the next pixel and line but one explains, see `MOVING`. In time,
    noise that is independent has as much variance in the difference of frames t and t + 2 as in that of t and t + 1;
    with a correlation of r between neighbours the ratio is 1 / (1 - r).
    """
    chosen = _some(runs)
    if not chosen or chosen[0].shape[1] < TILE_PX or chosen[0].shape[2] < TILE_PX:
        return None
    lines, pixels = (length // TILE_PX * TILE_PX for length in chosen[0].shape[1:])
    top, left = (chosen[0].shape[1] - lines) // 2, (chosen[0].shape[2] - pixels) // 2
    cut = np.s_[top : top + lines, left : left + pixels]
    sums = np.zeros((2 * _LAGS + 3, lines // TILE_PX, pixels // TILE_PX))
    twos = count = 0
    for run in chosen:
        first, second = as_floats(run[0])[cut], as_floats(run[1])[cut]
        step = second - first
        step -= np.median(step)
        sums[0] += _tiles(step * step)
        for lag in range(1, _LAGS + 1):
            sums[lag] += _tiles(_product(step, lag, 1))
            sums[_LAGS + lag] += _tiles(_product(step, lag, 0))
        count += 1
        if len(run) > 2:
            long = as_floats(run[2])[cut] - first
            sums[-1] += _tiles(np.square(long - np.median(long)))
            sums[-2] += _tiles(step * step)
            twos += 1
    variance = sums[0]
    alive = variance > 0
    r = sums[1 : 2 * _LAGS + 1] / np.where(alive, variance, 1)
    # A product of lag d exists for fewer pixels than the square.
    r *= np.array([TILE_PX / (TILE_PX - lag) for lag in (*range(1, _LAGS + 1),) * 2])[:, None, None]
    error = 1 / math.sqrt(count * TILE_PX**2)
    far = np.mean([r[axis * _LAGS + lag - 1] for axis in (0, 1) for lag in _FAR], axis=0)
    quiet = alive & (np.abs(far) < max(FAR_ERRORS * error, FAR_CORRELATION))
    if quiet.sum() < max(MIN_TILES, 0.05 * alive.sum()):
        return None
    used = quiet.sum()
    total = variance[quiet].sum()
    # Each tile counts alike: bright tiles would otherwise decide alone.
    x, y = (float(np.mean(r[axis * _LAGS][quiet])) for axis in (0, 1))
    # What moves is correlated along both axes; a detector, or smoothing, along one.
    next_but_one = [float(np.mean(r[axis * _LAGS + 1][quiet])) for axis in (0, 1)]
    moving = MOVING * max(min(next_but_one), 0.0)
    uncertain = UNCERTAIN * MOVING * max(next_but_one) if min(next_but_one) > STILL else 0.0
    t, error_t = 0.0, math.inf
    if twos:
        ratios = sums[-1][quiet] / np.maximum(sums[-2][quiet], total * 1e-12)
        ratio = float(np.median(ratios))
        t = 1 - 1 / ratio if ratio > 0 else 0.0
        error_t = 2.5 * float(np.std(ratios)) / math.sqrt(used) if used > 1 else math.inf
    spread = 1.5 * float(max(np.std(r[0][quiet]), np.std(r[_LAGS][quiet]))) / math.sqrt(used)
    return NoiseCorrelation(
        x - moving,
        y - moving,
        t,
        max(spread, error / math.sqrt(used)),
        error_t,
        uncertain,
        float(used / max(alive.sum(), 1)),
    )


def noise(measured: NoiseCorrelation | None) -> Finding:
    """Ask whether the noise is correlated along x, along y and in time."""
    question = "noise"
    if measured is None:
        return not_known(question, "too few frames or pixels that show noise alone: the picture moves, or is constant")
    figures = {
        "correlation_x": measured.x,
        "correlation_y": measured.y,
        "error": measured.error,
        "tiles": measured.tiles,
    }
    words = [f"{measured.x:+.2f} to the next pixel of a line, {measured.y:+.2f} to the next line"]
    if math.isfinite(measured.error_t):
        figures |= {"correlation_t": measured.t, "error_t": measured.error_t}
        words.append(f"{measured.t:+.2f} to the next frame")
    if measured.y > CORRELATED_Y and measured.y <= CORRELATED_Y + measured.uncertain:
        return not_known(question, "too much of the picture moves", **figures)
    over_y = measured.y > CORRELATED_Y and measured.y > NOISE_ERRORS * measured.error
    over_t = measured.t > CORRELATED_T and measured.t > NOISE_ERRORS * measured.error_t
    text = f"the noise is correlated by {', '.join(words)}"
    if not over_y and not over_t:
        return Finding(question, "ok", text, figures)
    why = [
        *(["lines were resampled, smoothed or averaged"] if over_y else []),
        *(["frames were averaged, or filtered in time"] if over_t else []),
    ]
    excess = max(measured.y / CORRELATED_Y if over_y else 0.0, measured.t / CORRELATED_T if over_t else 0.0)
    return Finding(
        question,
        "attention",
        f"{text}: {' and '.join(why)}",
        figures,
        how_sure(excess, 1.0),
        "record raw frames, neither averaged nor resampled: denoising and training need independent lines and frames",
    )


@dataclass(frozen=True, slots=True)
class PhotonGain:
    """How the variance of the noise follows the mean: counts per photon, and counts of darkness."""

    gain: float
    """Counts per photon, excess noise of the detector included; below 0 for inverted counts."""
    gain_z: float
    """`gain` in its standard errors."""
    offset: float
    """Mean counts at which the variance would be 0."""
    photons: float
    """Photons per pixel and frame: median over the field."""
    photons_bright: float
    """Photons per pixel and frame at the brightest hundredth of the field."""
    straight: float
    """Largest distance of the variance from the straight line, as a part of the variance."""


def photon_gain(runs: Runs) -> PhotonGain | None:
    """Measure counts per photon from how the variance grows with the mean.

    Parameters
    ----------
    runs : sequence of ndarray
        Arrays (T, Y, X) of raw counts, lines in image order.

    Returns
    -------
    PhotonGain or None
        None with fewer than 4 frames, or when nothing varies.

    Notes
    -----
    Pixels are sorted by their mean over one half of the pairs of frames; mean and variance of each class come from the
    other half, so that noise in the mean moves no pixel to a wrong variance. The variance is that of the difference of
    two frames, minus the mean of the lines above and below, which removes most of what moves.
    """
    chosen = [run[:2] for run in _some(runs)]
    if len(chosen) < 2 or chosen[0].shape[1] < 4 or chosen[0].shape[2] < 4:
        return None
    means, variances = np.zeros((2, 2, chosen[0].shape[1] - 2, chosen[0].shape[2]))
    for n, run in enumerate(chosen):
        first, second = as_floats(run[0]), as_floats(run[1])
        step = second - first
        bare = step[1:-1] - (step[:-2] + step[2:]) / 2
        variances[n % 2] += bare * bare / 3  # 1 + 1/4 + 1/4 times that of a step, which is twice that of a pixel
        level = (first + second) / 2
        means[n % 2] += (level[1:-1] + (level[:-2] + level[2:]) / 4) / 1.5
    half = [(len(chosen) + 1) // 2, len(chosen) // 2]
    edge = min(8, means.shape[2] // 8)
    inner = np.s_[:, edge : means.shape[2] - edge]
    mean, variance = ([part[n][inner] / half[n] for n in (0, 1)] for part in (means, variances))
    sums = np.zeros((_BLOCKS, _BINS, 3))
    block = np.repeat(np.arange(mean[0].shape[0]) * _BLOCKS // mean[0].shape[0], mean[0].shape[1])
    for sort_by, take in ((0, 1), (1, 0)):
        limits = np.quantile(mean[sort_by], np.linspace(0, 1, _BINS + 1)[1:-1])
        place = np.searchsorted(limits, mean[sort_by].ravel()) + _BINS * block
        for k, values in enumerate((None, mean[take].ravel(), variance[take].ravel())):
            sums[..., k] += np.bincount(place, values, minlength=_BLOCKS * _BINS).reshape(_BLOCKS, _BINS)
    slope, intercept = _line(sums.sum(0))
    if not math.isfinite(slope):
        return None
    without = np.array([_line(sums.sum(0) - sums[b])[0] for b in range(_BLOCKS)])
    if not np.isfinite(without).all():
        return None
    error = math.sqrt((_BLOCKS - 1) / _BLOCKS * np.square(without - without.mean()).sum())
    both = (mean[0] * half[0] + mean[1] * half[1]) / sum(half)
    offset = -intercept / slope if slope else math.nan
    n, m, v = sums.sum(0).T
    used = n > 0
    fit = intercept + slope * m[used] / n[used]
    straight = float(np.max(np.abs(v[used] / n[used] - fit) / np.maximum(np.abs(fit), 1e-12)))
    photons, bright = ((float(np.quantile(both, q)) - offset) / slope if slope else math.nan for q in (0.5, 0.99))
    return PhotonGain(slope, abs(slope) / error if error > 0 else math.inf, offset, photons, bright, straight)


def photons(measured: PhotonGain | None) -> Finding:
    """Ask how many photons a pixel has, and whether that is too few."""
    question = "photons"
    if measured is None:
        return not_known(question, "fewer than 4 frames that follow each other in pairs, or nothing varies")
    figures = {"counts_per_photon": measured.gain, "gain_z": measured.gain_z, "photons_per_pixel": measured.photons}
    if measured.gain_z < SLOPE_Z or measured.gain <= 0 or not math.isfinite(measured.photons):
        return not_known(question, "the noise does not grow with the brightness", **figures)
    figures |= {"photons_brightest": measured.photons_bright}
    dim = measured.photons_bright < DIM_PHOTONS
    return Finding(
        question,
        "attention" if dim else "ok",
        f"about {max(measured.photons, 0.0):.2g} photons per pixel, {measured.photons_bright:.2g} at the brightest, "
        f"{measured.gain:.3g} counts per photon",
        figures,
        how_sure(measured.gain_z, SLOPE_Z),
        "use more light or a longer dwell time: at so few photons nothing can be restored" if dim else "",
    )


def inverted(measured: PhotonGain | None) -> Finding:
    """Ask whether bright places have low counts: their noise is larger, whatever the sign."""
    question = "inverted"
    if measured is None:
        return not_known(question, "fewer than 4 frames that follow each other in pairs, or nothing varies")
    figures = {"counts_per_photon": measured.gain, "gain_z": measured.gain_z}
    if measured.gain_z < SLOPE_Z:
        return not_known(question, "the noise does not change with the brightness", **figures)
    if measured.gain > 0:
        return Finding(question, "ok", "bright places have high counts", figures, how_sure(measured.gain_z, SLOPE_Z))
    return Finding(
        question,
        "attention",
        f"counts are inverted: the noise grows where counts fall ({measured.gain:.3g} counts per photon)",
        figures,
        how_sure(measured.gain_z, SLOPE_Z),
        "let the sender or the reader subtract counts from the highest value of the converter",
    )


def _some(runs: Runs) -> list[NDArray[np.generic]]:
    """Return up to `MOST_PAIRS` arrays of 2 or 3 frames that follow each other and share no frame."""
    found = [run[t : t + 3] for run in runs for t in range(0, len(run) - 1, 3)]
    found = [part for part in found if len(part) > 1]
    if len(found) > MOST_PAIRS:
        found = [found[i] for i in np.linspace(0, len(found) - 1, MOST_PAIRS).astype(int)]
    return found


def _tiles(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the sum over each tile of a picture; shorter pictures of products count where they are."""
    lines, pixels = image.shape
    whole = np.zeros((-(-lines // TILE_PX) * TILE_PX, -(-pixels // TILE_PX) * TILE_PX))
    whole[:lines, :pixels] = image
    summed: NDArray[np.float64] = whole.reshape(whole.shape[0] // TILE_PX, TILE_PX, -1, TILE_PX).sum((1, 3))
    return summed


def _product(step: NDArray[np.float32], lag: int, axis: int) -> NDArray[np.float32]:
    """Return the product of each pixel with that `lag` farther within its tile; 0 at the end of each tile."""
    shape = step.shape[0] // TILE_PX, TILE_PX, step.shape[1] // TILE_PX, TILE_PX
    tiles = step.reshape(shape)
    product = np.zeros(shape, np.float32)
    if axis:
        product[..., :-lag] = tiles[..., :-lag] * tiles[..., lag:]
    else:
        product[:, :-lag] = tiles[:, :-lag] * tiles[:, lag:]
    return product.reshape(step.shape)


def _line(sums: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and intercept of variance over mean; `sums` (B, 3) are counts, means and variances of each class."""
    n, m, v = sums[sums[:, 0] > 0].T
    x, y = m / n, v / n
    if x.size < 2 or not (y > 0).any():
        return math.nan, math.nan
    # Between n, for which few bright places decide, and n / y^2, for which darkness decides, where counts are cut off.
    weights = n / np.maximum(y, y.mean() / 100)
    centre_x, centre_y = (float(np.average(part, weights=weights)) for part in (x, y))
    spread = float(np.average(np.square(x - centre_x), weights=weights))
    if spread <= 0:
        return math.nan, math.nan
    slope = float(np.average((x - centre_x) * (y - centre_y), weights=weights)) / spread
    return slope, centre_y - slope * centre_x
