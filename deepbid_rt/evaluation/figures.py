"""The figures of an evaluation: their names in JSON and tables, in the order in which they stand, and what they need.

Knows how none of them is computed; `deepbid_rt.evaluation.scores` does that, docs/evaluation.md explains them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Need = Literal["truth", "raw", "traces", "reference"]


@dataclass(frozen=True, slots=True)
class Figure:
    """What one figure says, what it is for a perfect movie, and what must be known to have it (None: nothing)."""

    meaning: str
    ideal: str
    need: Need | None = "truth"


FIGURES: dict[str, Figure] = {
    "correlation_xyt": Figure("correlation over all pixels", "1"),
    "correlation_frame": Figure("correlation within a frame, mean", "1"),
    "trace_correlation": Figure("correlation of a cell's trace, mean", "1", "traces"),
    "snr_db": Figure("SNR, paper's formula (dB)", "high"),
    "ssim_2d": Figure("structural similarity of frames", "1"),
    "ssim_3d": Figure("structural similarity in x, y and t", "1"),
    "rse": Figure("error after fitting gain, offset, blur (counts)", "0", "reference"),
    "rsp": Figure("correlation after fitting gain, offset, blur", "1", "reference"),
    "snr_affine_db": Figure("SNR after the best gain and offset (dB)", "high"),
    "correlation_dynamic": Figure("correlation without each pixel's time mean", "1"),
    "correlation_xt": Figure("correlation within an x-t plane, mean", "1"),
    "correlation_yt": Figure("correlation within a y-t plane, mean", "1"),
    "sharpness": Figure("finest detail kept (cycles per pixel)", "0.5"),
    "frc_cutoff": Figure("ring correlation falls below 1/7 at", "0.5"),
    "transfer_cutoff": Figure("contrast falls below 1/2 at", "0.5"),
    "edge_width_ratio": Figure("width of moving edges over the true width", "1"),
    "event_f1": Figure("events found in traces, F1", "1", "traces"),
    "event_shift": Figure("median delay of events (frames)", "0", "traces"),
    "event_distance": Figure("median distance of events (frames)", "0", "traces"),
    "linearity_slope": Figure("brightness over the true one", "1"),
    "linearity_intercept": Figure("brightness where the true one is 0 (counts)", "0"),
    "linearity_deviation": Figure("largest distance from that line, of the range", "0"),
    "flicker": Figure("change of still pixels over the raw one", "0", "raw"),
    "flicker_jump": Figure("largest changes of still pixels over the usual", "1", "raw"),
    "next_frc_cutoff": Figure("ring correlation, by the next raw frame, below 1/7 at", "0.5", "raw"),
    "temporal_noise_ratio": Figure("frame-to-frame noise over the raw one", "low", "raw"),
    "mean_ratio": Figure("mean over the raw one", "1", "raw"),
    "mean_image_correlation": Figure("correlation of the mean picture with the raw one", "1", "raw"),
    "residual_t": Figure("correlation of raw - movie with its next frame", "0", "raw"),
    "residual_y": Figure("correlation of raw - movie with its next line", "0", "raw"),
    "residual_x": Figure("correlation of raw - movie with its next pixel", "0", "raw"),
    "split_half_correlation": Figure("correlation of even frames' mean with odd frames'", "1", None),
    "split_half_frc_cutoff": Figure("ring correlation of these falls below 1/7 at", "0.5", None),
}


def unknown(known: set[Need]) -> list[str]:
    """Return the names of the figures that cannot be had from what is known."""
    return [name for name, figure in FIGURES.items() if figure.need not in {None, *known}]
