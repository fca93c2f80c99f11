"""`deepbid_rt.stabilizer.Stabilizer` on the device: every decision is a number there, and nothing waits for the host.

Rigid shifts. The numpy class is the truth; `tests/test_gpu_past.py` compares.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepbid_rt import stabilizer as truth

HELD, TRACKED, FOREIGN, RESTARTED = range(4)
"""Verdicts as numbers."""
VERDICTS = ("held", "tracked", "foreign", "restarted")


class GpuStabilizer:
    """Estimates the rigid shift of one image per frame.

    Parameters
    ----------
    size : tuple of int
        (Y, X) of the images.
    device : torch.device
        Where the images are.
    """

    def __init__(self, size: tuple[int, int], device: torch.device) -> None:
        plain = truth.Stabilizer(size)
        self._still = min(size) < truth.LEAST_SIDE
        self._side = plain._side  # noqa: SLF001  # one truth: the same window, band and taper
        self._crop = plain._crop  # noqa: SLF001
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
        zero = torch.zeros((), dtype=torch.float64, device=device)
        names = ("known", "tracked", "misfits", "seen", "mean", "deviation", "grain", "dy", "dx")
        self._state: dict[str, Tensor] = {name: zero.clone() for name in names}

    def restart(self) -> None:
        """Forget the reference."""
        self._reference.zero_()
        for value in self._state.values():
            value.zero_()

    def rebase(self, dy: Tensor, dx: Tensor) -> None:
        """Move the origin by whole pixels, which may be 0."""
        self._state["dy"] -= dy
        self._state["dx"] -= dx
        self._reference *= self._turn(dy, dx)

    def estimate(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Say where a frame (Y, X) lies, and let it enter the reference if it fits.

        Returns
        -------
        dy, dx, confidence, verdict : Tensor
            Numbers, float64, on the device.
        """
        s = self._state
        if self._still:
            return s["dy"], s["dx"], s["dy"] * 0, s["dy"] * 0 + HELD
        mean = image.mean(dtype=torch.float64)
        grain = (image[1:] - image[:-1]).abs().mean(dtype=torch.float64)
        usable = torch.isfinite(mean + grain) & (grain != 0)
        known = s["known"] > 0
        stranger = ~usable | ((s["seen"] > 0) & self._differs(mean, grain))
        self._follow(mean, grain, ~stranger)
        middle = torch.nan_to_num(image, 0.0, 0.0, 0.0)[self._crop]
        spectrum = torch.fft.rfft2((middle - middle.mean()) * self._taper)
        dy, dx, confidence = self._correlate(spectrum)
        confidence = confidence.masked_fill(stranger | ~known, 0.0)
        unsure = known & ~stranger & (confidence < truth._CONFIDENT)  # noqa: SLF001
        misfit = stranger | (unsure & (s["tracked"] > truth._LOCKED))  # noqa: SLF001
        tracked = known & ~stranger & ~unsure
        misfits = s["misfits"] + misfit
        again = misfit & (misfits >= truth._PATIENCE) & usable  # noqa: SLF001
        begins = again | (~known & ~stranger)
        self._commit(spectrum, dy, dx, misfits, tracked, begins, again, (mean, grain))
        foreign = misfit & ~again
        verdict = tracked * float(TRACKED) + begins * float(RESTARTED) + foreign * float(FOREIGN) + float(HELD)
        return s["dy"] * 1, s["dx"] * 1, confidence.masked_fill(begins, 0.0), verdict.to(torch.float64)

    def _differs(self, mean: Tensor, grain: Tensor) -> Tensor:
        s = self._state
        far = (mean - s["mean"]).abs() > torch.clamp(truth._JUMPS * s["deviation"], min=truth._JUMP)  # noqa: SLF001
        ratio = grain / torch.clamp(s["grain"], min=1e-300)
        return far | ~((ratio > 1 / truth._GRAIN) & (ratio < truth._GRAIN))  # noqa: SLF001

    def _follow(self, mean: Tensor, grain: Tensor, fits: Tensor) -> None:
        s = self._state
        seen = s["seen"] + 1
        gain = torch.clamp(1 / seen, min=truth._NORM_GAIN)  # noqa: SLF001
        distance = (mean - s["mean"]).abs() * (seen > 1)
        for name, to in (("deviation", distance), ("mean", mean), ("grain", grain)):
            s[name].copy_(torch.where(fits, s[name] + gain * (to - s[name]), s[name]))
        s["seen"].copy_(torch.where(fits, seen, s["seen"]))

    def _commit(
        self,
        spectrum: Tensor,
        dy: Tensor,
        dx: Tensor,
        misfits: Tensor,
        tracked: Tensor,
        begins: Tensor,
        again: Tensor,
        norm: tuple[Tensor, Tensor],
    ) -> None:
        s = self._state
        count = s["tracked"] + tracked
        gain = torch.clamp(1 / torch.clamp(count, min=1), min=truth._REFERENCE_GAIN).to(torch.float32)  # noqa: SLF001
        aligned = spectrum * self._turn(-dy, -dx) - self._reference
        moved = self._reference + gain * aligned.masked_fill_(~tracked, 0.0)
        self._reference.copy_(torch.where(begins, spectrum, moved))
        s["tracked"].copy_(count.masked_fill(begins, 1.0))
        s["misfits"].copy_(misfits.masked_fill(begins | tracked, 0.0))
        s["dy"].copy_(torch.where(tracked, dy, s["dy"]).masked_fill_(begins, 0.0))
        s["dx"].copy_(torch.where(tracked, dx, s["dx"]).masked_fill_(begins, 0.0))
        s["known"].masked_fill_(begins, 1.0)
        for name, number in (("seen", 1.0), ("deviation", 0.0)):
            s[name].masked_fill_(again, number)
        for name, value in zip(("mean", "grain"), norm, strict=True):
            s[name].copy_(torch.where(again, value, s[name]))

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
        return i - high + _vertex(up, peak, down), j - wide + _vertex(left, peak, right), confidence

    def _turn(self, dy: Tensor, dx: Tensor) -> Tensor:
        y, x = self._frequencies
        angle_y, angle_x = -2 * math.pi * dy * y, -2 * math.pi * dx * x
        one = torch.ones_like
        return torch.polar(one(angle_y), angle_y).to(torch.complex64) * torch.polar(one(angle_x), angle_x).to(
            torch.complex64
        )


def _vertex(before: Tensor, peak: Tensor, after: Tensor) -> Tensor:
    bend = before - 2 * peak + after
    return ((before - after) / (2 * bend)).clamp_(-0.5, 0.5).masked_fill_(~(bend < 0), 0.0)
