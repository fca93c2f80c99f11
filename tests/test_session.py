"""What a session says of itself while it runs."""

from deepbid_rt.cli.session import status_line
from deepbid_rt.frame import Motion
from deepbid_rt.meter import Histogram
from deepbid_rt.status import State, Status
from deepbid_rt.tally import MotionTally


def status(*verdicts):
    tally = MotionTally()
    for verdict in verdicts:
        tally.add(Motion(1.26, -0.44, 9.0, verdict))
    return Status(State.RUNNING, 9, 8, 1.0, 1, {"publisher": 2}, 3, 0, {"total": Histogram()}, tally)


def test_the_line_counts_every_loss():
    assert status_line(status()) == "running  in 9  out 8  lost 6  waiting 0  latency p50 - ms  p99 - ms"


def test_the_line_tells_the_last_shift_and_what_was_not_tracked():
    assert status_line(status("restarted", "tracked")).endswith("p99 - ms  shift +1.3 -0.4 px  restarted 1")
    assert status_line(status("held", "held", "foreign")).endswith("px  held 2  foreign 1")
