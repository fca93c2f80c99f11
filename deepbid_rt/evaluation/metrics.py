"""The metrics of an evaluation: their names in JSON and tables, in order, and the reference that each one requires.

`deepbid_rt.evaluation.scores` computes them; docs/reference/evaluate.md explains them.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

ReferenceName = Literal["truth", "raw", "traces", "reference"]
"""What a movie may be compared with, see `deepbid_rt.evaluation.references.References`."""


@dataclass(frozen=True, slots=True)
class Metric:
    """Description of one metric."""

    meaning: str
    ideal: str
    """Its value for a perfect movie."""
    requires: ReferenceName | None = "truth"
    """The reference without which it cannot be computed; None: it needs the movie alone."""


METRICS: dict[str, Metric] = {
    "correlation_xyt": Metric("correlation over all pixels", "1"),
    "correlation_frame": Metric("correlation within a frame, mean", "1"),
    "trace_correlation": Metric("correlation of a cell's trace, mean", "1", "traces"),
    "snr_db": Metric("SNR, paper's formula (dB)", "high"),
    "ssim_2d": Metric("structural similarity of frames", "1"),
    "ssim_3d": Metric("structural similarity in x, y and t", "1"),
    "rse": Metric("error after fitting gain, offset, blur (counts)", "0", "reference"),
    "rsp": Metric("correlation after fitting gain, offset, blur", "1", "reference"),
    "snr_affine_db": Metric("SNR after the best gain and offset (dB)", "high"),
    "correlation_dynamic": Metric("correlation without each pixel's time mean", "1"),
    "correlation_xt": Metric("correlation within an x-t plane, mean", "1"),
    "correlation_yt": Metric("correlation within a y-t plane, mean", "1"),
    "sharpness": Metric("finest detail kept (cycles per pixel)", "0.5"),
    "frc_cutoff": Metric("frequency where ring correlation falls below 1/7", "0.5"),
    "transfer_cutoff": Metric("frequency where contrast falls below 1/2", "0.5"),
    "edge_width_ratio": Metric("width of moving edges / true width", "1"),
    "event_f1": Metric("events found in traces, F1", "1", "traces"),
    "event_shift": Metric("median delay of events (frames)", "0", "traces"),
    "event_distance": Metric("median distance of events (frames)", "0", "traces"),
    "linearity_slope": Metric("slope of brightness against true brightness", "1"),
    "linearity_intercept": Metric("brightness where the true one is 0 (counts)", "0"),
    "linearity_deviation": Metric("largest distance from that line / range", "0"),
    "flicker": Metric("change of still pixels / raw change", "0", "raw"),
    "flicker_jump": Metric("largest changes of still pixels / median change", "1", "raw"),
    "next_frc_cutoff": Metric("FRC cut-off estimated from the next raw frame", "0.5", "raw"),
    "temporal_noise_ratio": Metric("frame-to-frame noise / raw noise", "low", "raw"),
    "mean_ratio": Metric("mean / raw mean", "1", "raw"),
    "mean_image_correlation": Metric("correlation of the mean frame with the raw one", "1", "raw"),
    "residual_t": Metric("correlation of raw - movie with its next frame", "0", "raw"),
    "residual_y": Metric("correlation of raw - movie with its next line", "0", "raw"),
    "residual_x": Metric("correlation of raw - movie with its next pixel", "0", "raw"),
    "split_half_correlation": Metric("correlation of even frames' mean with odd frames'", "1", None),
    "split_half_frc_cutoff": Metric("FRC cut-off between these two means", "0.5", None),
}


def missing_metrics(available: Set[ReferenceName]) -> list[str]:
    """Return the names of the metrics that cannot be computed from the available references."""
    return [name for name, metric in METRICS.items() if metric.requires not in {None, *available}]
