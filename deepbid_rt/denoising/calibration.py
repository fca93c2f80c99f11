"""How the frames of one plane become network units and its answers counts again: measured once, constant after that.

Shared by all kinds of lanes. Knows nothing of windows, memories, scans or engines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.errors import StageError
from deepbid_rt.scan.normalizer import Normalizer, calibrate

PlaneFrames = list[tuple[int, NDArray[Any]]]
"""Numbers of frames within their plane, and their views (C, V, Y, X) in raw counts."""

SMALLEST_BIAS = 0.03
"""Network units. First answers know little of the past, and may be off by as much on a rig the network does know."""


class Calibration:
    """Offset and scale of each channel, and the constant error of the engine's mean.

    Parameters
    ----------
    card : ModelCard
        Says whether to measure, and on how many frames.
    channels : int
        C; each channel has its own offset and scale, shared by its views.

    Notes
    -----
    A network answers with a mean that may be off by a fraction of the noise on a rig it was not trained on. The first
    answers show this for each channel, and every answer of the series is corrected by that one number, unless it is
    below `SMALLEST_BIAS`; an average needs no correction.
    """

    def __init__(self, card: ModelCard, channels: int) -> None:
        self._card = card
        self._fixed = card.normalization.rule == "fixed"
        self._normalizers = [Normalizer(card.normalization.offset, card.normalization.scale)] * channels
        self._unbiased = self._fixed or card.kind == "average"
        self._bias: NDArray[np.float64] | None = None  # (C,) network units
        self._waiting: PlaneFrames = []
        self.reset(keep_scale=False)

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until measured."""
        return tuple(self._normalizers) if self._calibrated else None

    @property
    def waiting(self) -> bool:
        """True while frames wait for enough others to measure on."""
        return bool(self._waiting)

    @property
    def bias(self) -> NDArray[np.float64] | None:
        """Constant error of the engine's mean (C,), network units; None until measured."""
        return self._bias

    def push(self, plane_frame: int, views: NDArray[Any]) -> PlaneFrames:
        """Take a frame and return those that can be worked on now: none, all that waited, or this one."""
        if self._calibrated:
            return [(plane_frame, views)]
        self._waiting.append((plane_frame, views.copy()))
        return self.measure() if len(self._waiting) == self._card.normalization.frames else []

    def measure(self) -> PlaneFrames:
        """Measure on the frames that wait, however few, and return them."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            frames = np.stack([views for _, views in waiting])  # (T, C, V, Y, X)
            self._normalizers = [self._measured(frames[:, channel]) for channel in range(frames.shape[1])]
            self._calibrated = True
        return waiting

    def _measured(self, counts: NDArray[Any]) -> Normalizer:
        rule, measured = self._card.normalization, calibrate(counts)
        if rule.rule == "calibrate":
            return measured
        finite = counts[np.isfinite(counts)]
        lowest = float(finite.min()) if finite.size else 0.0
        return Normalizer(measured.offset if rule.rule == "mean" else lowest, rule.scale)

    def reset(self, *, keep_scale: bool) -> None:
        """Forget the frames that wait; without `keep_scale`, measure anew on the next frames."""
        self._waiting.clear()
        if not keep_scale:
            self._calibrated = self._fixed
            self._bias = np.zeros(len(self._normalizers)) if self._unbiased else None

    def apply(self, views: NDArray[Any]) -> NDArray[np.float32]:
        """Map (C, V, Y, X) raw counts to network units."""
        return np.stack([n.apply(channel) for n, channel in zip(self._normalizers, views, strict=True)])

    def restore(self, answers: NDArray[np.float32], mean_bias: NDArray[np.float64], before: int) -> NDArray[np.float32]:
        """Map answers back to counts.

        Parameters
        ----------
        answers : ndarray
            (T, C, V, Y, X) in network units; overwritten.
        mean_bias : ndarray
            (C,) mean of the answers less that of what was given, network units; looked at until `bias` is measured.
        before : int
            Tick that follows the frames seen, for the error's message.

        Raises
        ------
        StageError
            When an answer is not finite.
        """
        self.check(answers.sum(dtype=np.float64), before)  # one pass; float32 would overflow on float movies
        bias = self.correct(mean_bias)
        for c, normalizer in enumerate(self._normalizers):
            answers[:, c] = normalizer.restore(answers[:, c], np.float32)
            answers[:, c] -= np.float32(bias[c] * normalizer.scale)
        return answers

    def correct(self, mean_bias: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the constant error (C,) of the engine's mean, learned from `mean_bias` (as of `restore`) once."""
        if self._bias is None:
            self._bias = np.where(np.abs(mean_bias) < SMALLEST_BIAS, 0.0, mean_bias)
        return self._bias

    def check(self, total: float, before: int) -> None:
        """Raise `StageError` unless `total`, a sum over answers before tick `before`, is finite."""
        if not np.isfinite(total):
            raise StageError(
                f"engine {self._card.name!r} answered values that are not finite, in the window before frame "
                f"{before} of its plane",
                expected="finite numbers",
                todo="run it with --precision f32, or train it anew",
            )
