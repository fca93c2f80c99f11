from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from deepbid_rt.viewer.image_pair import ImagePair
from deepbid_rt.viewer.roi import Roi
from deepbid_rt.viewer.roi_traces import COLUMNS, TRACE_S, RoiTraces, by_channel, dff, envelope
from tests.viewer.stand_ins import a_pair

WHOLE = Roi("roi 1", "rectangle", ((0.0, 0.0), (6.0, 4.0)))


def test_points_have_frame_numbers_and_lost_frames_have_no_point() -> None:
    traces = RoiTraces()
    traces.follow(WHOLE)
    for index in (0, 1, 4):
        traces.push(a_pair(index, index * 10, index))
    points = traces.points(WHOLE)
    assert [p.frame for p in points] == [0, 1, 4]
    raw, denoised = by_channel(points, 0)
    np.testing.assert_array_equal(raw, [0, 10, 40])
    np.testing.assert_array_equal(denoised, [0, 1, 4])
    assert np.isnan(by_channel(points, 3)[0]).all()


def test_a_new_region_is_measured_in_earlier_pairs() -> None:
    traces = RoiTraces()
    traces.follow(WHOLE, [a_pair(n, n, n) for n in range(5)])
    assert [p.frame for p in traces.points(WHOLE)] == list(range(5))


def test_traces_keep_the_last_minute() -> None:
    traces = RoiTraces()
    traces.follow(WHOLE)
    for second in range(200):
        traces.push(ImagePair(second, 0, second * 10**9 + 1, np.ones((1, 4, 6)), None))
    times = [p.t_s for p in traces.points(WHOLE)]
    assert times[-1] - times[0] == TRACE_S


def test_times_come_from_frame_numbers_if_frames_have_none() -> None:
    traces = RoiTraces()
    traces.reset(20.0)
    traces.follow(WHOLE, [ImagePair(n, 0, 0, np.ones((1, 4, 6)), None) for n in range(3)])
    assert [p.t_s for p in traces.points(WHOLE)] == [0, 0.05, 0.1]


def test_measuring_goes_on_after_a_change_of_size() -> None:
    traces = RoiTraces()
    traces.follow(Roi("roi 1", "rectangle", ((2.0, 2.0), (6.0, 4.0))))
    roi = traces.rois[0]
    for n, shape in enumerate([(1, 4, 6), (2, 2, 3), (1, 1, 1), (1, 4, 6)]):
        traces.push(ImagePair(n, 0, n, np.full(shape, n), np.full(shape, n)))
    raw, _ = by_channel(traces.points(roi), 0)
    np.testing.assert_array_equal(raw, [0, np.nan, np.nan, 3])


def test_pairs_of_other_planes_are_not_measured() -> None:
    traces = RoiTraces()
    traces.follow(WHOLE)
    traces.push(a_pair(0, 1, 1, plane=1))
    assert traces.points(WHOLE) == []
    traces.unfollow(WHOLE)
    assert traces.rois == []


def test_dff_is_relative_to_the_median_and_noise_does_not_bias_it() -> None:
    rng = np.random.default_rng(0)
    clean = np.full(3001, 100.0)
    clean[:300] = 150
    np.testing.assert_allclose(dff(clean)[:3], 0.5)
    assert dff(clean + rng.normal(0, 40, 3001))[:300].mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("means", [[-1.0, -2.0, -1.0], [0.0, 0.0], [np.nan, np.nan], []])
def test_dff_is_nan_if_f0_is_not_above_0(means: list[float]) -> None:
    assert np.isnan(dff(np.array(means))).all()


def test_the_csv_has_all_means_and_dff() -> None:
    traces = RoiTraces()
    traces.follow(WHOLE)
    for n in range(3):
        traces.push(a_pair(n, 10 + n, None if n == 1 else 20))
    text = io.StringIO()
    assert traces.write_csv(text) == 3
    rows = list(csv.DictReader(io.StringIO(text.getvalue())))
    assert tuple(rows[0]) == COLUMNS
    assert [row["frame"] for row in rows] == ["0", "1", "2"]
    assert [row["raw_f"] for row in rows] == ["10", "11", "12"]
    assert [row["denoised_f"] for row in rows] == ["20", "", "20"]
    assert float(rows[2]["raw_dff"]) == pytest.approx(1 / 11)


def test_a_long_line_is_reduced_to_lowest_and_highest_of_each_column() -> None:
    x = np.linspace(0, 100, 5000, endpoint=False)
    y = np.random.default_rng(0).normal(size=5000)
    y[1234], y[4321] = 50, -50
    thin_x, thin_y = envelope(x, y)
    assert thin_x.size == 200
    for column in range(100):
        values = y[50 * column : 50 * column + 50]
        np.testing.assert_array_equal(thin_y[thin_x == column + 0.5], (values.min(), values.max()))


@pytest.mark.parametrize("count", [0, 1, 2, 150])
def test_a_short_line_is_unchanged(count: int) -> None:
    x, y = np.linspace(0, 100, count), np.arange(count)
    thin_x, thin_y = envelope(x, y)
    np.testing.assert_array_equal(thin_x, x)
    np.testing.assert_array_equal(thin_y, y)
