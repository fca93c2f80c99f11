"""The stream engine's network: its shape, its size, where it begins and what reaches what."""

from typing import Any

import pytest
import torch

from deepbid_rt.nets.unet2d import UNet2D, grid_of


@pytest.mark.parametrize(
    ("width", "levels", "later_frames", "parameters"),
    [(16, 1, 0, 16_891), (24, 2, 0, 55_915), (48, 2, 1, 193_388), (8, 3, 0, 30_587)],
)
def test_its_size_is_known(width: int, levels: int, ahead: int, parameters: int) -> None:
    net = UNet2D(width, look_ahead=ahead, levels=levels)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("size", [(8, 8), (16, 40)])
def test_one_image_comes_out(size: tuple[int, int], levels: int) -> None:
    assert UNet2D(2, (0.3, 0.1), levels=levels)(torch.zeros(3, 5, *size)).shape == (3, 1, *size)


def begun(**arguments: Any) -> tuple[UNet2D, torch.Tensor]:
    torch.manual_seed(0)
    net, inputs = UNet2D(8, **arguments), torch.randn(1, 6, 32, 32)
    inputs[:, 1:3] = 1
    return net, inputs


def test_before_training_it_nearly_answers_the_slowest_memory() -> None:
    net, inputs = begun()
    answer, slowest = net(inputs), inputs[:, 5:]
    assert (answer - slowest).std() < 0.3 * slowest.std()


def test_every_input_reaches_the_answer() -> None:
    net, inputs = begun(levels=2)
    inputs.requires_grad_()
    net(inputs).sum().backward()  # type: ignore[no-untyped-call]
    assert inputs.grad is not None
    assert (inputs.grad.abs().amax(dim=(0, 2, 3)) > 0).all()


def learning(net: UNet2D, inputs: torch.Tensor) -> set[str]:
    """Return the names of the weights that one step of training would change."""
    net(inputs).square().sum().backward()  # type: ignore[no-untyped-call]
    return {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


def test_the_unet_sees_averages_and_not_the_inputs_alone() -> None:
    net, inputs = begun(levels=2)
    assert {"near.weight", "far.weight", "fold.weight"} <= learning(net, inputs)


def test_fine_levels_answer_beside_the_coarse_ones() -> None:
    net, inputs = begun(levels=2)
    torch.nn.init.zeros_(net.ups[0].weight)  # type: ignore[arg-type]
    assert "encoders.0.0.weight" in learning(net, inputs)


def test_no_rectifier_is_ever_silent_for_good() -> None:
    net, inputs = begun(levels=2)
    for name, values in net.named_parameters():
        if name.startswith(("encoders", "decoders")) and name.endswith("bias"):
            torch.nn.init.constant_(values, -1e3)
    assert {"encoders.0.0.weight", "encoders.1.0.weight", "decoders.0.0.weight"} <= learning(net, inputs)


def averaging() -> tuple[UNet2D, torch.Tensor]:
    """A network that adds averages and nothing that its U-Net finds, and inputs."""
    net, inputs = begun()
    with torch.no_grad():
        for share in net.shares:
            share.weight.fill_(0.1)
        net.own.weight.zero_()
    return net, inputs


def test_a_gate_shuts_out_what_it_stands_before() -> None:
    """Where the U-Net says so, the answer is the slowest memory and nothing else."""
    net, inputs = averaging()
    with torch.no_grad():
        assert (net(inputs) - inputs[:, 5:]).abs().mean() > 0.1
        for gate in net.gates:
            gate.weight.zero_()
            gate.bias.fill_(-1.0)
        assert torch.allclose(net(inputs), inputs[:, 5:], atol=1e-6)


def test_no_gate_opens_further_than_twice() -> None:
    """A picture far brighter than all that was learned from must not open gates without a limit."""
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
def test_shifts_along_the_grid_go_through_and_smaller_ones_do_not(levels: int, grid: int) -> None:
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
