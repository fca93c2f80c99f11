"""Converts the frames of one plane to network units and the denoised views back to counts.

Offset and scale are measured once, on the first frames, and are constant for the rest of the series. So is a correction
for the bias of the network. All view denoisers use this class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.errors import StageError
from deepbid_rt.scan.normalizer import Normalizer, calibrate

PlaneFrames = list[tuple[int, NDArray[Any]]]
"""Frames of one plane: number within the plane, and views (C, V, Y, X) in raw counts."""

LARGEST_UNITS = 1e9
"""Largest pixel that reaches an engine, in standard deviations of the noise; larger ones count as 0, like NaN. The
precision of float32 is 6e-8, so even a movie without noise stays below."""
SMALLEST_BIAS = 0.03
"""Smallest bias that is corrected, network units. The first frames are denoised with few earlier frames, and their mean
can be off by this much even on a microscope that the network was trained on."""


_LEAST_FRAMES = 4
"""Frames of each plane to calibrate on, at least, where many planes share the frames of the card."""


def calibration_frames(card: ModelCard, planes: int) -> int:
    """Return how many frames of each plane are calibrated on, and wait until then.

    The frames that the card names are those of all planes: the first answer comes after as much time as with one plane.
    """
    frames = card.normalization.frames
    return max(min(frames, _LEAST_FRAMES), -(-frames // planes))


class Calibration:
    """Offset and scale of each channel, and the bias of the engine.

    Parameters
    ----------
    card : ModelCard
        States whether to measure, and on how many frames.
    channels : int
        C. Each channel has its own offset and scale, which its views share.
    planes : int
        Planes of the series, see `calibration_frames`.

    Notes
    -----
    On a microscope that it was not trained on, a network can shift the mean intensity by a fraction of the noise. This
    bias is measured for each channel on the first denoised frames and subtracted from all frames of the series, unless
    it is below `SMALLEST_BIAS`. Engines of kind ``average`` have no bias.
    """

    def __init__(self, card: ModelCard, channels: int, planes: int = 1) -> None:
        self._card = card
        self._frames = calibration_frames(card, planes)
        self._fixed = card.normalization.rule == "fixed"
        self._normalizers = [Normalizer(card.normalization.offset, card.normalization.scale)] * channels
        self._unbiased = self._fixed or card.kind == "average"
        self._bias: NDArray[np.float64] | None = None  # (C,) network units
        self._waiting: PlaneFrames = []
        self._missing: list[NDArray[np.bool_] | None] = []  # of the frames that wait
        self.reset(keep_scale=False)

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel. None until measured."""
        return tuple(self._normalizers) if self._calibrated else None

    @property
    def waiting(self) -> bool:
        """True while frames wait for the calibration."""
        return bool(self._waiting)

    @property
    def bias(self) -> NDArray[np.float64] | None:
        """Bias of the engine (C,): mean of its output minus mean of its input, network units. None until measured."""
        return self._bias

    def push(self, plane_frame: int, views: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> PlaneFrames:
        """Add a frame and return the frames that can be denoised now.

        During the calibration these are none; when it is complete, all frames that waited; afterwards, this frame.
        Pixels that are True in `missing` (C, V, Y, X) were filled without a measurement, and are not calibrated on.
        """
        if self._calibrated:
            return [(plane_frame, views)]
        self._waiting.append((plane_frame, views.copy()))
        self._missing.append(missing)
        return self.measure() if len(self._waiting) == self._frames else []

    def measure(self) -> PlaneFrames:
        """Calibrate on the frames that wait, even if they are too few, and return them."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            frames = np.stack([views for _, views in waiting])  # (T, C, V, Y, X)
            if any(missing is not None for missing in self._missing):
                frames = frames.astype(np.float32)
                for views, missing in zip(frames, self._missing, strict=True):
                    if missing is not None:
                        views[missing] = np.nan
            self._missing.clear()
            self._normalizers = [self._measure_channel(frames[:, channel]) for channel in range(frames.shape[1])]
            self._calibrated = True
        return waiting

    def _measure_channel(self, counts: NDArray[Any]) -> Normalizer:
        rule, measured = self._card.normalization, calibrate(counts)
        if rule.rule == "calibrate":
            return measured
        finite = counts[np.isfinite(counts)]
        lowest = float(finite.min()) if finite.size else 0.0
        return Normalizer(measured.offset if rule.rule == "mean" else lowest, rule.scale)

    def reset(self, *, keep_scale: bool) -> None:
        """Forget the frames that wait. Without `keep_scale`, also calibrate anew on the next frames."""
        self._waiting.clear()
        self._missing.clear()
        if not keep_scale:
            self._calibrated = self._fixed
            self._bias = np.zeros(len(self._normalizers)) if self._unbiased else None

    def apply(self, views: NDArray[Any]) -> NDArray[np.float32]:
        """Convert raw counts (C, V, Y, X) to network units; what no detector can have measured becomes 0."""
        units = np.stack([n.apply(channel) for n, channel in zip(self._normalizers, views, strict=True)])
        # With a fixed scale, network units are not standard deviations of the noise.
        if views.dtype.kind == "f" and not self._fixed and np.abs(units).max(initial=0) > LARGEST_UNITS:
            units[np.abs(units) > LARGEST_UNITS] = 0
        return units

    def restore(self, answers: NDArray[np.float32], mean_bias: NDArray[np.float64], before: int) -> NDArray[np.float32]:
        """Convert the output of the engine to counts and subtract the bias.

        Parameters
        ----------
        answers : ndarray
            (T, C, V, Y, X) in network units; overwritten.
        mean_bias : ndarray
            (C,) mean of these outputs minus the mean of their inputs, network units. Used until `bias` is measured.
        before : int
            Number of the plane's frame after the last input frame, for the message of the error.

        Returns
        -------
        ndarray
            `answers`, in counts.

        Raises
        ------
        StageError
            When a value is not finite.
        """
        self.check(answers.sum(dtype=np.float64), before)  # one pass; float32 would overflow on float movies
        bias = self.correct(mean_bias)
        for c, normalizer in enumerate(self._normalizers):
            answers[:, c] = normalizer.restore(answers[:, c], np.float32)
            answers[:, c] -= np.float32(bias[c] * normalizer.scale)
        return answers

    def correct(self, mean_bias: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the bias (C,) of the engine; the first call measures it from `mean_bias`, see `restore`."""
        if self._bias is None:
            self._bias = np.where(np.abs(mean_bias) < SMALLEST_BIAS, 0.0, mean_bias)
        return self._bias

    def check(self, total: float, before: int) -> None:
        """Raise `StageError` unless `total`, a sum over the output before plane frame `before`, is finite."""
        if not np.isfinite(total):
            raise StageError(
                f"engine {self._card.name!r} returned values that are not finite, before frame {before} of the plane",
                expected="finite numbers",
                todo="run the engine with precision f32, or train it again",
            )
