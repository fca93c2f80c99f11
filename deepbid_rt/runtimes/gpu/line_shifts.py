"""`deepbid_rt.line_shifts.LineShifts` on the device: no decision and no equation goes to the host.

The 32 equations are solved by elimination in plain operations, because the libraries behind ``torch.linalg`` cannot be
captured in a CUDA graph (https://github.com/pytorch/pytorch/issues/96632). The numpy class is the truth;
`tests/test_gpu_line_shifts.py` compares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepbid_rt import line_shifts as truth

STRIPS = truth._STRIPS  # noqa: SLF001  # one truth
_UNKNOWNS = 2 * STRIPS
_GROUPS = 4
"""Groups of strips that only their last ones join: without these, each group is solved by itself."""
_INNER = _UNKNOWNS - 2 * _GROUPS


class GpuLineShifts:
    """Most probable shift of each strip of lines.

    Parameters
    ----------
    size : tuple of int
        (Y, X) of the images.
    device : torch.device
        Where the images are.
    """

    def __init__(self, size: tuple[int, int], device: torch.device) -> None:
        plain = truth.LineShifts(size)
        self.rigid = plain.rigid
        self._levels = plain._levels  # noqa: SLF001
        # Unknowns are ordered: all but the last strip of each group, then these; dy before dx for each strip.
        group = STRIPS // _GROUPS
        strips = sorted(range(STRIPS), key=lambda strip: (strip % group == group - 1, strip))
        order = np.array([2 * strip + axis for strip in strips for axis in range(2)])
        walk = np.kron(plain._walk, np.eye(2))[np.ix_(order, order)]  # noqa: SLF001
        strip, axis = order // 2, order % 2
        put: dict[str, Any] = {"dtype": torch.float64, "device": device}
        self._walk = torch.tensor(walk, **put)
        self._tether = truth._TETHER * torch.eye(_UNKNOWNS, **put)  # noqa: SLF001
        self._same = torch.tensor(strip[:, None] == strip, **put)
        self._sums = torch.tensor((axis[:, None] + axis) * STRIPS + strip[:, None], device=device)  # of yy, yx, xx
        self._order = torch.tensor(order, device=device)
        self._back = torch.tensor(np.argsort(order), device=device)
        self._eye = torch.eye(max(_INNER // _GROUPS, 2 * _GROUPS), **put)
        self._hats = {lines: _hats(lines, device) for lines in {size[0] >> level for level in (0, *self._levels)}}
        self._lines = {lines: torch.arange(lines, **put) for lines in self._hats}
        self._columns = {side: torch.arange(side + 1, device=device) for side in {size[1] >> n for n in self._levels}}
        self._variance = torch.zeros((), **put)
        self.restart()

    def restart(self) -> None:
        """Forget how much the tissue moves."""
        self._variance.fill_(truth._FIRST_VARIANCE)  # noqa: SLF001

    def spread(self, strips: Tensor, lines: int) -> Tensor:
        """Return the shift of each line (2, Y) from those of the strips (2, K)."""
        return strips @ self._hats[lines]

    def estimate(self, image: Tensor, remembered: Tensor, start: Tensor, when: Tensor) -> Tensor:
        """Say where the lines of a frame lie; arguments and answer as of the numpy class.

        Parameters
        ----------
        when : Tensor
            Whether to learn from this frame how much the tissue moves.
        """
        noise = (image - remembered).var(correction=0).to(torch.float64)
        strips = begin = start.T.expand(STRIPS, 2)
        covariance = self._tether
        for level in self._levels:
            seen, expected = (_smooth(_halve(a, level)) for a in (image, remembered))
            for _ in range(truth._ITERATIONS):  # noqa: SLF001
                strips, covariance = self._improve(strips, seen, expected, noise / 4**level, 2**level)
        moves = noise != 0
        self._learn(strips, covariance, when & moves)
        return torch.where(moves, strips, begin).T

    def _improve(
        self, strips: Tensor, image: Tensor, remembered: Tensor, noise: Tensor, pitch: int
    ) -> tuple[Tensor, Tensor]:
        hats = self._hats[len(image)]
        expected = self._move(remembered, strips.T @ hats / pitch)
        pad = torch.nn.functional.pad
        slope_y = pad(expected[:-2] - expected[2:], (0, 0, 1, 1)) * (0.5 / pitch)
        slope_x = pad(expected[:, :-2] - expected[:, 2:], (1, 1)) * (0.5 / pitch)
        change = image - expected
        energy = slope_x.square().sum(dtype=torch.float64)
        smoother = _smooth(slope_x).square().sum(dtype=torch.float64)
        share = torch.where(energy > 0, smoother / energy, 1.0).clamp(min=1e-3)
        slopes = torch.stack([slope_y, slope_y, slope_x, change, change])
        slopes *= torch.stack([slope_y, slope_x, slope_x, slope_y, slope_x])
        sums = slopes.sum(dim=2, dtype=torch.float64) @ hats.T / (noise * share)
        prior = self._walk / self._variance + self._tether
        shape = sums[:3].flatten().index_select(0, self._sums.flatten()).view(_UNKNOWNS, _UNKNOWNS)
        covariance = self._invert(prior + shape * self._same)
        pull = sums[3:].T.flatten().index_select(0, self._order)
        pull = pull - prior @ strips.flatten().index_select(0, self._order)
        step = (covariance @ pull).index_select(0, self._back).view(STRIPS, 2)
        reach, limit = truth._STEP_PX, truth._LIMIT_PX  # noqa: SLF001
        return (strips + step.clamp(-reach, reach)).clamp(-limit, limit), covariance

    def _learn(self, strips: Tensor, covariance: Tensor, when: Tensor) -> None:
        ordered = covariance.index_select(0, self._back).index_select(1, self._back)
        variances = ordered.diagonal()
        unknown = variances[:-2] + variances[2:] - 2 * ordered.diagonal(2)
        found = strips.diff(dim=0).square().mean() + unknown.mean()
        learned = self._variance + truth._VARIANCE_GAIN * (found - self._variance)  # noqa: SLF001
        learned = learned.clamp(min=truth._LEAST_VARIANCE)  # noqa: SLF001
        self._variance.copy_(torch.where(when, learned, self._variance))

    def _move(self, image: Tensor, shifts: Tensor) -> Tensor:
        """Move each line's content by its own (dy, dx), bilinear; outermost pixels count as repeated."""
        lines, pixels = image.shape
        y, x = self._lines[lines] - shifts[0], -shifts[1]
        whole_y, whole_x = y.floor(), x.floor()
        down, right = ((a - b).to(torch.float32)[:, None] for a, b in ((y, whole_y), (x, whole_x)))
        columns = (whole_x.to(torch.int64)[:, None] + self._columns[pixels]).clamp(0, pixels - 1)
        top = whole_y.to(torch.int64)
        upper, lower = (image.index_select(0, (top + k).clamp(0, lines - 1)).gather(1, columns) for k in range(2))
        moved = upper + down * (lower - upper)
        return moved[:, :-1] + right * (moved[:, 1:] - moved[:, :-1])

    def _invert(self, matrix: Tensor) -> Tensor:
        """Invert a symmetric positive definite matrix (32, 32) whose groups only their last strips join."""
        scale = matrix.diagonal().rsqrt()  # the elimination is exact to the last digits for pivots of at most 1
        scale = scale[:, None] * scale
        matrix = matrix * scale
        groups = matrix[:_INNER, :_INNER].view(_GROUPS, _INNER // _GROUPS, _GROUPS, -1)
        blocks = self._sweep(groups.diagonal(dim1=0, dim2=2).permute(2, 0, 1))
        inner = torch.block_diag(*blocks.unbind())  # type: ignore[no-untyped-call]  # torch does not annotate it
        ways = inner @ matrix[:_INNER, _INNER:]
        joints = self._sweep((matrix[_INNER:, _INNER:] - matrix[_INNER:, :_INNER] @ ways)[None])[0]
        across = -(ways @ joints)
        upper = torch.cat([inner - across @ ways.T, across], dim=1)
        return torch.cat([upper, torch.cat([across.T, joints], dim=1)]) * scale

    def _sweep(self, matrices: Tensor) -> Tensor:
        """Invert symmetric positive definite matrices (N, K, K): Gauss-Jordan without a choice of pivots."""
        side = matrices.shape[1]
        for k in range(side):
            one = self._eye[k, :side]
            row = (matrices[:, k] + one) / matrices[:, k, k, None]
            matrices = torch.addcmul(matrices, (matrices[:, :, k] - one)[:, :, None], row[:, None], value=-1)
        return matrices


def _hats(lines: int, device: torch.device) -> Tensor:
    return torch.from_numpy(truth._hats(STRIPS, lines)).to(device)  # noqa: SLF001


def _halve(image: Tensor, times: int) -> Tensor:
    for _ in range(times):
        image = torch.nn.functional.avg_pool2d(image[None], 2)[0]
    return image


def _smooth(image: Tensor) -> Tensor:
    for _ in range(2):
        wide = torch.cat([image[:1], image, image[-1:]])
        image = ((wide[:-2] + wide[2:]) * 0.25 + image * 0.5).T
    return image
