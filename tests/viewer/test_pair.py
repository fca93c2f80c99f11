from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.frame import ScanGeometry
from deepbid_rt.viewer.pair import MAX_WAITING, Pair, Pairing, raw_image
from tests.viewer.stand_ins import a_frame, an_info


def numbers(pairs: list[Pair]) -> list[tuple[int, bool, bool]]:
    return [(p.index, p.raw is not None, p.denoised is not None) for p in pairs]


def joined() -> Pairing:
    pairing = Pairing()
    pairing.begin_raw(an_info())
    pairing.begin_denoised(an_info())
    return pairing


def test_a_raw_frame_waits_for_its_denoised_frame() -> None:
    pairing = joined()
    for index in range(4):
        assert pairing.take_raw(a_frame(index, index), denoised_alive=True) == []
    (pair,) = pairing.take_denoised(a_frame(2, 99), raw_alive=True)
    assert (pair.index, pair.raw[0, 0, 0], pair.denoised[0, 0, 0]) == (2, 2, 99)
    assert pair.t_ns == a_frame(2).t_ns


def test_a_denoised_frame_waits_for_its_raw_frame() -> None:
    pairing = joined()
    assert pairing.take_denoised(a_frame(0), raw_alive=True) == []
    assert numbers(pairing.take_raw(a_frame(0), denoised_alive=True)) == [(0, True, True)]


def test_a_raw_frame_that_was_lost_is_not_waited_for_and_not_replaced() -> None:
    pairing = joined()
    pairing.take_raw(a_frame(0), denoised_alive=True)
    pairing.take_raw(a_frame(2), denoised_alive=True)
    assert numbers(pairing.take_denoised(a_frame(1), raw_alive=True)) == [(1, False, True)]


def test_a_frame_of_the_same_number_but_another_time_is_of_another_series() -> None:
    pairing = joined()
    pairing.take_raw(a_frame(5, t_ns=7), denoised_alive=True)
    assert numbers(pairing.take_denoised(a_frame(5, t_ns=8), raw_alive=True)) == [(5, False, True)]


def test_one_stream_alone_is_shown_by_itself() -> None:
    pairing = joined()
    assert numbers(pairing.take_raw(a_frame(3), denoised_alive=False)) == [(3, True, False)]
    assert numbers(pairing.take_denoised(a_frame(9), raw_alive=False)) == [(9, False, True)]


def test_waiting_is_bounded() -> None:
    pairing = joined()
    out = [pair for n in range(100) for pair in pairing.take_denoised(a_frame(n), raw_alive=True)]
    assert len(out) == 100 - MAX_WAITING
    frame_bytes = a_frame(0).pixels.nbytes
    small = Pairing(max_bytes=3 * frame_bytes)
    for n in range(10):
        small.take_raw(a_frame(n), denoised_alive=True)
    assert numbers(small.take_denoised(a_frame(6), raw_alive=True)) == [(6, False, True)]
    assert numbers(small.take_denoised(a_frame(8), raw_alive=True)) == [(8, True, True)]


@given(
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.lists(st.booleans(), min_size=40, max_size=40),
    st.integers(0, 6),
)
def test_every_denoised_frame_comes_out_once_in_order_with_its_own_raw_frame(
    lost: list[bool], raw_lost: list[bool], delay: int
) -> None:
    pairing, out = joined(), []
    for tick in range(len(lost) + delay):
        if tick < len(lost) and not raw_lost[tick]:
            out += pairing.take_raw(a_frame(tick, tick), denoised_alive=True)
        if 0 <= tick - delay < len(lost) and not lost[tick - delay]:
            out += pairing.take_denoised(a_frame(tick - delay, tick - delay), raw_alive=True)
    out += pairing.take_denoised(a_frame(1000, 1000 % 99), raw_alive=False)
    kept = [n for n, gone in enumerate(lost) if not gone]
    assert [pair.index for pair in out] == [*kept, 1000]
    for pair in out[:-1]:
        assert pair.raw is None or pair.raw[0, 0, 0] == pair.index
        assert (pair.raw is None) == raw_lost[pair.index]


SCANS = [
    (ScanGeometry("collinear"), 8, 4, "mean"),
    (ScanGeometry("collinear"), 8, None, "mean"),
    (ScanGeometry("collinear"), 7, 4, "mean"),
    (ScanGeometry("ordinary"), 8, 4, "mean"),  # the session was told with --scan
    (ScanGeometry("collinear"), 8, 8, "as scanned"),
    (ScanGeometry("ordinary"), 8, 8, "as scanned"),
    (ScanGeometry("ordinary"), 8, None, "as scanned"),
    (ScanGeometry("collinear"), 1, 1, "as scanned"),
]


@pytest.mark.parametrize(("scan", "scanned", "lines", "how"), SCANS)
def test_a_raw_frame_is_laid_out_as_its_denoised_frame_is(
    scan: ScanGeometry, scanned: int, lines: int | None, how: str
) -> None:
    pixels = np.arange(scanned * 3, dtype=np.int16).reshape(1, scanned, 3)
    image = raw_image(pixels, scan, lines)
    if how == "as scanned":
        np.testing.assert_array_equal(image, pixels)
    else:
        assert image.shape == (1, -(-scanned // 2), 3)
        np.testing.assert_allclose(image[0, 0], (pixels[0, 0] + pixels[0, 1]) / 2)


def test_backward_lines_are_turned_round() -> None:
    pixels = np.array([[[1, 2, 3], [3, 2, 1]]], np.int16)
    image = raw_image(pixels, ScanGeometry("collinear", mirrored=False), 1)
    np.testing.assert_array_equal(image[0, 0], [1, 2, 3])


def test_frames_of_two_sizes_are_never_joined() -> None:
    pairing = joined()
    pairing.take_raw(a_frame(0, shape=(1, 4, 7)), denoised_alive=True)
    assert numbers(pairing.take_denoised(a_frame(0), raw_alive=True)) == [(0, False, True)]
