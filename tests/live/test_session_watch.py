from types import SimpleNamespace

import pytest

from deepbid_rt.live.alarms import Alarms
from deepbid_rt.live.session_watch import SessionWatch
from deepbid_rt.live.status import SessionState


class Watched:
    """A session at one moment, whose figures a test can change."""

    def __init__(self):
        self.status = SimpleNamespace(state=SessionState.RUNNING, skipped=0)
        self.lost_anywhere = {"ring": 0, "engine": 0}
        self.refused = {"late": 0}
        self.busy = {}
        self.now_s = 0.0
        self.further = []
        self.alarms = Alarms()
        self.watch = SessionWatch(
            lambda: self, lambda: self.busy, self.alarms, self.further.append, clock=lambda: self.now_s
        )

    def look(self):
        self.watch.look()
        return [(alarm.kind, alarm.text) for alarm in self.alarms.current()]


@pytest.fixture
def watched():
    return Watched()


def test_a_healthy_session_has_no_alarm(watched, caplog):
    watched.busy = {"the raw recorder": 0.5, "the engine": 5.0}
    assert watched.look() == []
    assert watched.further == [watched]
    assert not caplog.messages


def test_a_sink_that_hangs_is_named_until_it_works_again(watched):
    watched.busy = {"the raw recorder": 12.0}
    [(kind, text)] = watched.look()
    assert kind == "sink"
    assert text.startswith("the raw recorder has worked on one frame for 12 s and may hang; the other parts go on;")
    watched.busy = {}
    assert watched.look() == []


def test_an_engine_that_hangs_is_named(watched):
    watched.busy = {"the engine": 31.0}
    [(kind, text)] = watched.look()
    assert kind == "safe-mode"
    assert text.startswith("the engine has worked on one frame for 31 s")


def test_skipped_frames_are_an_alarm_while_the_session_is_behind(watched):
    watched.status.state, watched.status.skipped = SessionState.BEHIND, 7
    [(kind, text)] = watched.look()
    assert kind == "behind"
    assert text.startswith("denoising is slower than the microscope: 7 frames were skipped so far;")
    watched.status.state = SessionState.RUNNING
    assert watched.look() == []


def test_losses_are_warned_of_at_once_then_every_ten_seconds(watched, caplog):
    watched.lost_anywhere["ring"] = 1
    watched.look()
    watched.lost_anywhere["engine"] = 2
    watched.now_s = 9.0
    watched.look()
    assert caplog.messages == ["1 frames are missing so far (ring 1)"]
    watched.refused["late"] = 3
    watched.now_s = 10.0
    watched.look()
    watched.now_s = 30.0
    watched.look()
    assert caplog.messages[1:] == ["6 frames are missing so far (ring 1, engine 2, refused, late 3)"]


def test_the_rest_is_warned_of_at_the_end(watched, caplog):
    watched.lost_anywhere["ring"] = 1
    watched.look()
    with watched.watch.watching():
        watched.lost_anywhere["ring"] = 5
    assert caplog.messages[-1] == "5 frames are missing so far (ring 5)"
