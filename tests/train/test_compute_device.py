"""The number format is chosen as documented, and gives the right gradients."""

import numpy as np
import pytest
import torch

from deepbid_rt.nets.unet3d import GRID, UNet3D
from deepbid_rt.train.compute_device import Compute, choose_compute

PROBES = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_cuda")
@pytest.mark.parametrize(
    ("amx", "avx", "frames", "expected"),
    [
        (True, False, 3, "cpu bfloat16"),
        (False, True, 3, "cpu bfloat16"),
        (False, False, 3, "cpu float32"),
        (True, True, 2, "cpu float32"),
    ],
)
def test_bfloat16_is_used_where_it_is_fast_and_correct(
    monkeypatch: pytest.MonkeyPatch, amx: bool, avx: bool, frames: int, expected: str
) -> None:
    for name, supported in zip(PROBES, (amx, avx), strict=True):
        monkeypatch.setattr(torch.cpu, name, lambda supported=supported: supported, raising=False)
    assert choose_compute(frames).description == expected


@pytest.mark.usefixtures("no_cuda")
def test_a_torch_without_the_probes_trains_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROBES:
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert choose_compute(4).description == "cpu float32"


def gradients(net: UNet3D, compute: Compute, window: np.ndarray) -> dict[str, torch.Tensor]:
    compute.move(net)
    net.zero_grad(set_to_none=True)
    # Fill and free memory with large numbers, to detect a gradient that starts from uninitialised memory.
    del [torch.full((1 << 16,), 1e30) for _ in range(20)][:]
    with compute.autocast():
        output = net(compute.tensor(window))
    (output.float() - compute.tensor(window)).square().mean().backward()
    return {name: p.grad.cpu().clone() for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("frames", [8, 16, 24])
def test_gradients_agree_with_float32(frames: int) -> None:
    torch.manual_seed(0)
    net = UNet3D(8)
    window = np.random.default_rng(0).normal(size=(1, 1, frames, 24, 24)).astype(np.float32)
    expected = gradients(net, Compute(torch.device("cpu"), bfloat16=False), window)
    for _ in range(3):
        got = gradients(net, choose_compute(frames // GRID), window)
        for name, gradient in expected.items():
            assert (got[name] - gradient).norm() < 0.25 * gradient.norm(), name
