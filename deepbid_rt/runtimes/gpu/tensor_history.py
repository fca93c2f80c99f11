"""`TensorHistory`: motion and temporal averages of one plane in torch operations; nothing waits for the host.

Reference implementation: `deepbid_rt.motion.history.MotionCompensatedHistory`;
``tests/runtimes/gpu/test_tensor_history.py`` compares.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from deepbid_rt.motion.history import DRIFT_GAIN
from deepbid_rt.motion.temporal_averages import MARGIN
from deepbid_rt.runtimes.gpu.motion_numbers import FOREIGN, RESTARTED, STRIPS, TRACKED
from deepbid_rt.runtimes.gpu.tensor_averages import TensorTemporalAverages
from deepbid_rt.runtimes.gpu.tensor_nonrigid import TensorNonrigidMotionEstimator
from deepbid_rt.runtimes.gpu.tensor_rigid import TensorRigidMotionEstimator


class CompensatedTensors(NamedTuple):
    """Result of `TensorHistory.push`."""

    motion: Tensor
    """(4,) float64: dy and dx from the place of the first frame of the reference, confidence, number of the status."""
    strips: Tensor
    """(2, K) float64: dy and dx of each strip of lines off that; all 0 where the frame moved as a whole."""
    averages: Tensor
    """(C, M + 1, Y, X) in the place of the frame; all 0 for a foreign frame."""


class TensorHistory:
    """Motion and temporal averages of one plane.

    Parameters
    ----------
    gains, channels, size
        See `deepbid_rt.motion.history.MotionCompensatedHistory`.
    device : torch.device
        Where all tensors are.
    """

    def __init__(self, gains: tuple[float, ...], channels: int, size: tuple[int, int], device: torch.device) -> None:
        self._rigid = TensorRigidMotionEstimator(size, device)
        self._nonrigid = TensorNonrigidMotionEstimator(size, device)
        self._averages = TensorTemporalAverages(gains, channels, size, device)
        self._lines = size[0]
        self._drift = torch.zeros(2, dtype=torch.float64, device=device)
        self._origin = torch.zeros_like(self._drift)  # (dy, dx) by which it moved since the reference began

    @property
    def rigid(self) -> bool:
        """True when frames are too small for shifts of strips."""
        return self._nonrigid.rigid

    def reset(self) -> None:
        """Forget everything."""
        self._rigid.reset()
        self._nonrigid.reset()
        self._averages.reset()
        self._drift.zero_()
        self._origin.zero_()

    def skip(self, count: int) -> None:
        """Make the averages older by `count` frames that never came."""
        self._averages.skip(count)

    def push(self, units: Tensor) -> CompensatedTensors:
        """Return the motion of a frame (C, V, Y, X) and the averages of the frames before it, in its place."""
        frame = units.mean(dim=1)
        together = frame.mean(dim=0)
        motion = self._rigid.push(together)
        place, status = motion[:2], motion[3]
        foreign, restarted = status == FOREIGN, status == RESTARTED
        self._averages.skip(foreign.to(torch.float32))
        self._averages.reset(restarted)
        keep = 1.0 - restarted.to(torch.float64)
        self._drift *= keep
        self._origin *= keep
        strips = self._strips_of(together, place[:, None], status == TRACKED)
        shifts = place[:, None] + self._nonrigid.spread(strips)
        averages = self._averages.recall(shifts).masked_fill_(foreign, 0.0)
        self._averages.update(torch.nan_to_num(frame, 0.0, 0.0, 0.0), shifts, ~foreign)
        absolute = torch.cat([place + self._origin, motion[2:]])
        self._follow_drift(place, ~foreign)
        return CompensatedTensors(absolute, strips, averages)

    def _strips_of(self, frame: Tensor, rigid: Tensor, when: Tensor) -> Tensor:
        """Return the shifts of strips off the rigid shift, from the mean of all channels; 0 unless `when`."""
        if self._nonrigid.rigid:
            return rigid.new_zeros((2, STRIPS))
        whole = torch.round(rigid)
        slowest = self._averages.recall(whole.expand(2, self._lines), depth=1)
        averages = torch.where(slowest[:, 1].amin(dim=0) > 0, slowest[:, 0].mean(dim=0), frame)
        off = rigid - whole
        strips = self._nonrigid.push(frame, averages, off, when) - off
        return torch.where(when, strips, 0.0)

    def _follow_drift(self, place: Tensor, when: Tensor) -> None:
        """Move the origin when the tissue has drifted half way out of the averages."""
        gain = DRIFT_GAIN * when.to(torch.float64)
        self._drift += gain * (place - self._drift)
        far = (self._drift.abs().max() > MARGIN / 2) & when
        step = torch.round(self._drift).masked_fill_(~far, 0.0)
        self._drift -= step
        self._origin += step
        self._rigid.rebase(step)
        self._averages.rebase(step[0], step[1])
