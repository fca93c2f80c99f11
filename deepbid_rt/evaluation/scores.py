"""One movie judged by every figure that what is known beside it allows. Knows no file format and no engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.evaluation.dynamics import dynamics
from deepbid_rt.evaluation.edges import edge_width_ratio
from deepbid_rt.evaluation.error_map import ErrorMap, error_map
from deepbid_rt.evaluation.figures import FIGURES, unknown
from deepbid_rt.evaluation.flicker import flicker
from deepbid_rt.evaluation.fourier import next_frame_cutoff, sharpness, split_half_cutoff
from deepbid_rt.evaluation.linearity import linearity
from deepbid_rt.evaluation.movie import Movie, counts
from deepbid_rt.evaluation.noise import noise_summary
from deepbid_rt.evaluation.paper import frame_correlations, paper_figures
from deepbid_rt.evaluation.references import References
from deepbid_rt.evaluation.residual import residual_correlation
from deepbid_rt.evaluation.traces import trace_correlations, trace_scores, traces_of

_MAPPED = 4  # frames of which an error map is made; each takes half a second at 512 x 512
_LONGEST_VIEW = 512  # frames of a y-t view


@dataclass(frozen=True, slots=True)
class View:
    """What a report shows of a movie's first channel: its middle frame (Y, X) and one column over time (Y, T)."""

    picture: NDArray[np.float64]
    column: NDArray[np.float64]

    @classmethod
    def of(cls, movie: Movie, column: int) -> View:
        """Look at a movie; the view over time holds at most 512 frames."""
        lines = [counts(movie, t)[0, :, column] for t in range(min(_LONGEST_VIEW, movie.shape[0]))]
        return cls(counts(movie, movie.shape[0] // 2)[0], np.stack(lines, axis=1))


@dataclass(frozen=True, slots=True)
class Scores:
    """All `FIGURES` of one movie, None where they cannot be had, and what a report draws of it.

    ``frames``: correlation of each frame with the truth (T,). ``cells``: of each cell's trace with the true one (R,).
    ``error``: the error map of the middle frame of the first channel.
    """

    figures: dict[str, float | None]
    view: View
    frames: NDArray[np.float64] | None = None
    cells: NDArray[np.float64] | None = None
    error: ErrorMap | None = None


def judge(movie: Movie, known: References, column: int) -> Scores:
    """Judge a movie.

    Parameters
    ----------
    movie : Movie
        (T, C, Y, X), finite.
    known : References
        Of the same shape.
    column : int
        x of the y-t view.

    Raises
    ------
    StreamError
        When shapes differ or are too small for a figure.
    """
    found: dict[str, float | None] = {"split_half_frc_cutoff": split_half_cutoff(movie)}
    frames = cells = None
    if known.truth is not None:
        line = linearity(movie, known.truth)
        found |= paper_figures(movie, known.truth)
        found |= dynamics(movie, known.truth)
        found |= sharpness(movie, known.truth)
        found["edge_width_ratio"] = edge_width_ratio(movie, known.truth, known.edges_near)
        found |= {f"linearity_{key}": value for key, value in line.items()}
        frames = frame_correlations(movie, known.truth)
    if known.cells is not None and known.traces is not None:
        seen = traces_of(movie, known.cells)
        found |= trace_scores(seen, known.traces)
        cells = trace_correlations(seen, known.traces)
    noise = noise_summary(movie if known.raw is None else known.raw, movie)
    found["split_half_correlation"] = noise["split_half_correlation"]["denoised"]
    if known.raw is not None:
        found |= {key: noise[key] for key in ("temporal_noise_ratio", "mean_ratio", "mean_image_correlation")}
        found |= flicker(movie, known.raw, known.truth)
        found["next_frc_cutoff"] = next_frame_cutoff(movie, known.raw)
        rest = residual_correlation(known.raw, movie, lags=1)
        found |= {"residual_t": rest.t[0], "residual_y": rest.y, "residual_x": rest.x}
    maps = _error_maps(movie, known)
    if maps:
        found["rse"] = float(np.mean([found_map.rse for found_map in maps]))
        found["rsp"] = float(np.mean([found_map.rsp for found_map in maps]))
    lacking = unknown(known.needs)
    return Scores(
        {name: None if name in lacking else found[name] for name in FIGURES},
        View.of(movie, column),
        frames,
        cells,
        maps[-1] if maps else None,
    )


def _error_maps(movie: Movie, known: References) -> list[ErrorMap]:
    """Return error maps of frames of the first channel, evenly spaced; the middle one is the last."""
    if known.truth is None and known.reference is None:
        return []
    length = movie.shape[0]
    at = [length * k // _MAPPED for k in range(_MAPPED) if length * k // _MAPPED != length // 2] + [length // 2]
    maps = []
    for t in dict.fromkeys(at):
        reference = known.reference
        if reference is None and known.truth is not None:
            reference = counts(known.truth, t)[0]
        if reference is not None:
            maps.append(error_map(counts(movie, t)[0], reference))
    return maps
