"""The features of view and temporal averages at several widths, as initialised."""

import numpy as np
import pytest
import torch
from torch import Tensor

from deepbid_rt.nets.scale_space import BLOCK, ScaleSpace

GAINS = (0.4, 0.15, 0.03)


def inputs(later_frames: int = 0, side: int = 32) -> Tensor:
    """View, mask, weight, temporal averages, later frames: noise for each picture."""
    torch.manual_seed(0)
    given = torch.randn(1, 6 + later_frames, side, side)
    given[:, 1:3] = 1
    return given


@torch.no_grad()
def features(given: Tensor, gains: tuple[float, ...] = GAINS, later_frames: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    own, near, far = ScaleSpace(gains, later_frames)(given)
    return own, near, far


@pytest.mark.parametrize(("gains", "later_frames", "channels"), [((0.1,), 0, 8), (GAINS, 0, 16), (GAINS, 2, 24)])
def test_blocks_of_each_image_come_out_at_half_resolution(
    gains: tuple[float, ...], later_frames: int, channels: int
) -> None:
    given = torch.zeros(2, 3 + len(gains) + later_frames, 16, 24)
    assert ScaleSpace(gains, later_frames).channels == channels
    assert [tuple(part.shape) for part in features(given, gains, later_frames)] == [(2, channels, 8, 12)] * 3


def test_the_first_feature_is_view_minus_slowest_average() -> None:
    given = inputs()
    view = torch.pixel_shuffle(features(given)[0][:, :BLOCK], 2)
    assert torch.allclose(view, given[:, :1] - given[:, 5:], atol=1e-6)


def test_the_last_feature_is_the_slowest_average() -> None:
    given = inputs(later_frames=1)
    assert torch.allclose(torch.pixel_shuffle(features(given, later_frames=1)[0][:, -BLOCK:], 2), given[:, 5:6])


@pytest.mark.parametrize("first", [0, 1])
def test_masked_lines_have_difference_0_and_their_neighbours_count_twice(first: int) -> None:
    given = inputs()
    given[:, :2, 1 - first :: 2] = 0
    own = features(given)[0]
    view = torch.pixel_shuffle(own[:, :BLOCK], 2)
    assert (view[:, :, 1 - first :: 2] == 0).all()
    assert torch.allclose(view[:, :, first::2], 2 * (given[:, :1] - given[:, 5:])[:, :, first::2], atol=1e-6)
    assert torch.equal(own[:, BLOCK:], features(inputs())[0][:, BLOCK:])


@pytest.mark.parametrize("first", [0, 1])
def test_a_constant_difference_is_the_same_with_and_without_mask(first: int) -> None:
    """After smoothing, for an input whose view alone is not zero."""
    given = torch.zeros(1, 6, 64, 64)
    given[:, :3] = 1
    masked = given.clone()
    masked[:, :2, first::2] = 0
    for whole, half in zip(features(given)[1:], features(masked)[1:], strict=True):
        inner = np.s_[:, :BLOCK, 8:-8, 8:-8]
        assert torch.allclose(whole[inner].mean(1), half[inner].mean(1), rtol=0.1)


def test_each_difference_has_noise_of_1() -> None:
    """Averages of frames with noise 1 have noise sqrt(gain / (2 - gain)); the unit accounts for this at each width."""
    given = inputs(later_frames=1, side=256)
    given[:, 5] = 0
    for memory, gain in ((3, 0.4), (4, 0.15)):
        given[:, memory] *= (gain / (2 - gain)) ** 0.5
    for part in features(given, later_frames=1):
        assert torch.allclose(part[:, :-BLOCK].std(dim=(2, 3)), torch.ones(()), atol=0.25)


def test_the_change_of_the_slowest_average_by_smoothing_is_in_units_of_its_noise() -> None:
    given = inputs(side=256)
    given[:, 5] *= (0.03 / 1.97) ** 0.5
    for part in features(given)[1:]:
        spread = part[:, -BLOCK:].std(dim=(2, 3))
        assert (spread > 0.35).all()  # the narrowest Gaussian changes it least
        assert (spread < 1.1).all()


def test_a_mask_beyond_one_counts_as_one() -> None:
    """Saturated inputs must not leave the range of half precision by a product."""
    given, saturated = inputs(), inputs()
    saturated[:, 1] = 65504
    assert torch.equal(features(given)[0][:, :-BLOCK], features(saturated)[0][:, :-BLOCK])


@pytest.mark.parametrize("level", [0.0, 7.0])
def test_constant_input_gives_no_difference_up_to_the_border(level: float) -> None:
    given = torch.full((1, 6, 32, 32), level)
    given[:, 1:3] = 1
    own, near, far = features(given)
    assert own[:, :-BLOCK].abs().max() == 0
    assert own[:, -BLOCK:].max() == level
    assert max(near.abs().max(), far.abs().max()) < 1e-3


def test_the_widths_are_as_documented() -> None:
    """One bright pixel of the view spreads over about 6 pixels and over about 20."""
    given = torch.zeros(1, 6, 64, 64)
    given[:, 1:3] = 1
    given[:, 0, 32, 32] = 1
    reach = []
    for part in features(given):
        spread = part[0, :BLOCK].abs().sum(0)
        reach.append(int((spread.sum(1) > 1e-3).sum()) * 2)
    assert reach[0] == 2
    assert 4 <= reach[1] <= 6
    assert 16 <= reach[2] <= 24


def test_differences_and_widths_are_trained_and_masks_are_not() -> None:
    trained = {name: p.requires_grad for name, p in ScaleSpace(GAINS, 0).named_parameters()}
    assert trained == {
        "compare.weight": True,
        "seen.weight": False,
        "slowest.weight": False,
        "alone.weight": False,
        "alone.bias": False,
        "near.weight": True,
        "far.weight": True,
    }
