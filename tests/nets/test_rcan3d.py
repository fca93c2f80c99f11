"""The residual channel attention network: its published size, its layers, and its export as an engine."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from deepbid_rt.errors import EngineError
from deepbid_rt.nets.rcan3d import RCAN3D, ChannelAttention
from deepbid_rt.train.checkpoint import BEST, Checkpoint, save_checkpoint
from deepbid_rt.train.export import export
from deepbid_rt.train.network import deepest_frames, make_net
from deepbid_rt.train.recipe import Recipe


def test_the_papers_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        net = RCAN3D(64, 10, 16)
    assert sum(p.numel() for p in net.parameters()) == 36_723_457


def test_output_has_the_input_size() -> None:
    assert RCAN3D(4, 1, 2)(torch.zeros(2, 1, 5, 7, 9)).shape == (2, 1, 5, 7, 9)


def test_channel_attention_weights_channels_by_their_means() -> None:
    torch.manual_seed(0)
    layer = ChannelAttention(32, 4)
    x = torch.randn(2, 32, 3, 4, 5)
    w1, b1, w2, b2 = (p.flatten(1) if p.ndim > 1 else p for p in layer.parameters())
    weights = torch.sigmoid(F.relu(x.mean((2, 3, 4)) @ w1.T + b1) @ w2.T + b2)
    assert torch.allclose(layer(x), x * weights[:, :, None, None, None], atol=1e-6)


def test_residual_branches_start_small() -> None:
    torch.manual_seed(0)
    net = RCAN3D(8, 3, 5)
    x = torch.randn(1, 1, 8, 16, 16)
    features = net.first(x).detach()
    assert 0.9 < float(net.body(features).detach().std() / features.std()) < 1.5


def test_the_recipe_chooses_the_network_by_name() -> None:
    recipe = Recipe(network="rcan3d", width=4, rcan=(2, 3), patch=(16, 8, 8))
    net = make_net(recipe)
    assert isinstance(net, RCAN3D)
    assert sum(isinstance(m, ChannelAttention) for m in net.modules()) == 6
    assert deepest_frames(recipe) == 16


def test_a_run_with_it_becomes_a_window_engine(tmp_path) -> None:
    recipe = Recipe(network="rcan3d", width=4, rcan=(1, 1))
    weights = make_net(recipe).state_dict()
    recordings = ("64x1x256x128 <i2 collinear mirrored mp-collinear",)
    save_checkpoint(tmp_path / BEST, Checkpoint(recipe, recordings, 3, weights, weights, {}, 1.2, 1.2, 3))
    card = export(tmp_path, tmp_path / "model.onnx", "trial")  # checks that OpenVINO agrees with torch
    assert (card.kind, card.training["network"], card.training["width"]) == ("window", "rcan3d", 4)
    assert np.isclose(card.training["held_out"], 1.2)


@pytest.mark.parametrize("rcan", [(0, 5), (3, 0)])
def test_a_network_without_layers_is_refused(rcan: tuple[int, int]) -> None:
    with pytest.raises(EngineError, match="expected at least 1 group of 1 block"):
        Recipe(network="rcan3d", rcan=rcan)
