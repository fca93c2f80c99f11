import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepbid_rt.errors import RefusedError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.scan.directions import (
    MERGE_MODES,
    merge_scan,
    merge_views,
    merged_geometry,
    merged_line_count,
    split_scan,
    to_image_order,
    view_line_counts,
)

SCANS = st.builds(
    ScanGeometry,
    layout=st.just("ordinary"),
    bidirectional=st.booleans(),
    first=st.sampled_from(["forward", "backward"]),
    mirrored=st.booleans(),
) | st.builds(
    ScanGeometry,
    layout=st.just("collinear"),
    first=st.sampled_from(["forward", "backward"]),
    mirrored=st.booleans(),
)
FRAMES = hnp.arrays(
    dtype=st.sampled_from([np.uint8, np.uint16, np.int16, np.float32]),
    shape=hnp.array_shapes(min_dims=2, max_dims=4, max_side=7),
    elements=st.integers(0, 255),
)


@given(FRAMES, SCANS)
def test_merge_is_the_exact_inverse_of_split(frame, scan):
    forward, backward = split_scan(frame, scan)
    again = merge_scan(forward, backward, scan)
    assert again.dtype == frame.dtype
    assert np.array_equal(again, frame)
    assert not np.shares_memory(again, frame)


@given(FRAMES, SCANS)
def test_split_views_have_the_stated_numbers_of_lines(frame, scan):
    forward, backward = split_scan(frame, scan)
    assert (forward.shape[-2], backward.shape[-2]) == view_line_counts(frame.shape[-2], scan)


@given(FRAMES, SCANS)
def test_split_copies_nothing(frame, scan):
    assert all(np.shares_memory(view, frame) for view in split_scan(frame, scan) if view.size)


@pytest.mark.parametrize("first", ["forward", "backward"])
@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_only_backward_lines_of_a_bidirectional_scan_are_reversed(first, mirrored, bidirectional):
    frame = np.arange(20).reshape(5, 4)
    scan = ScanGeometry(first=first, mirrored=mirrored, bidirectional=bidirectional)
    forward, backward = split_scan(frame, scan)
    lines = {"forward": frame[0::2], "backward": frame[1::2]}
    if first == "backward":
        lines = {"forward": frame[1::2], "backward": frame[0::2]}
    reversed_ = bidirectional and not mirrored
    assert np.array_equal(forward, lines["forward"])
    assert np.array_equal(backward, lines["backward"][:, ::-1] if reversed_ else lines["backward"])


@given(FRAMES, SCANS)
def test_image_order_is_the_interleaving_of_the_two_views(frame, scan):
    forward, backward = split_scan(frame, scan)
    mirrored = ScanGeometry(scan.layout, scan.bidirectional, scan.first, mirrored=True)
    before = frame.copy()
    assert np.array_equal(to_image_order(frame, scan), merge_scan(forward, backward, mirrored))
    assert np.array_equal(frame, before)
    if scan.mirrored or not scan.bidirectional:
        assert to_image_order(frame, scan) is frame


def collinear(first="forward", **rest):
    return ScanGeometry(layout="collinear", first=first, **rest)


@given(st.integers(1, 9), SCANS, st.sampled_from(MERGE_MODES))
def test_merged_views_have_the_stated_number_of_lines(lines, scan, merge):
    frame = np.arange(2 * lines * 3, dtype=np.float32).reshape(2, lines, 3)
    if scan.layout == "collinear":
        views = list(split_scan(frame, scan))
    elif merge in ("forward", "backward"):
        return
    else:
        views = [to_image_order(frame, scan)]
    image = merge_views(views, scan, merge)
    assert image.shape == (2, merged_line_count(lines, scan, merge), 3)


@pytest.mark.parametrize("first", ["forward", "backward"])
def test_the_mean_of_an_odd_frame_keeps_its_unpaired_last_line(first):
    frame = np.array([[1, 2], [3, 6], [5, 9]], np.float32)
    before = frame.copy()
    views = list(split_scan(frame, collinear(first)))
    assert merge_views(views, collinear(first), "mean").tolist() == [[2, 4], [5, 9]]
    assert np.array_equal(frame, before)


@pytest.mark.parametrize("first", ["forward", "backward"])
def test_the_mean_of_a_frame_of_one_line_is_that_line(first):
    frame = np.array([[7, 8]], np.float32)
    assert merge_views(list(split_scan(frame, collinear(first))), collinear(first), "mean").tolist() == [[7, 8]]


def test_one_direction_can_be_selected():
    forward, backward = np.zeros((3, 2), np.float32), np.ones((2, 2), np.float32)
    assert merge_views([forward, backward], collinear(), "forward") is forward
    assert merge_views([forward, backward], collinear(), "backward") is backward
    assert merge_views([forward, backward], collinear(), "interleave")[:, 0].tolist() == [0, 1, 0, 1, 0]


@given(st.integers(1, 7), st.booleans(), st.sampled_from(["forward", "backward"]))
def test_interleaving_puts_lines_back_in_image_order(lines, mirrored, first):
    scan = collinear(first, mirrored=mirrored)
    frame = np.arange(lines * 3, dtype=np.float32).reshape(lines, 3)
    image = merge_views(list(split_scan(frame, scan)), scan, "interleave")
    assert np.array_equal(image, to_image_order(frame, scan))


@given(SCANS)
def test_denoised_frames_are_in_image_order(scan):
    for merge in ("mean", "interleave"):
        merged = merged_geometry(scan, merge)
        image = np.arange(12).reshape(4, 3)
        assert to_image_order(image, merged) is image
        assert merged.extra == scan.extra


def test_a_merged_collinear_frame_has_an_ordinary_unidirectional_scan():
    extra = {"f_res_hz": 8000.0}
    for merge in ("mean", "forward", "backward"):
        assert merged_geometry(collinear(extra=extra), merge) == ScanGeometry(
            layout="ordinary", bidirectional=False, extra=extra
        )
    assert merged_geometry(collinear("backward", mirrored=False), "interleave") == collinear("backward")


def test_an_unknown_merge_is_refused():
    with pytest.raises(RefusedError) as refused:
        merged_geometry(collinear(), "median")
    assert str(refused.value) == (
        "merge 'median'; expected one of mean, forward, backward, interleave; choose one of these."
    )


@pytest.mark.parametrize("merge", ["forward", "backward"])
def test_one_direction_of_an_ordinary_scan_is_refused(merge):
    with pytest.raises(RefusedError, match=f"^merge '{merge}' of an ordinary scan"):
        merged_geometry(ScanGeometry(), merge)
