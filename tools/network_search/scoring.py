"""Scores of a network: correlation with the truth of simulated movies, error on hidden lines of real ones, and time."""

from __future__ import annotations

import itertools
import pickle
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepbid_rt.denoising.network_inputs import VisibleLines, pad
from deepbid_rt.evaluation.dynamics import dynamics
from deepbid_rt.evaluation.paper import agreement
from deepbid_rt.frame import Image
from deepbid_rt.motion.history import MotionCompensatedHistory, mean_views
from deepbid_rt.runtimes.openvino_core import core
from network_search.movies import PreparedMovie
from network_search.nets import Stateful, run
from network_search.trials import Trial

SKIPPED_FRAMES = 20
"""First frames of a movie that are not scored, because their temporal averages are noisier."""
HALVES: tuple[tuple[VisibleLines, slice], ...] = (("even", np.s_[1::2]), ("odd", np.s_[0::2]))
"""Visible lines, and the hidden lines that are predicted from them."""
GRID = 16
"""The sides of an input are padded to multiples of this, which suits all networks."""


@torch.no_grad()
def correlations(net: nn.Module, trial: Trial, movie: PreparedMovie, truth: Image) -> tuple[float, float]:
    """Return the correlation with the truth (T, Y, X), and that after the mean over time is subtracted."""
    denoised_frames: list[Image] = []
    states: list[Tensor | None] = [None, None]
    for t, views in enumerate(movie.views.astype(np.float32)):
        given_views = list(views) if trial.separate_views else [mean_views(views[None])[0]]
        outputs = []
        for k, view in enumerate(given_views):
            inputs = torch.from_numpy(movie.inputs(t, view, trial.inputs)[None])
            with torch.autocast("cpu", torch.bfloat16):
                output, states[k] = run(net, inputs, states[k])
            outputs.append(output[0].float().numpy())
        denoised_frames.append(np.mean(outputs, 0))
    denoised, clean = np.stack(denoised_frames)[SKIPPED_FRAMES:], truth[SKIPPED_FRAMES:, None]
    return agreement(denoised, clean)["correlation_xyt"], dynamics(denoised, clean)["correlation_dynamic"]


@torch.no_grad()
def hidden_line_error(net: nn.Module, trial: Trial, movie: PreparedMovie, frames: NDArray[np.intp]) -> float:
    """Return the mean squared error in counts squared on hidden lines of one direction, predicted from the others."""
    errors = []
    for t in frames:
        view = movie.views[t, 0].astype(np.float32)
        for rows, hidden in HALVES:
            inputs = pad(movie.inputs(int(t), view, trial.inputs, rows), GRID)
            with torch.autocast("cpu", torch.bfloat16):
                output = run(net, torch.from_numpy(inputs[None]), None)[0][0, 0].float().numpy()
            errors.append(np.mean((output[: len(view), : view.shape[1]] - view)[hidden] ** 2, dtype=np.float64))
    return float(np.mean(errors)) * movie.scale**2


def milliseconds(net: nn.Module, trial: Trial, side: int, runs: int) -> float:
    """Return the median time of the inferences of one frame in OpenVINO."""
    import openvino  # after deepbid_rt, which turns off its telemetry

    inputs: tuple[Tensor, ...] = (torch.zeros(1, trial.inputs.depth, side, side),)
    if isinstance(net, Stateful):
        inputs += (net.initial_state(1, side, side),)
    request = core().compile_model(openvino.convert_model(net, example_input=inputs), "CPU").create_infer_request()
    arrays = [array.numpy() for array in inputs]
    return (1 + trial.separate_views) * statistics.median(_times(lambda: request.infer(arrays), runs))


def measure_history(trial: Trial, views: Image, runs: int) -> tuple[float, float]:
    """Return the median time to update the averages with a frame of (T, V, Y, X), in ms, and their size in MB."""
    history = MotionCompensatedHistory(trial.inputs.gains, 1, views.shape[2:])
    turns = itertools.cycle([*views, *views[-2:0:-1]])  # forwards and backwards, so that the motion is continuous
    return statistics.median(_times(lambda: history.push(next(turns)[None]), runs)), len(pickle.dumps(history)) / 1e6


def _times(work: Callable[[], object], runs: int) -> Iterator[float]:
    for _ in range(runs):
        began = time.perf_counter()
        work()
        yield 1e3 * (time.perf_counter() - began)
