from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from deepbid_rt.viewer.playback import Playback
from tests.viewer.stand_ins import PERIOD_NS, a_pair


def test_live_shows_the_newest_pair_and_paused_stays() -> None:
    playback = Playback()
    assert playback.shown is None
    pairs = [a_pair(n, 1) for n in range(5)]
    assert playback.push(pairs[3])
    playback.pause(pairs[:4])
    assert not playback.push(pairs[4])
    assert (playback.state("live"), playback.shown.index) == ("paused", 3)
    playback.step(-2)
    assert (playback.shown.index, playback.back_s) == (1, 2 * PERIOD_NS / 1e9)
    assert [p.index for p in playback.up_to_shown()] == [0, 1]
    playback.resume()
    assert (playback.state("stalled"), playback.shown.index, playback.back_s) == ("stalled", 4, 0.0)


def test_there_is_nothing_to_pause_before_the_first_frame() -> None:
    playback = Playback()
    playback.pause([])
    playback.step(1)
    assert playback.state("waiting") == "waiting"


class Machine(RuleBasedStateMachine):
    """A stream that continues while the user pauses, steps and resumes at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.playback, self.stream = Playback(), [a_pair(0, 1)]
        self.playback.push(self.stream[0])
        self.frozen: int | None = None

    @rule()
    def frame(self) -> None:
        self.stream.append(a_pair(len(self.stream), 1))
        assert self.playback.push(self.stream[-1]) is not self.playback.paused

    @rule()
    def pause(self) -> None:
        self.playback.pause(self.stream[-3:])
        if self.frozen is None:
            self.frozen = self.stream[-1].index

    @rule()
    def resume(self) -> None:
        self.playback.resume()
        self.frozen = None

    @rule(count=st.integers(-5, 5))
    def step(self, count: int) -> None:
        self.playback.step(count)

    @invariant()
    def the_shown_pair_was_received(self) -> None:
        shown = self.playback.shown.index
        if self.frozen is None:
            assert shown == self.stream[-1].index
        else:
            assert max(0, self.frozen - 2) <= shown <= self.frozen
            assert self.playback.held[self.playback.position].index == shown
            assert self.playback.back_s >= 0


Machine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestMachine = Machine.TestCase
