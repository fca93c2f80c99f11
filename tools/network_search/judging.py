"""How good a network is: against the truth of simulated movies, and on lines of real ones that it did not see."""

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

from deepbid_rt.denoising.network_inputs import Rows, pad
from deepbid_rt.evaluation.dynamics import dynamics
from deepbid_rt.evaluation.paper import agreement
from deepbid_rt.motion.history import MotionCompensatedHistory, mean_views
from deepbid_rt.runtimes.openvino_core import core
from network_search.movies import Image, Seen
from network_search.nets import Stateful, run
from network_search.trials import Trial

SETTLED = 20
HALVES: tuple[tuple[Rows, slice], ...] = (("even", np.s_[1::2]), ("odd", np.s_[0::2]))
"""Lines that are shown, and those that are foretold."""
GRID = 16
"""What the sides of an input are multiples of, for all networks."""


@torch.no_grad()
def simulated(net: nn.Module, trial: Trial, movie: Seen, truth: Image) -> tuple[float, float]:
    """Return the correlation with the truth (T, Y, X), and that after the mean over time is taken away."""
    out: list[Image] = []
    states: list[Tensor | None] = [None, None]
    for t, views in enumerate(movie.views.astype(np.float32)):
        shown = list(views) if trial.apart else [mean_views(views[None])[0]]
        answers = []
        for k, view in enumerate(shown):
            given = torch.from_numpy(movie.inputs(t, view, trial.diet)[None])
            with torch.autocast("cpu", torch.bfloat16):
                answer, states[k] = run(net, given, states[k])
            answers.append(answer[0].float().numpy())
        out.append(np.mean(answers, 0))
    denoised, clean = np.stack(out)[SETTLED:], truth[SETTLED:, None]
    return agreement(denoised, clean)["correlation_xyt"], dynamics(denoised, clean)["correlation_dynamic"]


@torch.no_grad()
def held_lines(net: nn.Module, trial: Trial, movie: Seen, frames: NDArray[np.intp]) -> float:
    """Return the mean squared error, counts, on the lines of one direction foretold from the other's and the past."""
    errors = []
    for t in frames:
        view = movie.views[t, 0].astype(np.float32)
        for rows, unseen in HALVES:
            given = pad(movie.inputs(int(t), view, trial.diet, rows), GRID)
            with torch.autocast("cpu", torch.bfloat16):
                answer = run(net, torch.from_numpy(given[None]), None)[0][0, 0].float().numpy()
            errors.append(np.mean((answer[: len(view), : view.shape[1]] - view)[unseen] ** 2, dtype=np.float64))
    return float(np.mean(errors)) * movie.scale**2


def milliseconds(net: nn.Module, trial: Trial, side: int, runs: int) -> float:
    """Time one frame's inferences in OpenVINO, median."""
    import openvino  # after deepbid_rt, which keeps it from reporting its import to its maker

    given: tuple[Tensor, ...] = (torch.zeros(1, trial.diet.depth, side, side),)
    if isinstance(net, Stateful):
        given += (net.begin(1, side, side),)
    request = core().compile_model(openvino.convert_model(net, example_input=given), "CPU").create_infer_request()
    arrays = [array.numpy() for array in given]
    return (1 + trial.apart) * statistics.median(_times(lambda: request.infer(arrays), runs))


def past_of(trial: Trial, views: Image, runs: int) -> tuple[float, float]:
    """Return milliseconds of the past of a frame (T, V, Y, X), median, and the MB that are kept."""
    history = MotionCompensatedHistory(trial.diet.gains, 1, views.shape[2:])
    turns = itertools.cycle([*views, *views[-2:0:-1]])  # forth and back, so that motion stays steady
    return statistics.median(_times(lambda: history.push(next(turns)[None]), runs)), len(pickle.dumps(history)) / 1e6


def _times(work: Callable[[], object], runs: int) -> Iterator[float]:
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        yield 1e3 * (time.perf_counter() - begun)
