"""`deepbid_rt.motion.history.MotionCompensatedHistory` on the device: stabilizer, line shifts and memories without a word to the host.

The numpy class is the truth; `tests/runtimes/gpu/test_history.py` compares.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from deepbid_rt.motion import history as truth
from deepbid_rt.motion.temporal_averages import MARGIN
from deepbid_rt.runtimes.gpu.nonrigid import STRIPS, GpuNonrigidMotionEstimator
from deepbid_rt.runtimes.gpu.rigid import FOREIGN, RESTARTED, TRACKED, GpuRigidMotionEstimator
from deepbid_rt.runtimes.gpu.temporal_averages import GpuTemporalAverages


class Seen(NamedTuple):
    """What `GpuHistory.push` answers."""

    motion: Tensor
    """(4,) float64: dy and dx from where the first frame of the reference lay, confidence, number of the verdict."""
    bend: Tensor
    """(2, K) float64: how far each strip of lines lies off that; all 0 where the frame moved as a whole."""
    averages: Tensor
    """(C, M + 1, Y, X); all 0 for a foreign frame."""


class GpuHistory:
    """The past of one plane.

    Parameters
    ----------
    gains, channels, size
        As of `deepbid_rt.motion.history.MotionCompensatedHistory`.
    device : torch.device
        Where it is kept.
    """

    def __init__(self, gains: tuple[float, ...], channels: int, size: tuple[int, int], device: torch.device) -> None:
        self._rigid = GpuRigidMotionEstimator(size, device)
        self._nonrigid = GpuNonrigidMotionEstimator(size, device)
        self._memory = GpuTemporalAverages(gains, channels, size, device)
        self._lines = size[0]
        self._drift = torch.zeros(2, dtype=torch.float64, device=device)
        self._origin = torch.zeros_like(self._drift)  # how far it moved since the reference began, (dy, dx)

    @property
    def rigid(self) -> bool:
        """True when frames are too small to tell how they are bent."""
        return self._nonrigid.rigid

    def reset(self) -> None:
        """Forget everything."""
        self._rigid.reset()
        self._nonrigid.reset()
        self._memory.reset()
        self._drift.zero_()
        self._origin.zero_()

    def skip(self, count: int) -> None:
        """Let `count` frames pass that never came."""
        self._memory.skip(count)

    def push(self, units: Tensor) -> Seen:
        """Take the current frame (C, V, Y, X); return where it lies and what was remembered before it, in its place."""
        frame = units.mean(dim=1)
        together = frame.mean(dim=0)
        motion = self._rigid.push(together)
        place, status = motion[:2], motion[3]
        foreign, restarted = status == FOREIGN, status == RESTARTED
        self._memory.skip(foreign.to(torch.float32))
        self._memory.reset(restarted)
        going = 1.0 - restarted.to(torch.float64)
        self._drift *= going
        self._origin *= going
        bend = self._bent(together, place[:, None], status == TRACKED)
        shifts = place[:, None] + self._nonrigid.spread(bend)
        averages = self._memory.recall(shifts).masked_fill_(foreign, 0.0)
        self._memory.update(torch.nan_to_num(frame, 0.0, 0.0, 0.0), shifts, ~foreign)
        absolute = torch.cat([place + self._origin, motion[2:]])
        self._follow(place, ~foreign)
        return Seen(absolute, bend, averages)

    def _bent(self, frame: Tensor, rigid: Tensor, when: Tensor) -> Tensor:
        """Return how the mean of all channels is bent, 0 unless `when`."""
        if self._nonrigid.rigid:
            return rigid.new_zeros((2, STRIPS))
        whole = torch.round(rigid)
        slowest = self._memory.recall(whole.expand(2, self._lines), depth=1)
        averages = torch.where(slowest[:, 1].amin(dim=0) > 0, slowest[:, 0].mean(dim=0), frame)
        off = rigid - whole
        bend = self._nonrigid.push(frame, averages, off, when) - off
        return torch.where(when, bend, 0.0)

    def _follow(self, place: Tensor, when: Tensor) -> None:
        gain = truth._DRIFT_GAIN * when.to(torch.float64)  # noqa: SLF001  # one truth
        self._drift += gain * (place - self._drift)
        far = (self._drift.abs().max() > MARGIN / 2) & when
        step = torch.round(self._drift).masked_fill_(~far, 0.0)
        self._drift -= step
        self._origin += step
        self._rigid.rebase(step)
        self._memory.rebase(step[0], step[1])
