"""What the network is shown of view and memories at several widths, before anything is learned."""

import numpy as np
import pytest
import torch
from torch import Tensor

from deepbid_rt.nets.scale_space import BLOCK, ScaleSpace

GAINS = (0.4, 0.15, 0.03)


def inputs(ahead: int = 0, side: int = 32) -> Tensor:
    """View, mask, weight, memories, frames ahead: noise where there is a picture."""
    torch.manual_seed(0)
    given = torch.randn(1, 6 + ahead, side, side)
    given[:, 1:3] = 1
    return given


@torch.no_grad()
def shown(given: Tensor, gains: tuple[float, ...] = GAINS, ahead: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    own, near, far = ScaleSpace(gains, ahead)(given)
    return own, near, far


@pytest.mark.parametrize(("gains", "later_frames", "channels"), [((0.1,), 0, 8), (GAINS, 0, 16), (GAINS, 2, 24)])
def test_blocks_of_each_image_come_out_at_half_resolution(gains: tuple[float, ...], ahead: int, channels: int) -> None:
    given = torch.zeros(2, 3 + len(gains) + ahead, 16, 24)
    assert ScaleSpace(gains, ahead).channels == channels
    assert [tuple(part.shape) for part in shown(given, gains, ahead)] == [(2, channels, 8, 12)] * 3


def test_the_view_is_compared_with_the_slowest_memory_pixel_by_pixel() -> None:
    given = inputs()
    view = torch.pixel_shuffle(shown(given)[0][:, :BLOCK], 2)
    assert torch.allclose(view, given[:, :1] - given[:, 5:], atol=1e-6)


def test_the_last_block_is_the_slowest_memory() -> None:
    given = inputs(ahead=1)
    assert torch.allclose(torch.pixel_shuffle(shown(given, ahead=1)[0][:, -BLOCK:], 2), given[:, 5:6])


@pytest.mark.parametrize("first", [0, 1])
def test_lines_that_are_not_seen_differ_by_nothing_and_their_neighbours_count_for_them(first: int) -> None:
    given = inputs()
    given[:, :2, 1 - first :: 2] = 0
    own = shown(given)[0]
    view = torch.pixel_shuffle(own[:, :BLOCK], 2)
    assert (view[:, :, 1 - first :: 2] == 0).all()
    assert torch.allclose(view[:, :, first::2], 2 * (given[:, :1] - given[:, 5:])[:, :, first::2], atol=1e-6)
    assert torch.equal(own[:, BLOCK:], shown(inputs())[0][:, BLOCK:])


@pytest.mark.parametrize("first", [0, 1])
def test_what_is_even_looks_the_same_through_a_mask(first: int) -> None:
    """Smoothed, where the view alone shows something."""
    given = torch.zeros(1, 6, 64, 64)
    given[:, :3] = 1
    masked = given.clone()
    masked[:, :2, first::2] = 0
    for whole, half in zip(shown(given)[1:], shown(masked)[1:], strict=True):
        inner = np.s_[:, :BLOCK, 8:-8, 8:-8]
        assert torch.allclose(whole[inner].mean(1), half[inner].mean(1), rtol=0.1)


def test_the_noise_of_each_difference_is_one() -> None:
    """Frames of noise 1 make averages of noise sqrt(gain / (2 - gain)); one unit fits all, at each width."""
    given = inputs(ahead=1, side=256)
    given[:, 5] = 0
    for memory, gain in ((3, 0.4), (4, 0.15)):
        given[:, memory] *= (gain / (2 - gain)) ** 0.5
    for part in shown(given, ahead=1):
        assert torch.allclose(part[:, :-BLOCK].std(dim=(2, 3)), torch.ones(()), atol=0.25)


def test_what_smoothing_changes_about_the_slowest_memory_is_in_units_of_its_noise_too() -> None:
    given = inputs(side=256)
    given[:, 5] *= (0.03 / 1.97) ** 0.5
    for part in shown(given)[1:]:
        spread = part[:, -BLOCK:].std(dim=(2, 3))
        assert (spread > 0.35).all()  # the narrowest average changes least
        assert (spread < 1.1).all()


def test_a_mask_beyond_one_counts_as_one() -> None:
    """Saturated inputs must not leave the range of half precision by a product."""
    given, saturated = inputs(), inputs()
    saturated[:, 1] = 65504
    assert torch.equal(shown(given)[0][:, :-BLOCK], shown(saturated)[0][:, :-BLOCK])


@pytest.mark.parametrize("level", [0.0, 7.0])
def test_where_all_is_even_there_is_nothing_to_see_up_to_the_border(level: float) -> None:
    given = torch.full((1, 6, 32, 32), level)
    given[:, 1:3] = 1
    own, near, far = shown(given)
    assert own[:, :-BLOCK].abs().max() == 0
    assert own[:, -BLOCK:].max() == level
    assert max(near.abs().max(), far.abs().max()) < 1e-3


def test_wider_averages_see_farther() -> None:
    """One bright pixel of the view spreads over about 6 pixels, and over about 20."""
    given = torch.zeros(1, 6, 64, 64)
    given[:, 1:3] = 1
    given[:, 0, 32, 32] = 1
    reach = []
    for part in shown(given):
        spread = part[0, :BLOCK].abs().sum(0)
        reach.append(int((spread.sum(1) > 1e-3).sum()) * 2)
    assert reach[0] == 2
    assert 4 <= reach[1] <= 6
    assert 16 <= reach[2] <= 24


def test_what_is_compared_and_how_widely_is_learned_and_what_is_masked_is_not() -> None:
    learned = {name: p.requires_grad for name, p in ScaleSpace(GAINS, 0).named_parameters()}
    assert learned == {
        "compare.weight": True,
        "seen.weight": False,
        "slowest.weight": False,
        "alone.weight": False,
        "alone.bias": False,
        "near.weight": True,
        "far.weight": True,
    }
