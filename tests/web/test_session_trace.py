"""Latency and motion of the last minute."""

from deepbid_rt.frame import Motion
from deepbid_rt.web.session_trace import SPACING_S, SPAN_S, SessionTrace


def test_a_reader_gets_each_point_once():
    trace, motion = SessionTrace(), Motion(1, 2, 9, "tracked")
    assert (trace.serial, list(trace.since(0))) == (0, [])
    for n in range(5):
        trace.add(n / 30, 10.0 + n, motion)
    assert [point.serial for point in trace.since(0)] == [1, 2, 3, 4, 5]
    assert [point.latency_ms for point in trace.since(3)] == [13, 14]
    assert list(trace.since(5)) == []
    assert next(trace.since(0)).motion is motion


def test_points_older_than_a_minute_are_removed():
    trace = SessionTrace()
    for n in range(10):
        trace.add(n * SPAN_S / 4, None, None)
    assert [point.serial for point in trace.since(0)] == [6, 7, 8, 9, 10]


def test_the_number_of_points_is_limited_at_any_frame_rate():
    trace = SessionTrace()
    for n in range(200_000):
        trace.add(n / 1000, None, None)
    assert 0.5 * SPAN_S / SPACING_S < len(list(trace.since(0))) <= SPAN_S / SPACING_S + 1


def test_the_trace_goes_on_when_the_clock_is_set_back():
    trace = SessionTrace()
    for t in (100.0, 40.0, 41.0):
        trace.add(t, None, None)
    assert trace.serial == 3
