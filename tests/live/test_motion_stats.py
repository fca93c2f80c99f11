"""Counts of verdicts and the last shift."""

from deepbid_rt.frame import Motion
from deepbid_rt.live.motion_stats import MotionStats


def test_verdicts_are_counted_and_the_last_shift_is_kept():
    tally = MotionStats()
    assert (tally.last, tally.summary()) == (None, None)
    for n, verdict in enumerate(["restarted", "tracked", "tracked", "held", "foreign", "tracked"]):
        tally.add(Motion(n + 0.12345, -n, 8.0, verdict))
    assert tally.counts == {"tracked": 3, "held": 1, "foreign": 1, "restarted": 1}
    assert tally.summary() == {**tally.counts, "last_dy_px": 5.123, "last_dx_px": -5}
