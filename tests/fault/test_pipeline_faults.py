"""A session with a part that is slow or fails."""

import threading

import numpy as np
import pytest

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import FileError, OverrunError, StageError, StreamError
from deepbid_rt.frame import Frame, Gap, StreamEnd
from deepbid_rt.live.event_queue import Overflow
from deepbid_rt.live.pipeline import Pipeline
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits, SessionState
from deepbid_rt.runtimes.echo import EchoEngine
from tests.fakes import ListSink, ListSource, SpyEngine, echo_card, pixels_of, raise_, stamped_frames, stream

PAPERS = echo_card(40, 8, 8)
GUARD_S = 30.0
"""Limit of every wait in these tests; a passing test does not reach it."""


def denoiser_maker(card=PAPERS):
    return lambda info: Denoiser(EchoEngine(card), info)


def settings_of(sink, name="out", capacity=1000, overflow=Overflow.FAIL):
    return SinkSettings(name, sink, overflow, capacity)


def assert_frames(frames, info, numbers):
    assert [frame.index for frame in frames] == list(numbers)
    for frame in frames:
        assert np.array_equal(frame.pixels, pixels_of(info, frame.index))


def failing_run(pipeline, error):
    with pytest.raises(error) as failed:
        pipeline.run()
    status = pipeline.status()
    assert status.state is SessionState.FAILED
    assert status.frames_in == status.frames_out + status.engine_lost
    return failed.value, status


