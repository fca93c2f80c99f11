"""The splits, on the worked examples of the papers' construction (8 frames of 12 lines), and orientations."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from deepbid_rt.train.pairs import Split, block_size, orient, orientation_count, split_block, split_volumes

SPLITS: tuple[Split, ...] = ("mp-collinear", "mp-rows", "mp-rows-stacked", "tp", "tis", "sis")


@pytest.fixture
def block() -> NDArray[Any]:
    """8 frames of 12 lines of 5 pixels whose value is 1000 t + 10 y + (x == 4)."""
    t, y, x = np.ogrid[:8, :12, :5]
    return 1000 * t + 10 * y + (x == 4)


def lines(view: NDArray[Any]) -> list[list[int]]:
    return [[int(v) for v in frame[:, 0]] for frame in view]


@pytest.mark.parametrize("split", ["mp-collinear", "mp-rows"])
def test_even_lines_go_in_and_odd_lines_come_out_of_the_same_frames(block: NDArray[Any], split: Split) -> None:
    first, second = split_block(block, split)
    assert lines(first) == [[1000 * t + 10 * y for y in (0, 2, 4, 6, 8, 10)] for t in range(8)]
    assert lines(second) == [[1000 * t + 10 * y for y in (1, 3, 5, 7, 9, 11)] for t in range(8)]
    assert first.shape == second.shape == (8, 6, 5)


def test_stacked_rows_are_two_frames_above_each_other(block: NDArray[Any]) -> None:
    first, second = split_block(block, "mp-rows-stacked")
    assert first.shape == second.shape == (4, 12, 5)
    assert lines(first)[0] == [0, 20, 40, 60, 80, 100, 1000, 1020, 1040, 1060, 1080, 1100]
    assert lines(second)[0] == [10, 30, 50, 70, 90, 110, 1010, 1030, 1050, 1070, 1090, 1110]
    assert lines(first)[3][:2] + lines(first)[3][-1:] == [6000, 6020, 7100]


def test_temporal_split_takes_every_other_frame(block: NDArray[Any]) -> None:
    first, second = split_block(block, "tp")
    assert np.array_equal(first, block[[0, 2, 4, 6]])
    assert np.array_equal(second, block[[1, 3, 5, 7]])


def test_time_interleaved_volumes_are_rdl_s_even_and_odd_time_points() -> None:
    volumes = 100 * np.arange(8)[:, None] + np.arange(16)  # 8 time points of 16 slices
    first, second = split_volumes(np.broadcast_to(volumes[..., None, None], (8, 16, 5, 5)))
    assert first.shape == second.shape == (4, 16, 5, 5)
    assert np.array_equal(first[..., 0, 0], volumes[[0, 2, 4, 6]])
    assert np.array_equal(second[..., 0, 0], volumes[[1, 3, 5, 7]])


def test_a_block_of_two_volumes_is_split_into_the_two(block: NDArray[Any]) -> None:
    first, second = split_block(block, "tis")
    assert np.array_equal(first, block[:4])
    assert np.array_equal(second, block[4:])


def test_slice_interleaved_volumes_are_rdl_s_even_and_odd_slices() -> None:
    volume = np.broadcast_to(np.arange(16)[:, None, None], (16, 5, 5))
    first, second = split_block(volume, "sis")
    assert first[:, 0, 0].tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert second[:, 0, 0].tolist() == [1, 3, 5, 7, 9, 11, 13, 15]


@pytest.mark.parametrize("split", SPLITS)
def test_blocks_may_have_leading_axes(block: NDArray[Any], split: Split) -> None:
    both = split_block(np.stack([block, -block])[:, None], split)
    for stacked, view in zip(both, split_block(block, split), strict=True):
        assert np.array_equal(stacked, np.stack([view, -view])[:, None])


@pytest.mark.parametrize("split", SPLITS)
def test_every_pixel_of_the_block_is_used_once(block: NDArray[Any], split: Split) -> None:
    first, second = split_block(block, split)
    assert sorted([*first.flat, *second.flat]) == sorted(block.flat)


@pytest.mark.parametrize("split", SPLITS)
def test_a_block_of_the_stated_size_gives_the_patch(split: Split) -> None:
    first, second = split_block(np.zeros(block_size(split, (16, 24, 32))), split)
    assert first.shape == second.shape == (16, 24, 32)


def test_square_patches_have_eight_different_orientations() -> None:
    patch = np.arange(18).reshape(2, 3, 3)
    patches = {orient(patch, n).tobytes() for n in range(orientation_count((2, 3, 3)))}
    assert len(patches) == 8
    assert all(orient(patch, n).shape == patch.shape for n in range(8))


def test_other_patches_keep_their_shape() -> None:
    patch = np.arange(24).reshape(2, 3, 4)
    assert orientation_count((2, 3, 4)) == 4
    assert len({orient(patch, n).tobytes() for n in range(4)}) == 4
    assert all(orient(patch, n).shape == patch.shape for n in range(4))


@given(st.integers(0, 7), st.integers(1, 4), st.integers(1, 5))
def test_orientation_never_mixes_frames(orientation: int, t: int, side: int) -> None:
    patch = np.arange(t * side * side).reshape(t, side, side)
    turned = orient(patch, orientation)
    assert all(set(a.flat) == set(b.flat) for a, b in zip(patch, turned, strict=True))
