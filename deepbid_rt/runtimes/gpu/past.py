"""`deepbid_rt.past.Past` on the device, for rigid shifts: stabilizer and memories without a word to the host.

Motion within a frame, which the numpy class follows by strips of lines, is not followed here yet. The numpy classes
are the truth; `tests/test_gpu_past.py` compares.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepbid_rt import past as truth
from deepbid_rt.memory import MARGIN
from deepbid_rt.runtimes.gpu.stabilizer import FOREIGN, RESTARTED, GpuStabilizer


class GpuMemory:
    """Exponential averages of all channels, in coordinates of the tissue.

    Parameters
    ----------
    gains : tuple of float
        Weight of the newest frame in each average (M).
    channels : int
        C.
    size : tuple of int
        (Y, X) of a frame.
    device : torch.device
        Where it is kept.
    """

    def __init__(self, gains: tuple[float, ...], channels: int, size: tuple[int, int], device: torch.device) -> None:
        self._gains = torch.tensor(gains, dtype=torch.float32, device=device)[:, None, None]
        self._room = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
        self._lines = [torch.arange(n, device=device) for n in size]
        self._places = [torch.arange(n, device=device) for n in self._room]
        self._size = size
        self._means = torch.zeros((channels, len(gains), *self._room), device=device)
        self._weights = torch.zeros((len(gains), *self._room), device=device)  # all channels see the same places

    def reset(self, when: Tensor | bool = True) -> None:
        """Forget everything, if a number on the device says so."""
        keep = 1.0 - torch.as_tensor(when, device=self._means.device).to(torch.float32)
        self._means *= keep
        self._weights *= keep

    def skip(self, count: Tensor | int) -> None:
        """Let frames pass that show nothing."""
        self._weights *= (1 - self._gains) ** count

    def rebase(self, dy: Tensor, dx: Tensor) -> None:
        """Move the origin by whole pixels, which may be 0."""
        of = [place - d.to(torch.int64) for place, d in zip(self._places, (dy, dx), strict=True)]
        inside = [(p >= 0) & (p < n) for p, n in zip(of, self._room, strict=True)]
        known = inside[0][:, None] & inside[1][None]
        rows, columns = (p.clamp(0, n - 1) for p, n in zip(of, self._room, strict=True))
        for state in (self._means, self._weights):
            state.copy_(state.index_select(-2, rows).index_select(-1, columns).masked_fill_(~known, 0.0))

    def update(self, image: Tensor, dy: Tensor, dx: Tensor, when: Tensor) -> None:
        """Let a frame (C, Y, X) enter that lies at (dy, dx), if `when`."""
        of = [p - (MARGIN - torch.floor(d + 0.5).to(torch.int64)) for p, d in zip(self._places, (dy, dx), strict=True)]
        inside = [(p >= 0) & (p < n) for p, n in zip(of, self._size, strict=True)]
        enters = inside[0][:, None] & inside[1][None] & when
        rows, columns = (p.clamp(0, n - 1) for p, n in zip(of, self._size, strict=True))
        frame = image.index_select(1, rows).index_select(2, columns)[:, None]
        weights = self._weights * (1 - self._gains) + self._gains
        step = (self._gains / weights).masked_fill_(~enters, 0.0)
        self._means += step * (frame - self._means)
        self._weights.copy_(torch.where(enters, weights, self._weights))

    def recall(self, dy: Tensor, dx: Tensor) -> Tensor:
        """Return (C, M + 1, Y, X) as `deepbid_rt.memory.Memory.recall` does."""
        tops, parts = [], []
        for shift in (dy, dx):
            whole = torch.floor(MARGIN - shift)
            tops.append(whole.to(torch.int64))
            parts.append((MARGIN - shift - whole).to(torch.float32))
        places = [lines + top for lines, top in zip(self._lines, tops, strict=True)]
        inside = [(p >= 1) & (p < n - 2) for p, n in zip(places, self._room, strict=True)]
        seen = (self._weights[-1] > 0).to(torch.float32)
        state = torch.cat([self._means.flatten(0, 1), seen[None]])
        for axis, (place, part, room) in enumerate(zip(places, parts, self._room, strict=True), start=-2):
            weights = _cubic(part)
            total, known = None, None
            for step in range(4):
                taken = state.index_select(axis, (place + step - 1).clamp(0, room - 1))
                term = taken[:-1] * weights[step]
                needed = torch.where((part == 0) & (step != 1), 1.0, taken[-1])
                total = term if total is None else total + term
                known = needed if known is None else known * needed
            state = torch.cat([total, known[None]])  # type: ignore[list-item, index]  # four steps leave neither None
        rows, columns = (p.clamp(0, n - 1) for p, n in zip(places, self._room, strict=True))
        weight = self._weights[-1].index_select(0, rows).index_select(1, columns)
        known = (state[-1] > 0) & inside[0][:, None] & inside[1][None]
        means = state[:-1].view(*self._means.shape[:2], *self._size)
        weight = weight.expand(means.shape[0], 1, *self._size)
        return torch.cat([means, weight], dim=1).masked_fill_(~known, 0.0)


class GpuPast:
    """The past of one plane.

    Parameters
    ----------
    gains, channels, size
        As of `deepbid_rt.past.Past`.
    device : torch.device
        Where it is kept.
    """

    def __init__(self, gains: tuple[float, ...], channels: int, size: tuple[int, int], device: torch.device) -> None:
        self._stabilizer = GpuStabilizer(size, device)
        self._memory = GpuMemory(gains, channels, size, device)
        self._drift = torch.zeros(2, dtype=torch.float64, device=device)

    def reset(self) -> None:
        """Forget everything."""
        self._stabilizer.restart()
        self._memory.reset()
        self._drift.zero_()

    def skip(self, count: int) -> None:
        """Let `count` frames pass that never came."""
        self._memory.skip(count)

    def see(self, units: Tensor) -> tuple[Tensor, Tensor]:
        """Take the current frame (C, V, Y, X).

        Returns
        -------
        motion : Tensor
            (4,) float64: dy, dx, confidence, number of the verdict.
        remembered : Tensor
            (C, M + 1, Y, X); all 0 for a foreign frame.
        """
        frame = units.mean(dim=1)
        motion = self._stabilizer.estimate(frame.mean(dim=0))
        dy, dx, _, verdict = motion.unbind()
        foreign, restarted = verdict == FOREIGN, verdict == RESTARTED
        self._memory.skip(foreign.to(torch.float32))
        self._memory.reset(restarted)
        self._drift *= 1.0 - restarted.to(torch.float64)
        remembered = self._memory.recall(dy, dx).masked_fill_(foreign, 0.0)
        self._memory.update(torch.nan_to_num(frame, 0.0, 0.0, 0.0), dy, dx, ~foreign)
        self._follow(dy, dx, ~foreign)
        return motion, remembered

    def _follow(self, dy: Tensor, dx: Tensor, when: Tensor) -> None:
        gain = truth._DRIFT_GAIN * when.to(torch.float64)  # noqa: SLF001  # one truth
        self._drift += gain * (torch.stack([dy, dx]) - self._drift)
        far = (self._drift.abs().max() > MARGIN / 2) & when
        step = torch.round(self._drift).masked_fill_(~far, 0.0)
        self._drift -= step
        self._stabilizer.rebase(step)
        self._memory.rebase(step[0], step[1])


def _cubic(part: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the weights of four neighbours for a place between the middle two (Catmull-Rom)."""
    square, cube = part * part, part * part * part
    return (
        -0.5 * part + square - 0.5 * cube,
        1 - 2.5 * square + 1.5 * cube,
        0.5 * part + 2 * square - 1.5 * cube,
        -0.5 * square + 0.5 * cube,
    )