class Blockade:
    """A sink hook that blocks until it is opened."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, _event):
        self.reached.set()
        assert self.opened.wait(GUARD_S)

    def wait_for_sink(self):
        assert self.reached.wait(GUARD_S)

    def open(self):
        self.opened.set()


# Slow.


def test_a_slow_sink_that_may_lose_frames_gets_the_newest_and_a_gap():
    info = stream()
    blockade = Blockade()
    slow, fast = ListSink(on_put=blockade), ListSink()
    frames = stamped_frames(info, 50)
    steps = [info, frames[0], blockade.wait_for_sink, *frames[1:], StreamEnd("done")]
    # The fast sink is the last one to be fed, so its end shows that all frames have been delivered.
    done = threading.Event()
    fast = ListSink(on_end=lambda _: done.set())
    pipeline = Pipeline(
        ListSource(steps),
        denoiser_maker(echo_card()),
        denoised=[settings_of(slow, "slow", 10, Overflow.NEWEST), settings_of(fast, "fast")],
        limits=SessionLimits(series=1),
    )
    opener = threading.Thread(target=lambda: (done.wait(GUARD_S), blockade.open()))
    opener.start()
    status = pipeline.run()
    opener.join(GUARD_S)
    assert_frames(fast.frames, info, range(50))
    assert_frames(slow.frames, info, [0, *range(40, 50)])
    assert slow.gaps == [Gap(1, 39, "engine")]
    assert slow.events.index(slow.gaps[0]) == 2
    assert slow.ends == ["done"]
    assert status.sink_lost == {"slow": 39, "fast": 0}
    assert (status.state, status.frames_out, status.engine_lost) == (SessionState.DONE, 50, 0)


def test_a_slow_raw_recorder_fails_the_session_and_keeps_all_earlier_frames():
    info = stream()
    blockade = Blockade()
    recorder, other = ListSink(on_put=blockade), ListSink()
    frames = stamped_frames(info, 40)
    pipeline = Pipeline(
        ListSource([info, frames[0], blockade.wait_for_sink, *frames[1:22], blockade.open, *frames[22:]]),
        denoiser_maker(),
        raw=[settings_of(recorder, "the recorder", 20)],
        denoised=[settings_of(other)],
    )
    opener = threading.Thread(target=lambda: (wait_for_failure(pipeline), blockade.open()))
    opener.start()
    error, status = failing_run(pipeline, OverrunError)
    opener.join(GUARD_S)
    assert str(error) == (
        "the recorder was 20 frames behind when frame 21 came; expected the recorder to keep up with the stream; "
        "use a faster disk, a smaller frame or a lower rate; all frames before this one are kept."
    )
    assert_frames(recorder.frames, info, range(21))
    assert_frames(other.frames, info, range(22))  # flushed
    assert recorder.ends == other.ends == ["error"]
    assert (recorder.closed, other.closed) == (1, 1)
    assert status.sink_lost == {"the recorder": 1, "out": 0}


def wait_for_failure(pipeline):
    polls = threading.Event()
    for _ in range(int(GUARD_S / 0.005)):
        if pipeline.status().state is SessionState.FAILED:
            return
        polls.wait(0.005)


def test_a_slow_denoised_recorder_fails_the_session_and_keeps_all_earlier_frames():
    info = stream()
    blockade = Blockade()
    recorder = ListSink(on_put=blockade)
    frames = stamped_frames(info, 60)
    pipeline = Pipeline(
        ListSource([info, *frames[:16], blockade.wait_for_sink, *frames[16:]]),
        denoiser_maker(),
        denoised=[settings_of(recorder, "the recorder", 20)],
    )
    opener = threading.Thread(target=lambda: (wait_for_failure(pipeline), blockade.open()))
    opener.start()
    error, status = failing_run(pipeline, OverrunError)
    opener.join(GUARD_S)
    assert error.came == "the recorder was 20 frames behind when frame 21 came"
    assert_frames(recorder.frames, info, range(21))
    assert recorder.closed == 1
    assert status.sink_lost["the recorder"] == 1


def test_an_engine_that_falls_behind_loses_the_older_half_of_the_queue():
    info = stream()
    blockade = Blockade()
    engine = SpyEngine(echo_card(), lambda window: (blockade(None), window)[1])
    raw, denoised = ListSink(), ListSink()
    frames = stamped_frames(info, 31)
    pipeline = Pipeline(
        ListSource([info, frames[0], blockade.wait_for_sink, *frames[1:], StreamEnd("done"), blockade.open]),
        lambda info: Denoiser(engine, info),
        raw=[settings_of(raw, "raw")],
        denoised=[settings_of(denoised)],
        limits=SessionLimits(idle_s=0.1),
        lag_frames=20,
    )
    status = pipeline.run()
    assert_frames(raw.frames, info, range(31))
    assert_frames(denoised.frames, info, [0, *range(11, 31)])
    assert denoised.gaps == [Gap(1, 10, "engine")]
    assert (status.frames_in, status.frames_out, status.engine_lost) == (31, 21, 10)


# Failing.


def test_a_raising_engine_fails_the_session_with_its_cause():
    info = stream()
    cause = ZeroDivisionError("by nought")
    calls = []

    def answer(window):
        calls.append(1)
        return raise_(cause) if len(calls) == 3 else window

    raw, denoised = ListSink(), ListSink()
    pipeline = Pipeline(
        ListSource([info, *stamped_frames(info, 200)]),
        lambda info: Denoiser(SpyEngine(PAPERS, answer), info),
        raw=[settings_of(raw, "raw")],
        denoised=[settings_of(denoised)],
        limits=SessionLimits(frames=200),
    )
    error, status = failing_run(pipeline, StageError)
    assert str(error) == (
        "the engine raised ZeroDivisionError (by nought); expected it to run through the session; "
        "see the log; all frames delivered before are complete."
    )
    assert error.__cause__ is cause
    assert_frames(denoised.frames, info, range(16))
    assert_frames(raw.frames, info, range(status.frames_in))
    assert raw.ends == ["error"] or status.frames_in == 200
    assert (raw.closed, denoised.closed) == (1, 1)


def test_an_engine_that_answers_nan_fails_the_session_and_is_named():
    info = stream()
    pipeline = Pipeline(
        ListSource([info, *stamped_frames(info, 20)]),
        lambda info: Denoiser(SpyEngine(PAPERS, lambda window: window * np.float32(np.nan)), info),
        limits=SessionLimits(frames=20),
    )
    error, status = failing_run(pipeline, StageError)
    assert error.came == ("engine 'small' returned values that are not finite, before frame 16 of the plane")
    assert (status.frames_out, status.engine_lost) == (0, 20)


def test_the_refusal_of_an_unfit_engine_is_raised_unchanged():
    info = stream()
    denoised = ListSink()
    refusal = StreamError("an unfit engine", expected="a fit one", todo="choose")
    pipeline = Pipeline(
        ListSource([info, *stamped_frames(info, 20)]),
        lambda _: raise_(refusal),
        denoised=[settings_of(denoised)],
    )
    error, _ = failing_run(pipeline, StreamError)
    assert error is refusal
    assert denoised.events == []
    assert denoised.closed == 1


def test_a_frame_that_changes_shape_ends_the_session_with_one_sentence():
    info = stream((1, 4, 6))
    frames = stamped_frames(info, 20)
    raw, denoised = ListSink(), ListSink()
    pipeline = Pipeline(
        ListSource([info, *frames, Frame(20, np.zeros((1, 5, 6), np.int16))]),
        denoiser_maker(),
        raw=[settings_of(raw, "raw")],
        denoised=[settings_of(denoised)],
    )
    error, status = failing_run(pipeline, StreamError)
    assert str(error) == (
        "frame 20 has shape (1, 5, 6) and type <i2; expected shape (1, 4, 6) and type <i2 as the series began; "
        "start a new series when the frame size changes."
    )
    assert (raw.closed, denoised.closed) == (1, 1)
    assert status.frames_in == 21


@pytest.mark.parametrize("again", [7, 19])
def test_a_frame_that_comes_twice_ends_the_session_with_one_sentence(again):
    info = stream()
    frames = stamped_frames(info, 20)
    pipeline = Pipeline(ListSource([info, *frames, frames[again]]), denoiser_maker())
    error, _ = failing_run(pipeline, StreamError)
    assert error.came == f"frame {again} after frame 19"


@pytest.mark.parametrize("hook", ["on_start", "on_put", "on_end"])
@pytest.mark.parametrize("side", ["raw", "denoised"])
def test_a_raising_sink_fails_the_session_and_the_others_are_closed_properly(side, hook):
    info = stream()
    broken = ListSink(**{hook: lambda _: raise_(ValueError("disk on fire"))})
    sinks = {"broken": broken, "raw": ListSink(), "denoised": ListSink()}
    settings = {name: settings_of(sink, name) for name, sink in sinks.items()}
    pipeline = Pipeline(
        ListSource([info, *stamped_frames(info, 50), StreamEnd("done")]),
        denoiser_maker(),
        raw=[settings["broken"], settings["raw"]] if side == "raw" else [settings["raw"]],
        denoised=[settings["broken"], settings["denoised"]] if side == "denoised" else [settings["denoised"]],
    )
    error, status = failing_run(pipeline, StageError)
    assert str(error) == (
        "broken raised ValueError (disk on fire); expected it to run through the session; "
        "see the log; all frames delivered before are complete."
    )
    assert isinstance(error.__cause__, ValueError)
    for sink in sinks.values():
        assert sink.closed == 1
    assert len(sinks["raw"].ends) == len(sinks["denoised"].ends) == 1
    assert_frames(sinks["raw"].frames, info, range(status.frames_in))
    assert_frames(sinks["denoised"].frames, info, range(status.frames_in))
    assert len(broken.frames) + status.sink_lost["broken"] == status.frames_in
    assert status.sink_lost["raw"] == status.sink_lost["denoised"] == 0


def test_the_refusal_of_a_sink_is_raised_unchanged():
    refusal = FileError("no room", expected="room", todo="clean up")
    pipeline = Pipeline(
        ListSource([stream(), *stamped_frames(stream(), 5)]),
        denoiser_maker(echo_card()),
        denoised=[settings_of(ListSink(on_put=lambda _: raise_(refusal)))],
    )
    error, _ = failing_run(pipeline, FileError)
    assert error is refusal


def test_a_sink_that_raises_in_close_does_not_prevent_closing_the_others():
    first, second = ListSink(on_close=lambda: raise_(OSError("flush"))), ListSink()
    source = ListSource([stream(), StreamEnd("done")])
    pipeline = Pipeline(
        source,
        denoiser_maker(),
        denoised=[settings_of(first, "first"), settings_of(second, "second")],
        limits=SessionLimits(series=1),
    )
    error, _ = failing_run(pipeline, StageError)
    assert error.came == "first raised OSError (flush)"
    assert (second.closed, source.closed) == (1, 1)


def test_a_raising_source_ends_the_session_after_a_flush():
    info = stream()
    raw, denoised = ListSink(), ListSink()
    source = ListSource([info, *stamped_frames(info, 21), ConnectionError("gone")])
    pipeline = Pipeline(source, denoiser_maker(), raw=[settings_of(raw, "raw")], denoised=[settings_of(denoised)])
    error, status = failing_run(pipeline, StageError)
    assert error.came == "the source raised ConnectionError (gone)"
    assert isinstance(error.__cause__, ConnectionError)
    assert_frames(raw.frames, info, range(21))
    assert_frames(denoised.frames, info, range(21))
    assert raw.ends == denoised.ends == ["error"]
    assert (raw.closed, denoised.closed, source.closed) == (1, 1, 1)
    assert (status.frames_out, status.engine_lost) == (21, 0)


@pytest.mark.parametrize("raised", [OSError("port"), StreamError("a bad file", expected="a good one", todo="try")])
def test_a_source_that_cannot_open_closes_the_sinks(raised):
    sink = ListSink()
    source = ListSource([], refuse=raised)
    pipeline = Pipeline(source, denoiser_maker(), denoised=[settings_of(sink)])
    error, _ = failing_run(pipeline, (StageError, StreamError))
    assert raised in (error, error.__cause__)
    assert (sink.closed, sink.events, source.closed) == (1, [], 1)


def test_the_first_failure_is_the_one_that_is_raised():
    """A sink breaks; then the source breaks too."""
    broke = threading.Event()

    def put(_frame):
        broke.set()
        raise ValueError("first")

    pipeline = Pipeline(
        ListSource(
            [stream(), *stamped_frames(stream(), 1), lambda: broke.wait(GUARD_S), lambda: wait_for_failure(pipeline)]
        ),
        denoiser_maker(echo_card()),
        denoised=[settings_of(ListSink(on_put=put, on_close=lambda: raise_(OSError("second"))))],
    )
    error, _ = failing_run(pipeline, StageError)
    assert error.came == "out raised ValueError (first)"


def test_frames_before_any_series_are_counted_as_lost():
    info = stream()
    denoised = ListSink()
    status = Pipeline(
        ListSource([*stamped_frames(info, 3), info, *stamped_frames(info, 20), StreamEnd("done")]),
        denoiser_maker(),
        denoised=[settings_of(denoised)],
        limits=SessionLimits(series=1),
    ).run()
    assert (status.frames_in, status.frames_out, status.engine_lost) == (23, 20, 3)
