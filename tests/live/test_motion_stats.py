"""Counts of motion statuses and the last shift."""

from deepbid_rt.frame import Motion
from deepbid_rt.live.motion_stats import MotionStats


def test_statuses_are_counted_and_the_last_shift_is_kept():
    stats = MotionStats()
    assert (stats.last, stats.summary()) == (None, None)
    for n, status in enumerate(["restarted", "tracked", "tracked", "held", "foreign", "tracked"]):
        stats.add(Motion(n + 0.12345, -n, 8.0, status))
    assert stats.counts == {"tracked": 3, "held": 1, "foreign": 1, "restarted": 1}
    assert stats.summary() == {**stats.counts, "last_dy_px": 5.123, "last_dx_px": -5}
