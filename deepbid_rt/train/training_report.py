"""Draws the report of a run: its loss curves, and held-out frames denoised with its best network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import FileError
from deepbid_rt.frame import DTYPES, Frame, StreamInfo
from deepbid_rt.scan.directions import split_scan, to_image_order
from deepbid_rt.train.collapse import describe_collapse, has_collapsed
from deepbid_rt.train.net_engine import NetEngine
from deepbid_rt.train.recording import Recording
from deepbid_rt.train.run_log import read_curve
from deepbid_rt.train.trained_network import load_trained

REPORT = "report.png"
_SIDE, _FRAMES = 256, 48
"""Largest side of the denoised view in pixels, and largest number of frames: takes seconds on two cores."""
_PERCENTILES = (1.0, 99.8)
"""Of the pixels, shown as black and white."""


def draw_report(run_dir: Path, recording: Recording) -> Path:
    """Draw ``report.png`` into a run's folder and return its path.

    Parameters
    ----------
    run_dir : Path
        Folder of a run that has a checkpoint.
    recording : Recording
        Its held-out frames are denoised with the code of the live path.

    Raises
    ------
    FileError
        When a frame or checkpoint cannot be read, or the picture cannot be written.
    """
    net, card = load_trained(run_dir, "report", allow_collapsed=True)
    raw, denoised, mean = _pictures(recording, NetEngine(net, card))
    figure = Figure(figsize=(12, 8.4), layout="constrained")
    _, responses = read_curve(run_dir, "response")
    if responses and has_collapsed(responses[-1]):
        figure.suptitle(describe_collapse(responses[-1]), color="tab:red")
    grid = figure.add_gridspec(2, 3, height_ratios=(1, 1.35))
    _draw_curves(figure.add_subplot(grid[0, :]), run_dir)
    best = f"denoised, step {card.training['step']}"
    for column, (label, picture, levels) in enumerate(
        (("raw, held-out frame", raw, raw), (best, denoised, mean), ("mean of raw held-out frames", mean, mean))
    ):
        low, high = np.percentile(levels, _PERCENTILES)
        axes = figure.add_subplot(grid[1, column])
        axes.imshow(picture, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
        axes.set_title(f"{label}\n{low:.4g} to {high:.4g} counts", fontsize=10)
        axes.set_axis_off()
    path = run_dir / REPORT
    try:
        figure.savefig(path, dpi=100)
    except OSError as error:
        raise FileError(
            f"the report {path} cannot be written ({error.strerror or error})",
            expected="a folder on a disk with enough space",
            todo="make room; the run itself is complete and can be exported",
        ) from error
    return path


def _draw_curves(axes: Axes, run_dir: Path) -> None:
    steps, losses = read_curve(run_dir, "loss")
    checks, held_out = read_curve(run_dir, "held_out")
    every = max(1, len(steps) // 100)
    means = [float(np.mean(losses[i : i + every])) for i in range(0, len(losses), every)]
    axes.plot(steps, losses, color="0.85", linewidth=0.8)
    axes.plot(
        steps[every // 2 :: every][: len(means)],
        means[: len(steps[every // 2 :: every])],
        color="0.45",
        label="training loss" + (f", mean of {every} steps" if every > 1 else ""),
    )
    axes.set_xlabel("step")
    axes.set_ylabel("training loss")
    other = axes.twinx()
    other.plot(checks, held_out, color="tab:blue", marker="o", markersize=3, label="held-out loss")
    other.axhline(1, color="tab:blue", linestyle=":", linewidth=1)
    other.set_ylabel("held-out loss in noise variances\n(dotted: 1, a perfect network; raw: 2)", color="tab:blue")
    lines = [*axes.get_legend_handles_labels()[0], *other.get_legend_handles_labels()[0]]
    other.legend(handles=lines, loc="best", frameon=False)


def _pictures(recording: Recording, engine: NetEngine) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return a raw view, the denoised view, and the mean of all raw views, all (Y, X) of the same place."""
    movie, scan, first = recording.movie, recording.scan, recording.training_frames
    frames, _, lines, pixels = movie.shape
    max_lines = 2 * _SIDE if scan.layout == "collinear" else _SIDE
    y0, y1 = _middle(lines, max_lines)
    x0, x1 = _middle(pixels, _SIDE)
    whole = movie.read(first, min(first + _FRAMES, frames), 0, y0, y1, 0, pixels)
    counts = to_image_order(whole, scan)[..., x0:x1]
    counts = np.ascontiguousarray(counts if counts.dtype.str in DTYPES else counts.astype(np.float32))
    scan = dataclasses.replace(scan, mirrored=True)
    denoiser = Denoiser(engine, StreamInfo((1, *counts.shape[1:]), counts.dtype, 1.0, scan), line_phase="off")
    denoised = [out for n, frame in enumerate(counts) for out in denoiser.push(Frame(n, frame[None]))]
    denoised += denoiser.flush()
    middle = len(counts) // 2
    same_slice = counts[middle % recording.slices :: recording.slices]
    views = np.stack(split_scan(same_slice, scan), axis=1) if scan.layout == "collinear" else same_slice[:, None]
    raw = views[middle // recording.slices, 0]
    return raw, denoised[middle].pixels[0], views.mean(axis=(0, 1))


def _middle(length: int, max_size: int) -> tuple[int, int]:
    """Return start and end of the middle part of an axis; start and size are even."""
    size = min(max_size, length // 2 * 2)
    start = (length - size) // 4 * 2
    return start, start + size
