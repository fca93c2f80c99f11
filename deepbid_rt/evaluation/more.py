"""Everything that stands beside the papers' figures, for a movie, its recording and the filters every lab has.

Joins the measures of this folder; knows no file format and no engine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.evaluation.baselines import baselines
from deepbid_rt.evaluation.dynamics import dynamics
from deepbid_rt.evaluation.error_map import error_map
from deepbid_rt.evaluation.evaluate import evaluate
from deepbid_rt.evaluation.fourier import sharpness, split_half_cutoff
from deepbid_rt.evaluation.linearity import linearity
from deepbid_rt.evaluation.movie import Movie, as_movie, counts, lines_averaged, paired
from deepbid_rt.evaluation.residual import residual_correlation
from deepbid_rt.evaluation.traces import masks_of, trace_scores

Scores = dict[str, Any]


def more(movie: Movie | NDArray[Any], truth: Movie | NDArray[Any], raw: Movie | NDArray[Any] | None = None) -> Scores:
    """Return the scores of `dynamics`, `sharpness`, `linearity`, `trace_scores` and the error of the time mean.

    With ``raw`` also the same under ``"raw"``, ``"residual"`` of raw - movie, and under ``"baselines"`` the same keys
    and the papers' for each filter of `baselines`. Cells are those that `masks_of` finds in the truth; the error map is
    of the first channel's time mean against the truth's.

    Raises
    ------
    StreamError
        As `evaluate`, and when frames are smaller than 8 x 8.
    """
    movie, truth = paired(movie, truth)
    masks = masks_of(truth)
    scores = _scores(movie, truth, masks)
    if raw is not None:
        before, _ = paired(lines_averaged(as_movie(raw), truth), truth)
        scores["raw"] = _scores(before, truth, masks)
        scores["residual"] = residual_correlation(before, movie)
        scores["baselines"] = {
            name: evaluate(filtered, truth) | _scores(filtered, truth, masks)
            for name, filtered in baselines(before, truth).items()
        }
    return scores


def markdown(paper: Scores, extra: Scores) -> str:
    """Return the scores of `evaluate` and `more` as a Markdown table, one column per movie."""
    columns = {"denoised": paper | extra}
    if "raw" in extra:
        columns |= {"raw": paper["raw"] | extra["raw"]} | extra["baselines"]
    keys = [key for key, value in columns["denoised"].items() if value is None or isinstance(value, float)]
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for key in keys:
        cells = ("-" if column[key] is None else f"{column[key]:.4g}" for column in columns.values())
        lines.append(f"| {key} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _scores(movie: Movie, truth: Movie, masks: NDArray[np.bool_]) -> Scores:
    line = {f"linearity_{key}": value for key, value in linearity(movie, truth).items()}
    fit = error_map(_mean(movie), _mean(truth))
    return {
        **dynamics(movie, truth),
        **sharpness(movie, truth),
        "split_half_frc_cutoff": split_half_cutoff(movie),
        **line,
        **trace_scores(movie, truth, masks),
        "rse": fit.rse,
        "rsp": fit.rsp,
    }


def _mean(movie: Movie) -> NDArray[np.float64]:
    total = np.zeros(movie.shape[2:])
    for t in range(movie.shape[0]):
        total += counts(movie, t)[0] / movie.shape[0]
    return total
