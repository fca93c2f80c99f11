"""The last minute in points."""

from deepbid_rt.frame import Motion
from deepbid_rt.web.trace import SPACING_S, SPAN_S, Trace


def test_a_reader_gets_each_point_once():
    trace, motion = Trace(), Motion(1, 2, 9, "tracked")
    assert (trace.serial, list(trace.since(0))) == (0, [])
    for n in range(5):
        trace.add(n / 30, 10.0 + n, motion)
    assert [point.serial for point in trace.since(0)] == [1, 2, 3, 4, 5]
    assert [point.latency_ms for point in trace.since(3)] == [13, 14]
    assert list(trace.since(5)) == []
    assert next(trace.since(0)).motion is motion


def test_what_is_older_than_a_minute_is_forgotten():
    trace = Trace()
    for n in range(10):
        trace.add(n * SPAN_S / 4, None, None)
    assert [point.serial for point in trace.since(0)] == [6, 7, 8, 9, 10]


def test_however_fast_the_stream_is_the_points_are_few():
    trace = Trace()
    for n in range(200_000):
        trace.add(n / 1000, None, None)
    assert 0.5 * SPAN_S / SPACING_S < len(list(trace.since(0))) <= SPAN_S / SPACING_S + 1


def test_a_clock_that_was_set_back_does_not_stop_the_trace():
    trace = Trace()
    for t in (100.0, 40.0, 41.0):
        trace.add(t, None, None)
    assert trace.serial == 3
