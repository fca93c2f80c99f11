"""The stream engine's network: its shape, its size and what reaches what."""

import pytest
import torch

from deepbid_rt.nets.unet2d import UNet2D


@pytest.mark.parametrize(
    ("width", "levels", "parameters"), [(32, 3, 480_808), (16, 3, 120_600), (48, 2, 250_616), (8, 1, 1_408)]
)
def test_its_size_is_known(width: int, levels: int, parameters: int) -> None:
    assert sum(p.numel() for p in UNet2D(width, 6, levels).parameters()) == parameters


@pytest.mark.parametrize("size", [(8, 8), (16, 40)])
def test_one_image_comes_out(size: tuple[int, int]) -> None:
    assert UNet2D(2, 5)(torch.zeros(3, 5, *size)).shape == (3, 1, *size)


def test_before_training_it_nearly_answers_the_mean_of_the_memories() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(1, 6, 32, 32)
    answer, mean = UNet2D(8, 6)(inputs), inputs[:, 3:].mean(dim=1, keepdim=True)
    assert (answer - mean).std() < 0.3 * mean.std()


def test_every_input_reaches_the_answer() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(1, 6, 16, 16, requires_grad=True)
    UNet2D(4, 6)(inputs).sum().backward()  # type: ignore[no-untyped-call]
    assert inputs.grad is not None
    assert (inputs.grad.abs().amax(dim=(0, 2, 3)) > 0).all()


@pytest.mark.parametrize(("levels", "grid"), [(1, 2), (2, 4), (3, 8)])
def test_shifts_along_the_grid_go_through_and_smaller_ones_do_not(levels: int, grid: int) -> None:
    torch.manual_seed(0)
    net, tall = UNet2D(8, 4, levels).eval(), torch.randn(1, 4, 128 + grid, 16)
    assert net.grid == grid
    with torch.no_grad():
        whole = net(tall[:, :, :128])
        for shift in (grid, grid // 2):
            moved = net(tall[:, :, shift : shift + 128])
            same = torch.allclose(whole[:, :, 48 + shift : 80 + shift], moved[:, :, 48:80], atol=1e-6)
            assert same == (shift == grid)
