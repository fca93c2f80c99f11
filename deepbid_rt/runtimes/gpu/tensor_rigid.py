"""`TensorRigidMotionEstimator`: rigid motion in torch operations.

Every decision is a number on the device, and nothing waits for the host. Reference implementation:
`deepbid_rt.motion.rigid.RigidMotionEstimator`; ``tests/runtimes/gpu/test_tensor_history.py`` compares.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from deepbid_rt.motion.rigid import LEAST_SIDE, RIGID_SETTINGS, correlation_tables
from deepbid_rt.runtimes.gpu.motion_numbers import FOREIGN, HELD, RESTARTED, TRACKED


class RigidState(NamedTuple):
    """The attributes of `RigidMotionEstimator` beside its reference, as numbers on the device."""

    dy: Tensor
    dx: Tensor
    has_reference: Tensor
    """1 once there is a reference, else 0."""
    tracked: Tensor
    misfits: Tensor
    compared: Tensor
    mean: Tensor
    deviation: Tensor
    grain: Tensor


class BrightnessNorm(NamedTuple):
    """The part of the state that new frames are compared with."""

    compared: Tensor
    mean: Tensor
    deviation: Tensor
    grain: Tensor


class TensorRigidMotionEstimator:
    """Estimates the rigid shift of one image per frame.

    Parameters
    ----------
    size : tuple of int
        (Y, X) of the images.
    device : torch.device
        Where the images are.
    """

    def __init__(self, size: tuple[int, int], device: torch.device) -> None:
        tables = correlation_tables(size)
        self._still = min(size) < LEAST_SIDE
        self._side, self._crop, self._pitch = tables.side, tables.crop, tables.pitch
        self._taper = torch.from_numpy(tables.taper).to(device)
        self._band = torch.from_numpy(tables.band).to(device)
        self._frequencies = [torch.from_numpy(f).to(device) for f in tables.frequencies]
        self._limits = limit_y, limit_x = tables.limits
        self._rows = (torch.arange(-limit_y, limit_y + 1, device=device)) % self._side[0]
        self._columns = (torch.arange(-limit_x, limit_x + 1, device=device)) % self._side[1]
        width = 2 * limit_x + 1
        self._cross = torch.tensor([0, -width, width, -1, 1], device=device)  # a pixel and its four neighbours
        self._grid = torch.arange(2 * limit_y + 1, device=device)[:, None], torch.arange(width, device=device)[None]
        self._reference = torch.zeros_like(self._band, dtype=torch.complex64)
        self._state = torch.zeros(len(RigidState._fields), dtype=torch.float64, device=device)

    def reset(self) -> None:
        """Forget the reference."""
        self._reference.zero_()
        self._state.zero_()

    def rebase(self, step: Tensor) -> None:
        """Move the origin by whole pixels (2,), which may be 0."""
        self._state[:2] -= step
        self._reference *= self._shift_factor(step[0], step[1])

    def push(self, image: Tensor) -> Tensor:
        """Return the shift of a frame (Y, X), and average the frame into the reference if it fits.

        Returns
        -------
        Tensor
            (4,) float64 on the device: dy, dx, confidence, number of the status (see `motion_numbers`).
        """
        old = RigidState(*self._state.unbind())
        if self._still:
            return torch.stack([old.dy, old.dx, old.dy * 0, old.dy * 0 + HELD])
        mean = image.mean(dtype=torch.float64)
        grain = (image[1:] - image[:-1]).abs().mean(dtype=torch.float64)
        usable = torch.isfinite(mean + grain) & (grain != 0)
        begun = old.has_reference > 0
        different = ~usable | ((old.compared > 0) & _differs(old, mean, grain))
        middle = torch.nan_to_num(image, 0.0, 0.0, 0.0)[self._crop]
        if self._pitch > 1:
            middle = torch.nn.functional.avg_pool2d(middle[None], self._pitch)[0]
        spectrum = torch.fft.rfft2((middle - middle.mean()) * self._taper)
        dy, dx, confidence = self._correlate(spectrum)
        confidence = confidence.masked_fill(different | ~begun, 0.0)
        unsure = begun & ~different & (confidence < RIGID_SETTINGS.confident)
        misfit = different | (unsure & (old.tracked > RIGID_SETTINGS.locked))
        tracked = begun & ~different & ~unsure
        misfits = old.misfits + misfit
        again = misfit & (misfits >= RIGID_SETTINGS.patience) & usable
        restarts = again | (~begun & ~different)
        count = old.tracked + tracked
        self._update_reference(spectrum, dy, dx, count, tracked, restarts)
        norm = _updated_norm(old, mean, grain, ~different)
        first = norm._replace(compared=norm.compared * 0 + 1, mean=mean, deviation=norm.deviation * 0, grain=grain)
        new = RigidState(
            torch.where(tracked, dy, old.dy).masked_fill(restarts, 0.0),
            torch.where(tracked, dx, old.dx).masked_fill(restarts, 0.0),
            old.has_reference.masked_fill(restarts, 1.0),
            count.masked_fill(restarts, 1.0),
            misfits.masked_fill(restarts | tracked, 0.0),
            *(torch.where(again, fresh, updated) for fresh, updated in zip(first, norm, strict=True)),
        )
        self._state.copy_(torch.stack(new))
        foreign = misfit & ~again
        status = tracked * float(TRACKED) + restarts * float(RESTARTED) + foreign * float(FOREIGN) + float(HELD)
        return torch.stack([new.dy, new.dx, confidence.masked_fill(restarts, 0.0), status.to(torch.float64)])

    def _update_reference(
        self, spectrum: Tensor, dy: Tensor, dx: Tensor, count: Tensor, tracked: Tensor, restarts: Tensor
    ) -> None:
        gain = (1 / count.clamp(min=1)).clamp(min=RIGID_SETTINGS.reference_gain).to(torch.float32)
        change = (spectrum * self._shift_factor(-dy, -dx) - self._reference).masked_fill(~tracked, 0.0)
        self._reference.copy_(torch.where(restarts, spectrum, self._reference + gain * change))

    def _correlate(self, spectrum: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reference = self._reference
        amplitude = reference.abs().sqrt()
        amplitude = amplitude + 1e-6 * amplitude.max() + torch.finfo(torch.float32).tiny
        surface = torch.fft.irfft2(spectrum * reference.conj() * (self._band / amplitude), s=self._side)
        near = surface.index_select(0, self._rows).index_select(1, self._columns)
        limit_y, limit_x = self._limits
        width = 2 * limit_x + 1
        place = near[1:-1, 1:-1].argmax()
        i, j = place // (width - 2) + 1, place % (width - 2) + 1
        samples = near.flatten().index_select(0, self._cross + i * width + j).to(torch.float64)
        peak, up, down, left, right = samples.unbind()
        rows, columns = self._grid
        rest = ~(((rows - i).abs() <= 4) & ((columns - j).abs() <= 4))
        number = rest.sum()
        exact = near.to(torch.float64)
        mean = (exact * rest).sum() / number
        spread = (((exact - mean) ** 2) * rest).sum().div(number).sqrt()
        confidence = ((peak - mean) / spread).masked_fill_(~(spread > 0), 0.0)
        dy, dx = i - limit_y + _vertex(up, peak, down), j - limit_x + _vertex(left, peak, right)
        return self._pitch * dy, self._pitch * dx, confidence

    def _shift_factor(self, dy: Tensor, dx: Tensor) -> Tensor:
        y, x = (f / self._pitch for f in self._frequencies)
        angle_y, angle_x = -2 * math.pi * dy * y, -2 * math.pi * dx * x
        one = torch.ones_like
        return torch.polar(one(angle_y), angle_y).to(torch.complex64) * torch.polar(one(angle_x), angle_x).to(
            torch.complex64
        )


def _differs(old: RigidState, mean: Tensor, grain: Tensor) -> Tensor:
    settings = RIGID_SETTINGS
    far = (mean - old.mean).abs() > (settings.jumps * old.deviation).clamp(min=settings.jump)
    ratio = grain / old.grain.clamp(min=1e-300)
    return far | ~((ratio > 1 / settings.grain) & (ratio < settings.grain))


def _updated_norm(old: RigidState, mean: Tensor, grain: Tensor, fits: Tensor) -> BrightnessNorm:
    compared = old.compared + 1
    gain = (1 / compared).clamp(min=RIGID_SETTINGS.norm_gain)
    moved = BrightnessNorm(
        compared,
        old.mean + gain * (mean - old.mean),
        old.deviation + gain * ((mean - old.mean).abs() * (compared > 1) - old.deviation),
        old.grain + gain * (grain - old.grain),
    )
    return BrightnessNorm(*(torch.where(fits, new, kept) for new, kept in zip(moved, old[5:], strict=True)))


def _vertex(before: Tensor, peak: Tensor, after: Tensor) -> Tensor:
    curvature = before - 2 * peak + after
    return ((before - after) / (2 * curvature)).clamp_(-0.5, 0.5).masked_fill_(~(curvature < 0), 0.0)
