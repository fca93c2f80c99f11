"""The question whether frames that follow each other show different things: channels or planes stored as time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.doctor.finding import Finding, how_sure, not_known
from deepbid_rt.doctor.sample import Runs, as_floats

_FIELDS = 16
"""Fields along each side over which pixels are averaged: noise of single pixels says nothing here."""
LARGEST_PERIOD = 32
MOST_FRAMES = 160
LEAST_TURNS = 3
"""Times that a period must come again: a heart that beats is not strictly periodic, planes are."""
MARGIN = 0.12
"""How much less alike unlike frames must be than like ones, as a part of the latter."""
_BLOCKS = 8


def interleaved(runs: Runs) -> Finding:
    """Ask whether frames alternate between unlike pictures, with which period.

    Parameters
    ----------
    runs : sequence of ndarray
        Arrays (T, Y, X) of what is stated to be one channel and plane.

    Notes
    -----
    The covariance over fields of two different frames holds no noise. Its mean over pairs of frames that are L frames
    apart is high when L is a multiple of the period, and lower else.
    """
    question = "interleaved"
    run = max(runs, key=len, default=None)
    if run is None or len(run) < 2 * LEAST_TURNS or min(run.shape[1:]) < 8:
        return not_known(question, f"fewer than {2 * LEAST_TURNS} frames without a gap, or tiny frames")
    fields = _fields(run[:MOST_FRAMES])
    longest = min(LARGEST_PERIOD, len(fields) // LEAST_TURNS)
    alike = _covariances(fields, LEAST_TURNS * longest)
    total = alike.sum(0)
    best, best_margin = None, 0.0
    for period in range(2, longest + 1):
        lags = np.arange(1, min(len(total), LEAST_TURNS * period) + 1)
        like = lags % period == 0
        if like.sum() < min(LEAST_TURNS, 2):
            continue

        def margin(curve: NDArray[np.float64], lags: NDArray[np.int64] = lags, like: NDArray[np.bool_] = like) -> float:
            least, most = float(curve[lags[like] - 1].min()), float(curve[lags[~like] - 1].max())
            return (least - most) / least if least > 0 else -np.inf

        value = margin(total)
        # Every part of the picture must show it: one cell that flashes does not make a period.
        if value > max(MARGIN, best_margin) and _error_of(alike, margin) < value / 3:
            best, best_margin = period, value
    figures = {"frames": float(len(fields)), "longest_period": float(longest)}
    if best is not None:
        figures |= {"period": float(best), "margin": best_margin}
        names = "channels or planes" if best <= 8 else "planes"
        first = f"--channels {best} if they are detectors, " if best <= 8 else ""
        return Finding(
            question,
            "attention",
            f"frames alternate between {best} unlike pictures: {names} are stored as time",
            figures,
            how_sure(best_margin, MARGIN),
            f"use {first}--planes {best} if they are depths; let the sender of a stream state it",
            {} if best <= 8 else {"planes": best},
        )
    if total[0] <= 0 or _error_of(alike, lambda curve: float(curve[0])) > total[0] / 3:
        return not_known(question, "the picture is too dark or flat to be told from another", **figures)
    return Finding(
        question,
        "ok",
        f"frames that follow each other show the same (periods up to {longest})",
        figures,
        how_sure(float(longest), 4.0),
    )


def _fields(run: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return mean counts (T, rows, columns) of fields, minus the mean of each frame."""
    rows, columns = (min(_FIELDS, length // 2) for length in run.shape[1:])
    height, width = run.shape[1] // rows, run.shape[2] // columns
    cut = np.stack([as_floats(image[: rows * height, : columns * width]) for image in run])
    fields: NDArray[np.float64] = cut.reshape(len(run), rows, height, columns, width).mean((2, 4), dtype=np.float64)
    fields -= fields.mean((1, 2), keepdims=True)
    return fields


def _covariances(fields: NDArray[np.float64], longest: int) -> NDArray[np.float64]:
    """Return covariances (B, L) of frames that are 1 to L frames apart, for blocks of rows of fields."""
    rows = fields.shape[1]
    blocks = min(_BLOCKS, rows)
    curves = [
        np.einsum("tyx,tyx->y", fields[lag:], fields[:-lag]) / (len(fields) - lag)
        for lag in range(1, min(longest, len(fields) - 1) + 1)
    ]
    return np.add.reduceat(np.array(curves).T, np.arange(blocks) * rows // blocks, axis=0)


def _error_of(blocks: NDArray[np.float64], figure: Callable[[NDArray[np.float64]], float]) -> float:
    """Return the standard error of a figure of the sum over blocks, by the jackknife."""
    total, count = blocks.sum(0), len(blocks)
    without = np.array([figure(total - block) for block in blocks])
    if not np.isfinite(without).all():
        return float("inf")
    return float(np.sqrt((count - 1) / count * np.square(without - without.mean()).sum()))
