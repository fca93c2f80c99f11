"""The stream engine's network: shapes, number of parameters, initial output and gradients."""

from typing import Any

import pytest
import torch

from deepbid_rt.nets.unet2d import UNet2D, grid_of


@pytest.mark.parametrize(
    ("width", "levels", "later_frames", "parameters"),
    [(16, 1, 0, 16_891), (24, 2, 0, 55_915), (48, 2, 1, 193_388), (8, 3, 0, 30_587)],
)
def test_number_of_parameters(width: int, levels: int, later_frames: int, parameters: int) -> None:
    net = UNet2D(width, look_ahead=later_frames, levels=levels)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("size", [(8, 8), (16, 40)])
def test_one_image_comes_out(size: tuple[int, int], levels: int) -> None:
    assert UNet2D(2, (0.3, 0.1), levels=levels)(torch.zeros(3, 5, *size)).shape == (3, 1, *size)


def initial(**arguments: Any) -> tuple[UNet2D, torch.Tensor]:
    torch.manual_seed(0)
    net, inputs = UNet2D(8, **arguments), torch.randn(1, 6, 32, 32)
    inputs[:, 1:3] = 1
    return net, inputs


def test_the_initial_output_is_close_to_the_slowest_average() -> None:
    net, inputs = initial()
    output, slowest = net(inputs), inputs[:, 5:]
    assert (output - slowest).std() < 0.3 * slowest.std()


def test_every_input_has_a_gradient() -> None:
    net, inputs = initial(levels=2)
    inputs.requires_grad_()
    net(inputs).sum().backward()  # type: ignore[no-untyped-call]
    assert inputs.grad is not None
    assert (inputs.grad.abs().amax(dim=(0, 2, 3)) > 0).all()


def trained_weights(net: UNet2D, inputs: torch.Tensor) -> set[str]:
    """Return the names of the weights that have a gradient."""
    net(inputs).square().sum().backward()  # type: ignore[no-untyped-call]
    return {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


def test_the_unet_uses_the_smoothed_features_and_the_inputs() -> None:
    net, inputs = initial(levels=2)
    assert {"near.weight", "far.weight", "fold.weight"} <= trained_weights(net, inputs)


def test_fine_levels_contribute_without_the_coarse_ones() -> None:
    net, inputs = initial(levels=2)
    torch.nn.init.zeros_(net.ups[0].weight)  # type: ignore[arg-type]
    assert "encoders.0.0.weight" in trained_weights(net, inputs)


def test_rectifiers_cannot_die() -> None:
    net, inputs = initial(levels=2)
    for name, values in net.named_parameters():
        if name.startswith(("encoders", "decoders")) and name.endswith("bias"):
            torch.nn.init.constant_(values, -1e3)
    assert {"encoders.0.0.weight", "encoders.1.0.weight", "decoders.0.0.weight"} <= trained_weights(net, inputs)


def averaging() -> tuple[UNet2D, torch.Tensor]:
    """A network whose output is averages without the image of the U-Net (`own`), and inputs."""
    net, inputs = initial()
    with torch.no_grad():
        for share in net.shares:
            share.weight.fill_(0.1)
        net.own.weight.zero_()
    return net, inputs


def test_closed_gates_leave_the_slowest_average() -> None:
    net, inputs = averaging()
    with torch.no_grad():
        assert (net(inputs) - inputs[:, 5:]).abs().mean() > 0.1
        for gate in net.gates:
            gate.weight.zero_()
            gate.bias.fill_(-1.0)
        assert torch.allclose(net(inputs), inputs[:, 5:], atol=1e-6)


def test_gates_are_limited_to_2() -> None:
    """For pictures far brighter than the training data."""
    net, inputs = averaging()
    with torch.no_grad():
        for gate in net.gates:
            gate.weight.zero_()
        opened = []
        for bias in (1.0, 2.0, 50.0):
            for gate in net.gates:
                gate.bias.fill_(bias)
            opened.append(net(inputs) - inputs[:, 5:])
        once, twice, wide = opened
    assert torch.allclose(twice, 2 * once, atol=1e-5)
    assert torch.equal(wide, twice)


@pytest.mark.parametrize(("levels", "grid"), [(1, 4), (2, 4), (3, 8)])
def test_the_network_commutes_with_shifts_by_its_grid_only(levels: int, grid: int) -> None:
    torch.manual_seed(0)
    net, tall = UNet2D(8, (0.3,), levels=levels).eval(), torch.randn(1, 4, 160 + grid, 16)
    assert net.grid == grid_of(levels) == grid
    with torch.no_grad():
        for share in net.shares:
            share.weight.normal_(0, 0.1)
        whole = net(tall[:, :, :160])
        for shift in (grid, grid // 2):
            moved = net(tall[:, :, shift : shift + 160])
            same = torch.allclose(whole[:, :, 64 + shift : 96 + shift], moved[:, :, 64:96], atol=1e-5)
            assert same == (shift == grid)
