"""`deepbid_rt.motion.rigid.RigidMotionEstimator` on the device: every decision is a number there, and nothing waits for the host.

Rigid shifts. The numpy class is the truth; `tests/runtimes/gpu/test_history.py` compares.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from deepbid_rt.frame import MotionStatus
from deepbid_rt.motion import rigid as truth

HELD, TRACKED, FOREIGN, RESTARTED = range(4)
"""Verdicts as numbers."""
MOTION_STATUSES: tuple[MotionStatus, ...] = ("held", "tracked", "foreign", "restarted")


class State(NamedTuple):
    """What a stabilizer remembers beside its reference; numbers on the device, in the truth's names."""

    dy: Tensor
    dx: Tensor
    known: Tensor
    tracked: Tensor
    misfits: Tensor
    seen: Tensor
    mean: Tensor
    deviation: Tensor
    grain: Tensor


class Norm(NamedTuple):
    """The part of the state that says what frames usually look like."""

    seen: Tensor
    mean: Tensor
    deviation: Tensor
    grain: Tensor


class GpuRigidMotionEstimator:
    """Estimates the rigid shift of one image per frame.

    Parameters
    ----------
    size : tuple of int
        (Y, X) of the images.
    device : torch.device
        Where the images are.
    """

    def __init__(self, size: tuple[int, int], device: torch.device) -> None:
        plain = truth.RigidMotionEstimator(size)
        self._still = min(size) < truth.LEAST_SIDE
        self._side = plain._side  # noqa: SLF001  # one truth: the same window, band and taper
        self._crop = plain._crop  # noqa: SLF001
        self._pitch = plain._pitch  # noqa: SLF001
        self._taper = torch.from_numpy(plain._taper).to(device)  # noqa: SLF001
        self._band = torch.from_numpy(plain._band).to(device)  # noqa: SLF001
        self._frequencies = [torch.from_numpy(f).to(device) for f in plain._frequencies]  # noqa: SLF001
        high, wide = plain._limits  # noqa: SLF001
        self._limits = high, wide
        self._rows = (torch.arange(-high, high + 1, device=device)) % self._side[0]
        self._columns = (torch.arange(-wide, wide + 1, device=device)) % self._side[1]
        width = 2 * wide + 1
        self._cross = torch.tensor([0, -width, width, -1, 1], device=device)  # a pixel and its neighbours
        self._grid = torch.arange(2 * high + 1, device=device)[:, None], torch.arange(width, device=device)[None]
        self._reference = torch.zeros_like(self._band, dtype=torch.complex64)
        self._state = torch.zeros(len(State._fields), dtype=torch.float64, device=device)

    def reset(self) -> None:
        """Forget the reference."""
        self._reference.zero_()
        self._state.zero_()

    def rebase(self, step: Tensor) -> None:
        """Move the origin by whole pixels (2,), which may be 0."""
        self._state[:2] -= step
        self._reference *= self._turn(step[0], step[1])

    def push(self, image: Tensor) -> Tensor:
        """Say where a frame (Y, X) lies, and let it enter the reference if it fits.

        Returns
        -------
        Tensor
            (4,) float64 on the device: dy, dx, confidence, number of the verdict.
        """
        old = State(*self._state.unbind())
        if self._still:
            return torch.stack([old.dy, old.dx, old.dy * 0, old.dy * 0 + HELD])
        mean = image.mean(dtype=torch.float64)
        grain = (image[1:] - image[:-1]).abs().mean(dtype=torch.float64)
        usable = torch.isfinite(mean + grain) & (grain != 0)
        known = old.known > 0
        stranger = ~usable | ((old.seen > 0) & _differs(old, mean, grain))
        middle = torch.nan_to_num(image, 0.0, 0.0, 0.0)[self._crop]
        if self._pitch > 1:
            middle = torch.nn.functional.avg_pool2d(middle[None], self._pitch)[0]
        spectrum = torch.fft.rfft2((middle - middle.mean()) * self._taper)
        dy, dx, confidence = self._correlate(spectrum)
        confidence = confidence.masked_fill(stranger | ~known, 0.0)
        unsure = known & ~stranger & (confidence < truth._CONFIDENT)  # noqa: SLF001
        misfit = stranger | (unsure & (old.tracked > truth._LOCKED))  # noqa: SLF001
        tracked = known & ~stranger & ~unsure
        misfits = old.misfits + misfit
        again = misfit & (misfits >= truth._PATIENCE) & usable  # noqa: SLF001
        begins = again | (~known & ~stranger)
        count = old.tracked + tracked
        self._enter(spectrum, dy, dx, count, tracked, begins)
        norm = _follow(old, mean, grain, ~stranger)
        anew = norm._replace(seen=norm.seen * 0 + 1, mean=mean, deviation=norm.deviation * 0, grain=grain)
        new = State(
            torch.where(tracked, dy, old.dy).masked_fill(begins, 0.0),
            torch.where(tracked, dx, old.dx).masked_fill(begins, 0.0),
            old.known.masked_fill(begins, 1.0),
            count.masked_fill(begins, 1.0),
            misfits.masked_fill(begins | tracked, 0.0),
            *(torch.where(again, fresh, going) for fresh, going in zip(anew, norm, strict=True)),
        )
        self._state.copy_(torch.stack(new))
        foreign = misfit & ~again
        status = tracked * float(TRACKED) + begins * float(RESTARTED) + foreign * float(FOREIGN) + float(HELD)
        return torch.stack([new.dy, new.dx, confidence.masked_fill(begins, 0.0), status.to(torch.float64)])

    def _enter(self, spectrum: Tensor, dy: Tensor, dx: Tensor, count: Tensor, tracked: Tensor, begins: Tensor) -> None:
        gain = (1 / count.clamp(min=1)).clamp(min=truth._REFERENCE_GAIN).to(torch.float32)  # noqa: SLF001
        change = (spectrum * self._turn(-dy, -dx) - self._reference).masked_fill(~tracked, 0.0)
        self._reference.copy_(torch.where(begins, spectrum, self._reference + gain * change))

    def _correlate(self, spectrum: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reference = self._reference
        amplitude = reference.abs().sqrt()
        amplitude = amplitude + 1e-6 * amplitude.max() + torch.finfo(torch.float32).tiny
        surface = torch.fft.irfft2(spectrum * reference.conj() * (self._band / amplitude), s=self._side)
        near = surface.index_select(0, self._rows).index_select(1, self._columns)
        high, wide = self._limits
        width = 2 * wide + 1
        place = near[1:-1, 1:-1].argmax()
        i, j = place // (width - 2) + 1, place % (width - 2) + 1
        samples = near.flatten().index_select(0, self._cross + i * width + j).to(torch.float64)
        peak, up, down, left, right = samples.unbind()
        rows, columns = self._grid
        rest = ~(((rows - i).abs() <= 4) & ((columns - j).abs() <= 4))
        number = rest.sum()
        wide_near = near.to(torch.float64)
        mean = (wide_near * rest).sum() / number
        spread = (((wide_near - mean) ** 2) * rest).sum().div(number).sqrt()
        confidence = ((peak - mean) / spread).masked_fill_(~(spread > 0), 0.0)
        dy, dx = i - high + _vertex(up, peak, down), j - wide + _vertex(left, peak, right)
        return self._pitch * dy, self._pitch * dx, confidence

    def _turn(self, dy: Tensor, dx: Tensor) -> Tensor:
        y, x = (f / self._pitch for f in self._frequencies)
        angle_y, angle_x = -2 * math.pi * dy * y, -2 * math.pi * dx * x
        one = torch.ones_like
        return torch.polar(one(angle_y), angle_y).to(torch.complex64) * torch.polar(one(angle_x), angle_x).to(
            torch.complex64
        )


def _differs(old: State, mean: Tensor, grain: Tensor) -> Tensor:
    far = (mean - old.mean).abs() > (truth._JUMPS * old.deviation).clamp(min=truth._JUMP)  # noqa: SLF001
    ratio = grain / old.grain.clamp(min=1e-300)
    return far | ~((ratio > 1 / truth._GRAIN) & (ratio < truth._GRAIN))  # noqa: SLF001


def _follow(old: State, mean: Tensor, grain: Tensor, fits: Tensor) -> Norm:
    seen = old.seen + 1
    gain = (1 / seen).clamp(min=truth._NORM_GAIN)  # noqa: SLF001
    moved = Norm(
        seen,
        old.mean + gain * (mean - old.mean),
        old.deviation + gain * ((mean - old.mean).abs() * (seen > 1) - old.deviation),
        old.grain + gain * (grain - old.grain),
    )
    return Norm(*(torch.where(fits, new, kept) for new, kept in zip(moved, old[5:], strict=True)))


def _vertex(before: Tensor, peak: Tensor, after: Tensor) -> Tensor:
    bend = before - 2 * peak + after
    return ((before - after) / (2 * bend)).clamp_(-0.5, 0.5).masked_fill_(~(bend < 0), 0.0)
