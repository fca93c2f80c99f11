"""`deepbid_rt.motion.temporal_averages.TemporalAverages` of all channels on the device: every line of a frame enters and is recalled where it lies.

Shapes are fixed and nothing waits for the host. The numpy class is the truth; `tests/runtimes/gpu/test_history.py` compares.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepbid_rt.motion.temporal_averages import MARGIN

_TALL = 512
"""Lines from which on no place is shown more than twice: a strip's shift changes by half a pixel a line at most."""

_CUBIC = ((0.0, -0.5, 1.0, -0.5), (1.0, 0.0, -2.5, 1.5), (0.0, 0.5, 2.0, -1.5), (0.0, 0.0, -0.5, 0.5))
"""Weight of each neighbour by powers of how far a place lies beyond the second (Catmull and Rom 1974)."""


class GpuTemporalAverages:
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

    Notes
    -----
    Lines that tissue overtakes show one place several times, and enter it one after the other as on the host: two
    lines of a frame of 512 lines or more, which is all that `deepbid_rt.motion.nonrigid.NonrigidMotionEstimator` can answer there, and
    four of a smaller one, where a fifth (tissue that moves as fast as the scan) is left out.
    """

    def __init__(self, gains: tuple[float, ...], channels: int, size: tuple[int, int], device: torch.device) -> None:
        self._gains = torch.tensor(gains, dtype=torch.float32, device=device)[:, None, None]
        self._room = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
        self._lines = torch.arange(size[0], device=device)
        self._places = [torch.arange(n, device=device) for n in self._room]
        self._neighbours = torch.arange(-1, size[1] + 2, device=device)
        self._first = torch.stack([self._lines, torch.zeros_like(self._lines)])
        self._four = torch.arange(-1, 3, device=device)[:, None]
        self._is_second = self._four == 0
        self._second = self._is_second.to(torch.float32).expand(1, 2, -1, size[0])
        self._cubic = torch.tensor(_CUBIC, dtype=torch.float64, device=device)
        self._size = size
        self._turns = 2 if size[0] >= _TALL else 4
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

    def update(self, image: Tensor, shifts: Tensor, when: Tensor) -> None:
        """Let a frame (C, Y, X) enter whose lines lie at `shifts` (2, Y), if `when`."""
        whole = torch.floor(shifts + 0.5).to(torch.int64)
        to, begin = self._lines + MARGIN - whole[0], MARGIN - whole[1]
        earlier = (to[:, None] == to[None]) & (self._lines[:, None] > self._lines[None])
        turns = earlier.sum(dim=1)
        room = self._room[0]
        inside = (to >= 0) & (to < room)
        for turn in range(self._turns):
            # Which line enters each row of the state now; what enters none goes to a row beyond the last.
            index = torch.where(inside & (turns == turn), to, room)
            line = torch.full((room + 1,), -1, device=to.device).scatter(0, index, self._lines)[:room]
            self._enter(image, line.clamp(min=0), begin, (line >= 0) & when)

    def _enter(self, image: Tensor, line: Tensor, begin: Tensor, when: Tensor) -> None:
        """Average line `line[r]` of the image, which begins at column `begin[line[r]]`, into each row r, if `when`."""
        column = self._places[1][None] - begin.index_select(0, line)[:, None]
        enters = when[:, None] & (column >= 0) & (column < self._size[1])
        column = column.clamp(0, self._size[1] - 1).expand(len(image), -1, -1)
        frame = image.index_select(1, line).gather(2, column)[:, None]
        weights = self._weights * (1 - self._gains) + self._gains
        step = (self._gains / weights).masked_fill_(~enters, 0.0)
        self._means += step * (frame - self._means)
        self._weights.copy_(torch.where(enters, weights, self._weights))

    def recall(self, shifts: Tensor, depth: int | None = None) -> Tensor:
        """Return (C, N + 1, Y, X) as `deepbid_rt.motion.temporal_averages.TemporalAverages.recall` does: N = `depth` slowest averages, else all."""
        place = MARGIN - shifts
        whole = torch.floor(place)
        means = self._means if depth is None else self._means[:, -depth:]
        count = means.shape[0] * means.shape[1] + 1
        down, right = self._weigh(place - whole, count).unbind(dim=1)
        top, left = (whole.to(torch.int64) + self._first).unbind()
        high, wide = self._room
        rows = (top + self._four).clamp(0, high - 1)
        columns = left[:, None] + self._neighbours
        reads = columns.clamp(0, wide - 1)
        weights = self._weights[-1:]
        known = torch.cat([means.flatten(0, 1), weights])
        state = torch.cat([known, known, weights <= 0])
        around = state.index_select(1, rows.flatten()).view(len(state), *rows.shape, wide)
        lines = (around * down[..., None]).sum(dim=1)
        shown = lines.gather(2, reads.expand(len(state), -1, -1)).unfold(2, len(self._four), 1)
        found = (shown * right.mT[:, :, None]).sum(dim=3)
        recalled = torch.where(found[-1] > 0, found[count:-1], found[:count])
        middle = slice(1, 1 + self._size[1])
        outside = (top != top.clamp(1, high - 3))[:, None] | (columns != columns.clamp(1, wide - 3))[:, middle]
        recalled.masked_fill_(outside | (recalled[-1] <= 0), 0.0)
        averages = recalled[:-1].view(*means.shape[:2], *self._size)
        return torch.cat([averages, recalled[-1].expand(len(means), 1, *self._size)], dim=1)

    def _weigh(self, part: Tensor, count: int) -> Tensor:
        """Say how much four neighbours count for places `part` (2, Y) between the middle two, along both axes.

        Returns
        -------
        Tensor
            (2 count + 1, 2, 4, Y): for each average, and for their weight, which is that of the second; the same for
            the nearest neighbour alone; and, for what is not known, a 1 for what counts.
        """
        cubic = (self._cubic @ part[:, None] ** (self._four + 1)).to(torch.float32)
        nearest = (self._four == (part >= 0.5)[:, None]).expand(count, -1, -1, -1)
        counts = (part[:, None] != 0) | self._is_second
        return torch.cat([cubic.expand(count - 1, -1, -1, -1), self._second, nearest, counts[None]])
