import numpy as np
import pytest

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.denoising.pass_through import PassThrough
from deepbid_rt.errors import EngineError, StreamError
from deepbid_rt.frame import FrameFlag
from deepbid_rt.live.alarms import Alarms
from deepbid_rt.live.back_off import BackOff
from deepbid_rt.live.safe_denoiser import SafeDenoiser
from tests.fakes import SpyEngine, echo_card, flat_frame, raise_, stamped_frames, stream

INFO = stream()
WINDOW = echo_card(8, 2, 4)


class Safe:
    """A `SafeDenoiser` on a clock that a test moves, with a list of what it reports."""

    def __init__(self, make, reopen=None):
        self.now_s = 100.0
        self.failures, self.changes, self.alarms = [], [], Alarms()
        self.makes = 0

        def counted(info):
            self.makes += 1
            return make(info)

        self.denoiser = SafeDenoiser(
            INFO,
            counted,
            reopen,
            PassThrough(INFO),
            BackOff(clock=lambda: self.now_s),
            self.failures.append,
            lambda *change: self.changes.append(change),
            self.alarms,
        )

    def push(self, frames):
        return [out for frame in frames for out in self.denoiser.push(frame)]


def numbers(frames, marked=False):
    return [frame.index for frame in frames if not marked or frame.flags & FrameFlag.NOT_DENOISED]


def failing_denoiser(broken, card=WINDOW):
    return lambda info: Denoiser(
        SpyEngine(card, lambda window: raise_(OSError("gone")) if broken else window), info, gap="reset"
    )


def test_a_working_engine_denoises_as_without_this_class():
    frames = stamped_frames(INFO, 30)
    plain, safe = Denoiser(SpyEngine(WINDOW), INFO), Safe(lambda info: Denoiser(SpyEngine(WINDOW), info))
    expected = [out for frame in frames for out in plain.push(frame)] + plain.flush()
    got = safe.push(frames)
    assert safe.denoiser.inside == 30 - len(got) > 0
    got += safe.denoiser.flush()
    assert numbers(got) == numbers(expected) == list(range(30))
    for ours, theirs in zip(got, expected, strict=True):
        assert np.array_equal(ours.pixels, theirs.pixels)
    assert (safe.failures, safe.changes, safe.denoiser.inside) == ([], [], 0)


def test_frames_inside_a_failed_engine_pass_through_and_the_next_attempt_waits():
    broken = [True]
    safe = Safe(failing_denoiser(broken))
    frames = stamped_frames(INFO, 60)
    out = safe.push(frames[:20])
    assert numbers(out) == numbers(out, marked=True) == list(range(20))
    assert (safe.denoiser.inside, safe.makes, safe.changes) == (0, 1, [(True, 0)])
    assert safe.failures[0].came == "the engine raised OSError (gone)"
    broken.clear()
    safe.now_s += 0.9
    assert numbers(safe.push(frames[20:25]), marked=True) == list(range(20, 25))
    assert safe.makes == 1
    safe.now_s += 0.2
    out = safe.push(frames[25:26])  # begins the repair
    safe.denoiser.close(30)
    out += safe.push(frames[26:]) + safe.denoiser.flush()
    assert numbers(out) == list(range(25, 60))
    assert numbers(out, marked=True) == [25]
    assert (safe.makes, safe.changes) == (2, [(True, 0), (False, 26)])
    assert not safe.alarms.current()


def test_a_repair_that_fails_is_tried_again_later():
    broken = [True]
    tries = []

    def reopen():
        tries.append(safe.now_s)
        if len(tries) < 3:
            raise OSError("no device")
        broken.clear()

    safe = Safe(failing_denoiser(broken, echo_card()), reopen)
    for frame in stamped_frames(INFO, 200):
        safe.now_s += 0.1
        safe.push([frame])
        safe.denoiser.close(30)
    assert len(tries) == 3
    assert tries[1] - tries[0] == pytest.approx(2, abs=0.3)
    assert tries[2] - tries[1] == pytest.approx(4, abs=0.3)
    assert not safe.alarms.current()


@pytest.mark.parametrize("error", [StreamError, EngineError])
def test_an_engine_that_refuses_the_series_is_not_tried_again(error):
    safe = Safe(lambda _: raise_(error("an unfit engine", expected="a fit one", todo="choose")))
    out = []
    for frame in stamped_frames(INFO, 50):
        safe.now_s += 10.0
        out += safe.push([frame])
        safe.denoiser.close(30)
    assert numbers(out, marked=True) == list(range(50))
    assert safe.makes == 1
    assert "not tried again" in safe.alarms.current()[0].text


def test_frames_that_are_left_out_do_not_empty_a_window():
    safe = Safe(failing_denoiser([]))
    frames = stamped_frames(INFO, 100)
    out = safe.push(frames[:10])
    inside = safe.denoiser.inside
    assert inside
    assert safe.denoiser.leave_out(40) == []
    assert safe.denoiser.inside == inside
    out += safe.push(frames[50:])
    assert safe.denoiser.skip(1) != []  # a real gap does
    assert safe.denoiser.inside == 0
    assert numbers(out)[:10] == list(range(10))
    assert numbers(out)[10:] == list(range(50, 50 + len(out) - 10))


def test_a_frame_that_does_not_fit_is_refused_and_the_engine_goes_on():
    safe = Safe(failing_denoiser([], echo_card()))
    safe.push(stamped_frames(INFO, 5))
    with pytest.raises(StreamError):
        safe.push([flat_frame(INFO, 3, 1)])
    assert numbers(safe.push(stamped_frames(INFO, 5, 5))) == list(range(5, 10))
    assert (safe.denoiser.inside, safe.failures) == (0, [])
