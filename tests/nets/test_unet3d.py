"""The papers' network: parameter counts and the grid on which it commutes with shifts."""

import pytest
import torch

from deepbid_rt.nets.unet3d import GRID, UNet3D

RECEPTIVE_HALF = 56  # a little more than the 44..51 samples on each side


@pytest.mark.parametrize(("width", "count"), [(8, 255_289), (16, 1_020_337), (32, 4_079_713), (64, 16_315_585)])
def test_parameter_counts_are_the_published_ones(width: int, count: int) -> None:
    with torch.device("meta"):
        net = UNet3D(width)
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize(("t", "y", "x"), [(8, 16, 24), (11, 9, 13)])
def test_output_has_the_input_size(t: int, y: int, x: int) -> None:
    assert UNet3D(2)(torch.zeros(1, 1, t, y, x)).shape == (1, 1, t, y, x)


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_only_shifts_by_the_grid_leave_the_interior_unchanged(axis: int) -> None:
    torch.manual_seed(0)
    net = UNet3D(2).eval()
    for p in net.parameters():
        p.data *= 2.5  # larger than the initial values, so that the deepest level contributes to the output
    size = [1, 1, 8, 8, 8]
    size[axis] = 2 * RECEPTIVE_HALF + 4 * GRID
    long = torch.randn(size)
    with torch.no_grad():
        reference = net(long)
        change = {}
        for shift in (1, 4, GRID):
            moved = net(long.narrow(axis, shift, size[axis] - 2 * GRID))
            middle = moved.narrow(axis, RECEPTIVE_HALF, GRID)
            change[shift] = float(
                (middle - reference.narrow(axis, RECEPTIVE_HALF + shift, GRID)).square().mean().sqrt() / reference.std()
            )
    assert change[GRID] < 1e-5
    assert change[1] > 1e-2
    assert change[4] > 1e-3


@pytest.mark.parametrize("width", [8, 16])
def test_the_initial_output_is_smaller_than_the_noise_but_not_zero(width: int) -> None:
    """With a large initial output, training first leads to an output of zero, and on dark recordings it stays there."""
    spreads = []
    for seed in range(5):
        torch.manual_seed(seed)
        with torch.no_grad():
            spreads.append(UNet3D(width)(torch.randn(1, 1, 16, 32, 32)).std().item())
    assert 0.01 < min(spreads) < max(spreads) < 0.2
