"""A session with a part that is slow or fails."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.frame import Frame, FrameFlag, Gap, StreamEnd
from deepbid_rt.live.pipeline import Pipeline
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits, SessionState
from deepbid_rt.runtimes.echo import EchoEngine
from tests.fakes import (
    ListSink,
    ListSource,
    SpyEngine,
    echo_card,
    flat_frame,
    pixels_of,
    raise_,
    stamped_frames,
    stream,
)

PAPERS = echo_card(40, 8, 8)
GUARD_S = 30.0
"""Limit of every wait in these tests; a passing test does not reach it."""
SOON_S = 0.001
"""First wait before a failed part is tried again."""


def denoiser_maker(card=PAPERS):
    return lambda info: Denoiser(EchoEngine(card), info)


def settings_of(sink, name="out", capacity=1000):
    return SinkSettings(name, sink, capacity, retry_s=SOON_S)


def assert_frames(frames, info, numbers):
    assert [frame.index for frame in frames] == list(numbers)
    for frame in frames:
        assert np.array_equal(frame.pixels, pixels_of(info, frame.index))


def failing_run(pipeline, error):
    with pytest.raises(error) as failed:
        pipeline.run()
    status = pipeline.status()
    assert status.state is SessionState.FAILED
    assert (status.unexplained, status.waiting, status.inside) == (0, 0, 0)
    return failed.value, status


def wait_until(condition):
    polls = threading.Event()
    for _ in range(int(GUARD_S / 0.005)):
        if condition():
            return
        polls.wait(0.005)
    pytest.fail("never reached")


def gap_frames(sink):
    return [n for gap in sink.gaps for n in range(gap.first, gap.first + gap.count)]


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
        denoised=[settings_of(slow, "slow", 10), settings_of(fast, "fast")],
        limits=SessionLimits(series=1),
    )
    opener = threading.Thread(target=lambda: (done.wait(GUARD_S), blockade.open()))
    opener.start()
    status = pipeline.run()
    opener.join(GUARD_S)
    assert_frames(fast.frames, info, range(50))
    assert_frames(slow.frames, info, [0, *range(40, 50)])
    assert slow.gaps == [Gap(1, 39, "sink")]
    assert slow.events.index(slow.gaps[0]) == 2
    assert slow.ends == ["done"]
    assert status.sink_lost == {"slow": 39, "fast": 0}
    assert (status.state, status.frames_out, status.engine_lost) == (SessionState.DONE, 50, 0)


@pytest.mark.parametrize("side", ["raw", "denoised"])
def test_a_slow_recorder_misses_frames_and_stops_nothing_else(side):
    info = stream()
    blockade = Blockade()
    recorder, other = ListSink(on_put=blockade), ListSink()
    frames = stamped_frames(info, 60)
    recorders = {side: [settings_of(recorder, "the recorder", 20)]}
    others = {"denoised" if side == "raw" else "raw": [settings_of(other)]}
    source = ListSource([info, frames[0], blockade.wait_for_sink, *frames[1:], StreamEnd("done")])
    pipeline = Pipeline(source, denoiser_maker(echo_card()), **recorders, **others, limits=SessionLimits(series=1))
    opener = threading.Thread(
        target=lambda: (wait_until(lambda: pipeline.status().sink_lost["the recorder"] >= 39), blockade.open())
    )
    opener.start()
    status = pipeline.run()
    opener.join(GUARD_S)
    assert_frames(other.frames, info, range(60))
    recorded = [frame.index for frame in recorder.frames]
    assert sorted([*recorded, *gap_frames(recorder)]) == list(range(60))
    assert {gap.cause for gap in recorder.gaps} == {"sink"}
    assert len(recorder.gaps) == 1
    assert status.sink_lost == {"the recorder": len(gap_frames(recorder)), "out": 0}
    assert status.state is SessionState.DONE


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


class Clock:
    """A live source: its frames arrive now, or some time ago."""

    def __init__(self, info, planes=1):
        self.info = info
        self.number = 0

    def frame(self, age_s=0.0):
        n = self.number
        self.number += 1
        frame = Frame(n, pixels_of(self.info, n), plane=n % self.info.planes)
        # The age is taken when the frame is read, not when the list is made.
        return replace(frame, arrived_ns=time.time_ns() - int(age_s * 1e9))


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("gap", ["hold", "reset"])
def test_live_output_goes_to_the_newest_frame_of_the_plane(planes, gap):
    """While the engine works on the first frames, 32 wait; whole rounds of planes are skipped and announced."""
    info = stream(planes=planes)
    blockade = Blockade()
    engine = SpyEngine(echo_card(), lambda window: (blockade(None), window)[1])
    denoised, raw = ListSink(), ListSink()
    clock = Clock(info)
    late = threading.Event()
    steps = [info, clock.frame(), blockade.wait_for_sink, *(clock.frame() for _ in range(32)), StreamEnd("done")]
    now_ns = time.time_ns()
    steps = [replace(s, arrived_ns=now_ns + int(3600e9)) if isinstance(s, Frame) else s for s in steps]

    def open_late():
        late.set()
        blockade.open()

    pipeline = Pipeline(
        ListSource([*steps, open_late]),
        lambda info: Denoiser(engine, info, gap=gap),
        raw=[settings_of(raw, "raw")],
        denoised=[settings_of(denoised)],
        limits=SessionLimits(idle_s=0.1),
        max_latency_s=-3600.0 + 1e-9,  # in reach of the frames' time of arrival: every frame is late
    )
    status = pipeline.run()
    assert_frames(raw.frames, info, range(33))
    skipped = 31 // planes * planes
    kept = [n for n in range(33) if n < 1 or n > skipped]
    assert_frames(denoised.frames, info, kept)
    assert denoised.gaps == [Gap(1, skipped, "skipped")]
    assert (status.skipped, status.engine_lost, status.frames_out) == (skipped, 0, 33 - skipped)
    assert status.unexplained == 0


def test_frames_that_come_out_in_time_are_not_skipped():
    info = stream()
    clock = Clock(info)
    denoised = ListSink()
    status = Pipeline(
        ListSource([info, *(clock.frame() for _ in range(50)), StreamEnd("done")]),
        denoiser_maker(echo_card()),
        denoised=[settings_of(denoised)],
        limits=SessionLimits(series=1),
        max_latency_s=GUARD_S,
    ).run()
    assert_frames(denoised.frames, info, range(50))
    assert status.skipped == 0


def test_frames_of_a_recording_are_never_late():
    info = stream()
    denoised = ListSink()
    status = Pipeline(
        ListSource([info, *stamped_frames(info, 50), StreamEnd("done")]),
        denoiser_maker(),
        denoised=[settings_of(denoised)],
        limits=SessionLimits(series=1),
        max_latency_s=1e-9,
    ).run()
    assert_frames(denoised.frames, info, range(50))
    assert status.skipped == 0


def test_the_state_is_behind_while_frames_are_skipped():
    info = stream()
    blockade = Blockade()
    engine = SpyEngine(echo_card(), lambda window: (blockade(None), window)[1])
    clock, states = Clock(info), []
    first = clock.frame()
    later = [replace(clock.frame(), arrived_ns=time.time_ns() + int(3600e9)) for _ in range(5)]
    steps = [
        info,
        replace(first, arrived_ns=time.time_ns() + int(3600e9)),
        lambda: states.append(pipeline.status().state),
        blockade.wait_for_sink,
        *later,
        blockade.open,
        lambda: wait_until(lambda: pipeline.status().skipped),
        lambda: states.append(pipeline.status().state),
    ]
    pipeline = Pipeline(
        ListSource(steps),
        lambda info: Denoiser(engine, info),
        limits=SessionLimits(idle_s=0.05),
        max_latency_s=-3600.0 + 1e-9,
    )
    pipeline.run()
    assert states == [SessionState.RUNNING, SessionState.BEHIND]


# Ending.


def test_aborting_gives_up_what_waits_and_counts_it():
    info = stream()
    blockade = Blockade()
    engine = SpyEngine(echo_card(), lambda window: (blockade(None), window)[1])
    raw, denoised = ListSink(), ListSink()
    frames = stamped_frames(info, 50)

    def abort():
        pipeline.abort()
        threading.Timer(0.05, blockade.open).start()

    pipeline = Pipeline(
        ListSource([info, frames[0], blockade.wait_for_sink, *frames[1:], abort]),
        lambda info: Denoiser(engine, info),
        raw=[settings_of(raw, "raw")],
        denoised=[settings_of(denoised)],
    )
    error, status = failing_run(pipeline, StageError)
    assert error.came == "the engine was not done at the end; 49 frames were given up"
    assert_frames(raw.frames, info, range(50))
    assert (status.frames_out, status.engine_lost) == (1, 49)
    assert (raw.closed, denoised.closed) == (1, 1)


@pytest.mark.parametrize("part", ["engine", "sink"])
def test_a_part_that_hangs_at_the_end_is_named_and_left_behind(part, monkeypatch):
    monkeypatch.setattr("deepbid_rt.live.pipeline.GIVE_UP_S", 0.05)
    info = stream()
    blockade = Blockade()
    engine = SpyEngine(echo_card(), lambda window: (blockade(None), window)[1] if part == "engine" else window)
    hanging, other = ListSink(on_put=blockade if part == "sink" else None), ListSink()
    pipeline = Pipeline(
        ListSource([info, *stamped_frames(info, 5), StreamEnd("done")]),
        lambda info: Denoiser(engine, info),
        raw=[settings_of(other, "raw")],
        denoised=[settings_of(hanging, "the recorder")],
        limits=SessionLimits(series=1),
        drain_s=0.05,
    )
    try:
        with pytest.raises(StageError) as failed:
            pipeline.run()
    finally:
        blockade.open()
        for thread in threading.enumerate():
            if thread.name in ("denoise", "sink the recorder"):
                thread.join(GUARD_S)
    name = "the engine" if part == "engine" else "the recorder"
    assert failed.value.came == f"{name} hangs at the end; 4 frames were given up"
    assert_frames(other.frames, info, range(5))
    assert other.closed == 1
    assert hanging.closed == (part == "engine"), "a thread that hangs is still inside the sink"


# Failing.


def failing_engine(failures, error=None, card=PAPERS):
    """An engine whose calls with these numbers raise, or answer NaN."""
    calls = []

    def answer(window):
        calls.append(1)
        if len(calls) - 1 not in failures:
            return window
        return raise_(error) if error else window * np.float32(np.nan)

    return SpyEngine(card, answer)


@pytest.mark.parametrize("card", [echo_card(), PAPERS], ids=["at-once", "papers"])
@pytest.mark.parametrize("error", [None, ZeroDivisionError("by nought"), MemoryError("no room")], ids=repr)
def test_frames_pass_through_marked_when_the_engine_fails(card, error):
    """It fails once and works again: nothing is lost, every frame is out once and in order."""
    info = stream()
    raw, denoised = ListSink(), ListSink()
    engine = failing_engine({2}, error, card)
    frames = stamped_frames(info, 200)

    def repaired():
        return not any(alarm.kind == "safe-mode" for alarm in pipeline.alarms.current())

    changes = []
    steps = [info, *frames[:100], lambda: wait_until(lambda: not pipeline.status().waiting)]
    # Each frame gives the denoising thread a chance to take the repaired engine.
    for frame in frames[100:180]:
        steps += [frame, lambda: threading.Event().wait(0.002)]
    steps += [lambda: wait_until(repaired) if changes[-1][1] else None, *frames[180:], StreamEnd("done")]
    pipeline = Pipeline(
        ListSource(steps),
        lambda info: Denoiser(engine, info),
        raw=[settings_of(raw, "raw")],
        denoised=[settings_of(denoised)],
        limits=SessionLimits(series=1),
        safe_mode_changed=lambda *change: changes.append(change),
        retry_s=SOON_S,
    )
    failure, status = failing_run(pipeline, StageError if error else Exception)
    if error:
        assert failure.came == f"the engine raised {type(error).__name__} ({error})"
        assert failure.__cause__ is error
    else:
        assert "not finite" in failure.came
    assert_frames(raw.frames, info, range(200))
    assert_frames(denoised.frames, info, range(200))
    marked = [frame.index for frame in denoised.frames if frame.flags & FrameFlag.NOT_DENOISED]
    assert marked == list(range(marked[0], marked[-1] + 1))
    assert [change[1:] for change in changes] == [(True, marked[0]), (False, marked[-1] + 1)]
    assert (status.frames_out, status.engine_lost) == (200, 0)
    assert raw.ends == denoised.ends == ["done"]


def test_an_engine_that_never_recovers_leaves_a_marked_movie():
    info = stream()
    denoised = ListSink()
    pipeline = Pipeline(
        ListSource([info, *stamped_frames(info, 50), StreamEnd("done")]),
        lambda info: Denoiser(failing_engine(range(1000), OSError("gone"), echo_card()), info),
        denoised=[settings_of(denoised)],
        limits=SessionLimits(series=1),
    )
    _, status = failing_run(pipeline, StageError)
    assert_frames(denoised.frames, info, range(50))
    assert all(frame.flags & FrameFlag.NOT_DENOISED for frame in denoised.frames)
    assert [alarm.kind for alarm in pipeline.alarms.current()] == ["safe-mode"]
    assert status.frames_out == 50


def test_a_new_engine_is_opened_beside_the_running_stream():
    info = stream()
    engines = [failing_engine({0}, OSError("gone"), echo_card()), SpyEngine(echo_card(), lambda window: window)]
    current = [engines[0]]
    denoised = ListSink()
    reopened = threading.Event()

    def reopen():
        current[0] = engines[1]
        reopened.set()

    frames = stamped_frames(info, 120)
    steps = [info]
    for frame in frames[:100]:
        steps += [frame, lambda: threading.Event().wait(0.002)]
    steps += [
        lambda: reopened.wait(GUARD_S),
        lambda: wait_until(lambda: not any(t.name == "engine repair" for t in threading.enumerate())),
        *frames[100:],
        StreamEnd("done"),
    ]
    pipeline = Pipeline(
        ListSource(steps),
        lambda info: Denoiser(current[0], info),
        denoised=[settings_of(denoised)],
        limits=SessionLimits(series=1),
        reopen_engine=reopen,
        retry_s=SOON_S,
    )
    failing_run(pipeline, StageError)
    assert_frames(denoised.frames, info, range(120))
    assert not any(frame.flags & FrameFlag.NOT_DENOISED for frame in denoised.frames[101:])
    assert engines[1].windows


def test_an_unfit_engine_passes_frames_through_and_is_not_tried_again():
    info = stream()
    raw, denoised = ListSink(), ListSink()
    refusal = StreamError("an unfit engine", expected="a fit one", todo="choose")
    tries = []
    pipeline = Pipeline(
        ListSource([info, *stamped_frames(info, 20), StreamEnd("done")]),
        lambda _: (tries.append(1), raise_(refusal)),
        raw=[settings_of(raw, "raw")],
        denoised=[settings_of(denoised)],
        limits=SessionLimits(series=1),
        retry_s=SOON_S,
    )
    error, _ = failing_run(pipeline, StreamError)
    assert error is refusal
    assert_frames(raw.frames, info, range(20))
    assert_frames(denoised.frames, info, range(20))
    assert len(tries) == 1
    assert denoised.closed == 1


@pytest.mark.parametrize(
    "odd",
    [
        Frame(20, np.zeros((1, 5, 6), np.int16)),
        Frame(20, np.zeros((1, 4, 6), np.uint16)),
        Frame(20, np.zeros((1, 4, 6), np.int16), plane=1),
        flat_frame(stream(), 7, 1),
        flat_frame(stream(), 19, 1),
    ],
    ids=["shape", "type", "plane", "earlier", "twice"],
)
def test_a_frame_that_does_not_fit_is_refused_and_nothing_else(odd):
    info = stream((1, 4, 6))
    frames = stamped_frames(info, 40)
    raw, denoised = ListSink(), ListSink()
    status = Pipeline(
        ListSource([info, *frames[:20], odd, *frames[20:], StreamEnd("done")]),
        denoiser_maker(),
        raw=[settings_of(raw, "raw")],
        denoised=[settings_of(denoised)],
        limits=SessionLimits(series=1),
    ).run()
    assert_frames(raw.frames, info, range(40))
    assert_frames(denoised.frames, info, range(40))
    assert (status.frames_in, status.frames_out, status.refused) == (40, 40, 1)


@pytest.mark.parametrize("hook", ["on_start", "on_put", "on_end"])
@pytest.mark.parametrize("side", ["raw", "denoised"])
def test_a_raising_sink_is_reported_and_the_others_get_every_frame(side, hook):
    info = stream()
    broken = ListSink(**{hook: lambda _: raise_(ValueError("disk on fire"))})
    sinks = {"broken": broken, "raw": ListSink(), "denoised": ListSink()}
    settings = {name: settings_of(sink, name) for name, sink in sinks.items()}
    pipeline = Pipeline(
        ListSource([info, *stamped_frames(info, 50), StreamEnd("done")]),
        denoiser_maker(),
        raw=[settings["broken"], settings["raw"]] if side == "raw" else [settings["raw"]],
        denoised=[settings["broken"], settings["denoised"]] if side == "denoised" else [settings["denoised"]],
        limits=SessionLimits(series=1),
    )
    error, status = failing_run(pipeline, StageError)
    assert str(error) == (
        "broken raised ValueError (disk on fire); expected it to run through the session; "
        "see the log; everything else went on."
    )
    assert isinstance(error.__cause__, ValueError)
    for sink in sinks.values():
        assert sink.closed == 1
    assert sinks["raw"].ends == sinks["denoised"].ends == ["done"]
    assert_frames(sinks["raw"].frames, info, range(50))
    assert_frames(sinks["denoised"].frames, info, range(50))
    assert len(broken.frames) + status.sink_lost["broken"] == 50
    assert status.sink_lost["raw"] == status.sink_lost["denoised"] == 0
    assert [alarm.kind for alarm in pipeline.alarms.current()] == ["sink"]


def test_a_sink_that_recovers_begins_the_series_again_and_learns_what_it_missed():
    """As a full disk that has room again."""
    info = stream()
    full = threading.Event()
    full.set()

    def put(frame):
        if frame.index >= 10 and full.is_set():
            raise OSError(28, "No space left on device")

    recorder, other = ListSink(on_put=put), ListSink()
    frames = stamped_frames(info, 60)

    def has_failed():
        return bool(pipeline.alarms.current())

    steps = [info, *frames[:30], lambda: wait_until(has_failed), full.clear]
    for frame in frames[30:59]:
        steps += [frame, lambda: threading.Event().wait(0.002)]
    steps += [lambda: wait_until(lambda: not has_failed()), frames[59], StreamEnd("done")]
    pipeline = Pipeline(
        ListSource(steps),
        denoiser_maker(echo_card()),
        raw=[settings_of(recorder, "the recorder"), settings_of(other, "other")],
        limits=SessionLimits(series=1),
    )
    error, status = failing_run(pipeline, StageError)
    assert "No space left" in error.came
    assert_frames(other.frames, info, range(60))
    recorded = [frame.index for frame in recorder.frames]
    assert recorded[:10] == list(range(10))
    assert recorded[-1] == 59
    assert sorted([*recorded, *gap_frames(recorder)]) == list(range(60))
    assert recorder.events.count(info) >= 2
    assert recorder.ends == ["done"]
    assert status.sink_lost["the recorder"] == 60 - len(recorded)


def test_a_new_series_is_tried_at_once_after_a_failure():
    first, second = stream(), stream()
    broken = ListSink(on_put=lambda frame: raise_(OSError("once")) if frame.t_ns == 1_000 else None)
    steps = [first, *stamped_frames(first, 5), StreamEnd("done"), second, *stamped_frames(second, 5, 5)]
    pipeline = Pipeline(
        ListSource([*steps, StreamEnd("done")]),
        denoiser_maker(echo_card()),
        raw=[SinkSettings("the recorder", broken, retry_s=GUARD_S)],
        limits=SessionLimits(series=2),
    )
    _, status = failing_run(pipeline, StageError)
    assert_frames(broken.frames, second, range(5, 10))
    assert status.sink_lost["the recorder"] == 5
    assert not pipeline.alarms.current()


def test_a_sink_thread_survives_whatever_is_raised():
    info = stream()
    broken = ListSink(on_put=lambda frame: raise_(SystemExit(3)) if frame.index == 2 else None)
    pipeline = Pipeline(
        ListSource([info, *stamped_frames(info, 5), StreamEnd("done"), info, *stamped_frames(info, 5, 5)]),
        denoiser_maker(echo_card()),
        denoised=[settings_of(broken)],
        limits=SessionLimits(frames=10),
    )
    error, _ = failing_run(pipeline, StageError)
    assert error.came == "out raised SystemExit (3)"
    assert [frame.index for frame in broken.frames][-5:] == list(range(5, 10))


def test_the_refusal_of_a_sink_is_raised_unchanged():
    refusal = FileError("no room", expected="room", todo="clean up")
    pipeline = Pipeline(
        ListSource([stream(), *stamped_frames(stream(), 5), StreamEnd("done")]),
        denoiser_maker(echo_card()),
        denoised=[settings_of(ListSink(on_put=lambda _: raise_(refusal)))],
        limits=SessionLimits(series=1),
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
            [
                stream(),
                *stamped_frames(stream(), 1),
                lambda: broke.wait(GUARD_S),
                lambda: wait_until(pipeline.alarms.current),
                ConnectionError("second"),
            ]
        ),
        denoiser_maker(echo_card()),
        denoised=[settings_of(ListSink(on_put=put, on_close=lambda: raise_(OSError("third"))))],
    )
    error, _ = failing_run(pipeline, StageError)
    assert error.came == "out raised ValueError (first)"


def test_frames_before_any_series_are_refused_and_counted():
    info = stream()
    denoised = ListSink()
    status = Pipeline(
        ListSource([*stamped_frames(info, 3), info, *stamped_frames(info, 20), StreamEnd("done")]),
        denoiser_maker(),
        denoised=[settings_of(denoised)],
        limits=SessionLimits(series=1),
    ).run()
    assert (status.frames_in, status.frames_out, status.engine_lost, status.refused) == (20, 20, 0, 3)
