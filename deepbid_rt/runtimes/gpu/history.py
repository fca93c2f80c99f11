"""`deepbid_rt.motion.history.MotionCompensatedHistory` on the device: stabilizer, line shifts and memories without a word to the host.

The numpy class is the truth; `tests/test_gpu_past.py` compares.
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
    """What `GpuHistory.see` answers."""

    motion: Tensor
    """(4,) float64: dy and dx from where the first frame of the reference lay, confidence, number of the verdict."""
    bend: Tensor
    """(2, K) float64: how far each strip of lines lies off that; all 0 where the frame moved as a whole."""
    remembered: Tensor
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
        self._stabilizer = GpuRigidMotionEstimator(size, device)
        self._line_shifts = GpuNonrigidMotionEstimator(size, device)
        self._memory = GpuTemporalAverages(gains, channels, size, device)
        self._lines = size[0]
        self._drift = torch.zeros(2, dtype=torch.float64, device=device)
        self._origin = torch.zeros_like(self._drift)  # how far it moved since the reference began, (dy, dx)

    @property
    def rigid(self) -> bool:
        """True when frames are too small to tell how they are bent."""
        return self._line_shifts.rigid

    def reset(self) -> None:
        """Forget everything."""
        self._stabilizer.restart()
        self._line_shifts.restart()
        self._memory.reset()
        self._drift.zero_()
        self._origin.zero_()

    def skip(self, count: int) -> None:
        """Let `count` frames pass that never came."""
        self._memory.skip(count)

    def see(self, units: Tensor) -> Seen:
        """Take the current frame (C, V, Y, X); return where it lies and what was remembered before it, in its place."""
        frame = units.mean(dim=1)
        together = frame.mean(dim=0)
        motion = self._stabilizer.estimate(together)
        place, verdict = motion[:2], motion[3]
        foreign, restarted = verdict == FOREIGN, verdict == RESTARTED
        self._memory.skip(foreign.to(torch.float32))
        self._memory.reset(restarted)
        going = 1.0 - restarted.to(torch.float64)
        self._drift *= going
        self._origin *= going
        bend = self._bent(together, place[:, None], verdict == TRACKED)
        shifts = place[:, None] + self._line_shifts.spread(bend)
        remembered = self._memory.recall(shifts).masked_fill_(foreign, 0.0)
        self._memory.update(torch.nan_to_num(frame, 0.0, 0.0, 0.0), shifts, ~foreign)
        absolute = torch.cat([place + self._origin, motion[2:]])
        self._follow(place, ~foreign)
        return Seen(absolute, bend, remembered)

    def _bent(self, frame: Tensor, rigid: Tensor, when: Tensor) -> Tensor:
        """Return how the mean of all channels is bent, 0 unless `when`."""
        if self._line_shifts.rigid:
            return rigid.new_zeros((2, STRIPS))
        whole = torch.round(rigid)
        slowest = self._memory.recall(whole.expand(2, self._lines), depth=1)
        remembered = torch.where(slowest[:, 1].amin(dim=0) > 0, slowest[:, 0].mean(dim=0), frame)
        off = rigid - whole
        bend = self._line_shifts.estimate(frame, remembered, off, when) - off
        return torch.where(when, bend, 0.0)

    def _follow(self, place: Tensor, when: Tensor) -> None:
        gain = truth._DRIFT_GAIN * when.to(torch.float64)  # noqa: SLF001  # one truth
        self._drift += gain * (place - self._drift)
        far = (self._drift.abs().max() > MARGIN / 2) & when
        step = torch.round(self._drift).masked_fill_(~far, 0.0)
        self._drift -= step
        self._origin += step
        self._stabilizer.rebase(step)
        self._memory.rebase(step[0], step[1])
