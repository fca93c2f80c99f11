"""The stream engine's network: its shape, its size and what reaches what."""

import pytest
import torch

from deepbid_rt.nets.unet2d import GRID, UNet2D


@pytest.mark.parametrize(("width", "parameters"), [(32, 480_808), (16, 120_600)])
def test_its_size_is_known(width: int, parameters: int) -> None:
    assert sum(p.numel() for p in UNet2D(width, 6).parameters()) == parameters


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


def test_shifts_along_the_grid_go_through() -> None:
    torch.manual_seed(0)
    net, tall = UNet2D(4, 4).eval(), torch.randn(1, 4, 128 + GRID, 16)
    with torch.no_grad():
        upper, lower = net(tall[:, :, :128]), net(tall[:, :, GRID:])
    assert torch.allclose(upper[:, :, 48 + GRID : 80 + GRID], lower[:, :, 48:80], atol=1e-5)
