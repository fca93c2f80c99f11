"""`TensorTemporalAverages`: temporal averages of all channels in torch operations.

Shapes are fixed and nothing waits for the host. Reference implementation:
`deepbid_rt.motion.temporal_averages.TemporalAverages`; ``tests/runtimes/gpu/test_tensor_history.py`` compares.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deepbid_rt.motion.temporal_averages import MARGIN

_TALL = 512
"""In frames of at least this many lines no place is shown more than twice: the shift changes by at most half a pixel
from line to line."""
_CUBIC = ((0.0, -0.5, 1.0, -0.5), (1.0, 0.0, -2.5, 1.5), (0.0, 0.5, 2.0, -1.5), (0.0, 0.0, -0.5, 0.5))
"""Polynomial of each of four neighbours' weights in the distance from the second neighbour (Catmull and Rom 1974)."""


class TensorTemporalAverages:
    """Exponential averages of all channels in coordinates of the tissue.

    Parameters
    ----------
    gains : tuple of float
        Weight of the newest frame in each average (M).
    channels : int
        C.
    size : tuple of int
        (Y, X) of a frame.
    device : torch.device
        Where the averages are.

    Notes
    -----
    Where tissue moves along with the scan, several lines show one place. They enter it one after the other as on the
    host: two lines in frames of 512 lines or more, which is all that
    `deepbid_rt.motion.nonrigid.NonrigidMotionEstimator` can return there, and four lines in smaller frames, where a
    fifth (tissue that moves as fast as the scan) is left out.
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
        """Forget everything if `when`, which may be a number on the device, is true."""
        keep = 1.0 - torch.as_tensor(when, device=self._means.device).to(torch.float32)
        self._means *= keep
        self._weights *= keep

    def skip(self, count: Tensor | int) -> None:
        """Make the averages older by `count` frames."""
        self._weights *= (1 - self._gains) ** count

    def rebase(self, dy: Tensor, dx: Tensor) -> None:
        """Move the origin by whole pixels, which may be 0."""
        of = [place - d.to(torch.int64) for place, d in zip(self._places, (dy, dx), strict=True)]
        inside = [(p >= 0) & (p < n) for p, n in zip(of, self._room, strict=True)]
        in_state = inside[0][:, None] & inside[1][None]
        rows, columns = (p.clamp(0, n - 1) for p, n in zip(of, self._room, strict=True))
        for state in (self._means, self._weights):
            state.copy_(state.index_select(-2, rows).index_select(-1, columns).masked_fill_(~in_state, 0.0))

    def update(self, image: Tensor, shifts: Tensor, when: Tensor) -> None:
        """Average a frame (C, Y, X) whose lines lie at `shifts` (2, Y), if `when`."""
        whole = torch.floor(shifts + 0.5).to(torch.int64)
        to, begin = self._lines + MARGIN - whole[0], MARGIN - whole[1]
        earlier = (to[:, None] == to[None]) & (self._lines[:, None] > self._lines[None])
        turns = earlier.sum(dim=1)
        room = self._room[0]
        inside = (to >= 0) & (to < room)
        for turn in range(self._turns):
            # The line that enters each row of the state in this turn; lines that enter none go to a row past the last.
            index = torch.where(inside & (turns == turn), to, room)
            line = torch.full((room + 1,), -1, device=to.device).scatter(0, index, self._lines)[:room]
            self._enter(image, line.clamp(min=0), begin, (line >= 0) & when)

    def _enter(self, image: Tensor, line: Tensor, begin: Tensor, when: Tensor) -> None:
        """Average line `line[r]` of the image into each row r, from column `begin[line[r]]` on, if `when[r]`."""
        column = self._places[1][None] - begin.index_select(0, line)[:, None]
        enters = when[:, None] & (column >= 0) & (column < self._size[1])
        column = column.clamp(0, self._size[1] - 1).expand(len(image), -1, -1)
        frame = image.index_select(1, line).gather(2, column)[:, None]
        weights = self._weights * (1 - self._gains) + self._gains
        step = (self._gains / weights).masked_fill_(~enters, 0.0)
        self._means += step * (frame - self._means)
        self._weights.copy_(torch.where(enters, weights, self._weights))

    def recall(self, shifts: Tensor, depth: int | None = None) -> Tensor:
        """Return the averages (C, N + 1, Y, X) as `TemporalAverages.recall` does; N is `depth`, or all if left out."""
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
        values = torch.cat([means.flatten(0, 1), weights])
        state = torch.cat([values, values, weights <= 0])
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
        """Return the weights of four neighbours for places `part` (2, Y) between the middle two, along both axes.

        Returns
        -------
        Tensor
            (2 count + 1, 2, 4, Y): cubic weights for each average, and the second neighbour alone for their weight; the
            nearest neighbour alone for all of these; and 1 for each neighbour that the cubic weights use.
        """
        cubic = (self._cubic @ part[:, None] ** (self._four + 1)).to(torch.float32)
        nearest = (self._four == (part >= 0.5)[:, None]).expand(count, -1, -1, -1)
        counts = (part[:, None] != 0) | self._is_second
        return torch.cat([cubic.expand(count - 1, -1, -1, -1), self._second, nearest, counts[None]])
