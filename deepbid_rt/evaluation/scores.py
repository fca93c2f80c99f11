"""All metrics of one movie, as far as the given references allow, and what a report shows of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.evaluation.dynamics import dynamics
from deepbid_rt.evaluation.edges import edge_width_ratio
from deepbid_rt.evaluation.error_map import ErrorMap, error_map
from deepbid_rt.evaluation.flicker import flicker
from deepbid_rt.evaluation.fourier import next_frame_cutoff, sharpness, split_half_cutoff
from deepbid_rt.evaluation.linearity import linearity
from deepbid_rt.evaluation.metrics import METRICS, missing_metrics
from deepbid_rt.evaluation.movie import MovieReader, read_frame
from deepbid_rt.evaluation.noise import noise_summary
from deepbid_rt.evaluation.paper import frame_correlations, paper_metrics
from deepbid_rt.evaluation.references import References
from deepbid_rt.evaluation.residual import residual_correlation
from deepbid_rt.evaluation.traces import extract_traces, trace_correlations, trace_scores

_ERROR_MAPS = 4  # frames with an error map; each takes half a second at 512 x 512
_PREVIEW_FRAMES = 512  # most frames of a preview's y-t image


@dataclass(frozen=True, slots=True)
class Preview:
    """Images of a movie's first channel for a report."""

    picture: NDArray[np.float64]
    """(Y, X) the middle frame."""
    column: NDArray[np.float64]
    """(Y, T) one column over time, at most the first 512 frames."""

    @classmethod
    def of(cls, movie: MovieReader, column: int) -> Preview:
        """Return the preview of a movie (T, C, Y, X) with its column ``column``."""
        lines = [read_frame(movie, t)[0, :, column] for t in range(min(_PREVIEW_FRAMES, movie.shape[0]))]
        return cls(read_frame(movie, movie.shape[0] // 2)[0], np.stack(lines, axis=1))


@dataclass(frozen=True, slots=True)
class Scores:
    """The result of `score`."""

    metrics: dict[str, float | None]
    """Every one of `METRICS`; None where it cannot be computed."""
    preview: Preview
    frame_correlations: NDArray[np.float64] | None = None
    """(T,) correlation of each frame with the truth."""
    trace_correlations: NDArray[np.float64] | None = None
    """(R,) correlation of each cell's trace with the true trace."""
    error_map: ErrorMap | None = None
    """Error map of the middle frame of the first channel."""


def score(movie: MovieReader, references: References, column: int) -> Scores:
    """Compute all metrics of a movie that the references allow.

    Parameters
    ----------
    movie : MovieReader
        (T, C, Y, X), finite.
    references : References
        Of the same shape.
    column : int
        x of the column in the preview.

    Raises
    ------
    StreamError
        When shapes differ or are too small for a metric.
    """
    truth, raw = references.truth, references.raw
    found: dict[str, float | None] = {"split_half_frc_cutoff": split_half_cutoff(movie)}
    per_frame = per_cell = None
    if truth is not None:
        line = linearity(movie, truth)
        found |= paper_metrics(movie, truth)
        found |= dynamics(movie, truth)
        found |= sharpness(movie, truth)
        found["edge_width_ratio"] = edge_width_ratio(movie, truth, references.edges_near)
        found |= {f"linearity_{key}": value for key, value in line.items()}
        per_frame = frame_correlations(movie, truth)
    if references.cells is not None and references.traces is not None:
        measured = extract_traces(movie, references.cells)
        found |= trace_scores(measured, references.traces)
        per_cell = trace_correlations(measured, references.traces)
    noise = noise_summary(movie if raw is None else raw, movie)
    found["split_half_correlation"] = noise["split_half_correlation"]["denoised"]
    if raw is not None:
        found |= {key: noise[key] for key in ("temporal_noise_ratio", "mean_ratio", "mean_image_correlation")}
        found |= flicker(movie, raw, truth)
        found["next_frc_cutoff"] = next_frame_cutoff(movie, raw)
        residual = residual_correlation(raw, movie, lags=1)
        found |= {"residual_t": residual.t[0], "residual_y": residual.y, "residual_x": residual.x}
    maps = _error_maps(movie, references)
    if maps:
        found["rse"] = float(np.mean([one.rse for one in maps]))
        found["rsp"] = float(np.mean([one.rsp for one in maps]))
    missing = missing_metrics(references.available)
    return Scores(
        {name: None if name in missing else found[name] for name in METRICS},
        Preview.of(movie, column),
        per_frame,
        per_cell,
        maps[-1] if maps else None,
    )


def _error_maps(movie: MovieReader, references: References) -> list[ErrorMap]:
    """Return error maps of evenly spaced frames of the first channel; the middle frame is the last."""
    if references.truth is None and references.reference is None:
        return []
    length = movie.shape[0]
    at = [length * k // _ERROR_MAPS for k in range(_ERROR_MAPS) if length * k // _ERROR_MAPS != length // 2]
    maps = []
    for t in dict.fromkeys([*at, length // 2]):
        reference = references.reference
        if reference is None and references.truth is not None:
            reference = read_frame(references.truth, t)[0]
        if reference is not None:
            maps.append(error_map(read_frame(movie, t)[0], reference))
    return maps
