import threading
from types import SimpleNamespace

import numpy as np
import pytest

from deepbid_rt.card import ModelCard
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.frame import Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.live.pipeline import Pipeline
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits, SessionState
from deepbid_rt.runtimes.echo import EchoEngine
from tests.fakes import FIXED, ListSink, ListSource, SpyEngine, echo_card, pixels_of, stamped_frames, stream

PAPERS = echo_card(40, 8, 8)


def denoiser_maker(card=PAPERS, **rest):
    return lambda info: Denoiser(EchoEngine(card), info, **rest)


def settings_of(sink, name="out", capacity=1000):
    return SinkSettings(name, sink, capacity)


def assert_frames(frames, info, numbers):
    assert [frame.index for frame in frames] == list(numbers)
    for frame in frames:
        assert np.array_equal(frame.pixels, pixels_of(info, frame.index))


def series(info, count, first=0, end="done"):
    return [info, *stamped_frames(info, count, first), StreamEnd(end)]


@pytest.mark.parametrize("card", [echo_card(), PAPERS], ids=["at-once", "papers"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_every_frame_passes_the_threads_unchanged(card, dtype):
    """The source overwrites its array at every read, so this also shows that the pixels are copied."""
    info = stream((2, 5, 7), dtype)
    raw, denoised = ListSink(), ListSink()
    source = ListSource(series(info, 100))
    pipeline = Pipeline(
        source,
        denoiser_maker(card),
        raw=[settings_of(raw, "raw")],
        denoised=[settings_of(denoised)],
        limits=SessionLimits(series=1),
    )
    status = pipeline.run()
    assert_frames(raw.frames, info, range(100))
    assert_frames(denoised.frames, info, range(100))
    assert raw.events[0] is info
    assert denoised.events[0].parent == info.series
    assert raw.ends == denoised.ends == ["done"]
    assert status.state is pipeline.status().state is SessionState.DONE
    assert (status.frames_in, status.frames_out, status.engine_lost, status.gaps) == (100, 100, 0, 0)
    assert status.sink_lost == {"raw": 0, "out": 0}
    assert (source.opened, raw.closed, denoised.closed) == (1, 1, 1)
    assert source.closed >= 1
    assert raw.threads == {"sink raw"}
    assert denoised.threads == {"sink out"}


def test_latencies_are_counted_by_stage():
    info = stream()
    sinks = [ListSink(), ListSink(), ListSink()]
    status = Pipeline(
        ListSource(series(info, 30)),
        denoiser_maker(),
        denoised=[
            settings_of(sinks[0], "a"),
            settings_of(sinks[1], "b"),
            SinkSettings("observer", sinks[2], timed=False),
        ],
        limits=SessionLimits(series=1),
    ).run()
    assert {name: histogram.count for name, histogram in status.latency.items()} == {
        "transport": 30,
        "queue": 30,
        "engine": 30,
        "total": 30,
        "a": 30,
        "b": 30,
    }
    assert "observer" in status.sink_lost
    assert status.latency["transport"].quantile_ms(0.5) == pytest.approx(1e-3, rel=0.03)


def test_motion_is_counted_by_status():
    info = stream((1, 16, 16))
    engine = SpyEngine(ModelCard(name="s", kind="stream", memories=(0.5,), normalization=FIXED), lambda x: x[:1])
    status = Pipeline(
        ListSource(series(info, 9)), lambda info: Denoiser(engine, info), limits=SessionLimits(series=1)
    ).run()
    assert status.motion.counts == {"tracked": 0, "held": 9, "foreign": 0, "restarted": 0}  # too small to move
    assert (
        Pipeline(ListSource(series(info, 9)), denoiser_maker(), limits=SessionLimits(series=1)).run().motion.summary()
        is None
    )


def test_the_total_latency_is_counted_without_any_sink():
    status = Pipeline(ListSource(series(stream(), 9)), denoiser_maker(), limits=SessionLimits(series=1)).run()
    assert status.latency["total"].count == 9


def test_gaps_are_counted_and_delivered_in_order():
    info = stream()
    gap = Gap(10, 5, "transport")
    steps = [info, *stamped_frames(info, 10), gap, *stamped_frames(info, 10, 15), StreamEnd("done")]
    raw, denoised = ListSink(), ListSink()
    status = Pipeline(
        ListSource(steps),
        denoiser_maker(),
        raw=[settings_of(raw, "raw")],
        denoised=[settings_of(denoised)],
        limits=SessionLimits(series=1),
    ).run()
    numbers = [*range(10), *range(15, 25)]
    for sink in (raw, denoised):
        assert_frames(sink.frames, info, numbers)
        assert sink.gaps == [gap]
        assert sink.events.index(gap) == 11
    assert (status.gaps, status.frames_in, status.frames_out) == (5, 20, 20)


def test_a_bridged_gap_is_delivered_in_order():
    """With ``hold`` the frames before a gap come out after the gap was reported; the gap waits for them."""
    info = stream()
    gaps = [Gap(10, 2, "transport"), Gap(30, 1, "source")]
    steps = [info, *stamped_frames(info, 10), gaps[0], *stamped_frames(info, 18, 12), gaps[1], StreamEnd("done")]
    denoised = ListSink()
    Pipeline(
        ListSource(steps), denoiser_maker(gap="hold"), denoised=[settings_of(denoised)], limits=SessionLimits(series=1)
    ).run()
    assert_frames(denoised.frames, info, [*range(10), *range(12, 30)])
    assert denoised.events.index(gaps[0]) == 11
    assert denoised.events[-2:] == [gaps[1], StreamEnd("done")]


def test_each_series_gets_its_own_denoiser():
    """The second series has another shape and numbers from 0; its windows hold no frame of the first."""
    first, second = stream((1, 2, 2)), stream((1, 3, 3), np.uint8, ScanGeometry("collinear"))
    engines = []

    def make(info):
        engines.append(SpyEngine(echo_card(8, 2, 2), lambda window: window))
        return Denoiser(engines[-1], info, merge="interleave")

    denoised = ListSink()
    steps = [*series(first, 21, end="replaced"), *series(second, 13)]
    status = Pipeline(ListSource(steps), make, denoised=[settings_of(denoised)], limits=SessionLimits(series=2)).run()
    assert len(engines) == 2
    infos = [event for event in denoised.events if isinstance(event, StreamInfo)]
    assert [info.parent for info in infos] == [first.series, second.series]
    assert denoised.ends == ["replaced", "done"]
    start = denoised.events.index(infos[1])
    assert denoised.events[start - 1] == StreamEnd("replaced")
    assert_frames([e for e in denoised.events[:start] if isinstance(e, Frame)], first, range(21))
    assert_frames([e for e in denoised.events[start:] if isinstance(e, Frame)], second, range(13))
    assert engines[1].windows[0].shape == (8, 2, 3)
    assert (status.frames_in, status.frames_out) == (34, 34)


def test_one_engine_serves_series_of_several_sizes():
    engine = SpyEngine(echo_card(8, 2, 2), lambda window: window)
    infos = [stream((1, side, side)) for side in (2, 5, 2)]
    denoised = ListSink()
    steps = [step for info in infos for step in series(info, 9)]
    Pipeline(
        ListSource(steps),
        lambda info: Denoiser(engine, info),
        denoised=[settings_of(denoised)],
        limits=SessionLimits(series=3),
    ).run()
    assert len(denoised.frames) == 27
    assert engine.closed == 0


# Ending.


def test_the_frame_limit_ends_a_series_that_goes_on():
    info = stream()
    raw, denoised = ListSink(), ListSink()
    status = Pipeline(
        ListSource([info, *stamped_frames(info, 500)]),
        denoiser_maker(),
        raw=[settings_of(raw, "raw")],
        denoised=[settings_of(denoised)],
        limits=SessionLimits(frames=33),
    ).run()
    assert_frames(raw.frames, info, range(33))
    assert_frames(denoised.frames, info, range(33))
    assert raw.ends == denoised.ends == ["done"]
    assert (status.frames_in, status.frames_out) == (33, 33)


def test_the_idle_limit_ends_a_source_that_sends_nothing_more():
    info = stream()
    denoised = ListSink()
    status = Pipeline(
        ListSource([info, *stamped_frames(info, 12)]),
        denoiser_maker(),
        denoised=[settings_of(denoised)],
        limits=SessionLimits(idle_s=0.2),
    ).run()
    assert_frames(denoised.frames, info, range(12))
    assert denoised.ends == ["done"]
    assert status.state is SessionState.DONE


@pytest.mark.parametrize("pause", ["before a read", "in a read that returns nothing"])
def test_pauses_of_the_session_itself_are_no_idle_time(pause, monkeypatch):
    """As when the process is suspended: the clock runs on, and the frames wait in the source."""
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr("deepbid_rt.live.pipeline.time.monotonic", lambda: clock.now_s)

    def suspended():
        clock.now_s += 60.0

    info, frames = stream(), stamped_frames(stream(), 4)
    held = [suspended] if pause == "before a read" else [suspended, None]
    denoised = ListSink()
    status = Pipeline(
        ListSource([info, *frames[:2], *held, *frames[2:]]),
        denoiser_maker(),
        denoised=[settings_of(denoised)],
        limits=SessionLimits(idle_s=5.0, frames=4),
    ).run()
    assert status.frames_in == 4


def test_a_silent_source_is_idle_for_as_long_as_it_was_asked(monkeypatch):
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr("deepbid_rt.live.pipeline.time.monotonic", lambda: clock.now_s)
    reads = []

    class Silent(ListSource):
        def read(self, timeout_s):
            reads.append(timeout_s)
            clock.now_s += timeout_s
            return

    Pipeline(Silent([]), denoiser_maker(), limits=SessionLimits(idle_s=1.0)).run()
    assert sum(reads) == pytest.approx(1.0, abs=0.11)


def test_without_a_series_sinks_get_no_events():
    denoised = ListSink()
    status = Pipeline(
        ListSource([]), denoiser_maker(), denoised=[settings_of(denoised)], limits=SessionLimits(idle_s=0.01)
    ).run()
    assert denoised.events == []
    assert denoised.closed == 1
    assert status.frames_in == 0


def test_the_series_limit_ignores_later_series():
    info = stream()
    denoised = ListSink()
    steps = [*series(info, 5), *series(stream(), 5)]
    status = Pipeline(
        ListSource(steps), denoiser_maker(), denoised=[settings_of(denoised)], limits=SessionLimits(series=1)
    ).run()
    assert status.frames_in == len(denoised.frames) == 5


@pytest.mark.parametrize("arrived_ns", [0, 2**62], ids=["file", "later"])
def test_stopping_flushes_received_frames_and_ignores_later_ones(arrived_ns):
    """Frames that arrived before `stop` are denoised; later frames, and frames of a file, are not."""
    info = stream()
    frames = stamped_frames(info, 30)
    later = [Frame(n, pixels_of(info, n), arrived_ns=arrived_ns) for n in range(30, 60)]
    denoised, raw = ListSink(), ListSink()
    pipeline = Pipeline(
        ListSource([info, *frames[:20], lambda: pipeline.stop(), *frames[20:], *later]),
        denoiser_maker(),
        raw=[settings_of(raw, "raw")],
        denoised=[settings_of(denoised)],
    )
    status = pipeline.run()
    assert_frames(denoised.frames, info, range(30))
    assert_frames(raw.frames, info, range(30))
    assert raw.ends == denoised.ends == ["done"]
    assert (status.state, status.frames_in, status.frames_out) == (SessionState.DONE, 30, 30)


def test_stopping_from_another_thread_ends_a_source_that_waits():
    source = ListSource([stream(), *stamped_frames(stream(), 5)])
    denoised = ListSink()
    pipeline = Pipeline(source, denoiser_maker(), denoised=[settings_of(denoised)])

    def stop():
        source.exhausted.wait(30)
        pipeline.stop()
        pipeline.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    status = pipeline.run()
    stopper.join(10)
    assert status.frames_out == len(denoised.frames) == 5


def test_stopping_before_running_denoises_what_has_arrived():
    info = stream()
    denoised = ListSink()
    pipeline = Pipeline(
        ListSource([info, *stamped_frames(info, 5)]), denoiser_maker(), denoised=[settings_of(denoised)]
    )
    pipeline.stop()
    assert pipeline.run().frames_out == 5


def test_the_state_follows_the_series():
    info = stream()
    states = []
    pipeline = Pipeline(
        ListSource(
            [
                lambda: states.append(pipeline.status().state),
                info,
                *stamped_frames(info, 3),
                lambda: states.append(pipeline.status().state),
                StreamEnd("done"),
                lambda: states.append(pipeline.status().state),
                stream(),
                lambda: states.append(pipeline.status().state),
            ]
        ),
        denoiser_maker(),
        limits=SessionLimits(idle_s=0.05),
    )
    assert pipeline.status().state is SessionState.WAITING
    pipeline.run()
    assert states == [SessionState.WAITING, SessionState.RUNNING, SessionState.WAITING, SessionState.RUNNING]
    assert pipeline.status().state is SessionState.DONE


def slow(_event):
    threading.Event().wait(0.002)


@pytest.mark.parametrize("slow_part", ["engine", "raw", "denoised"])
def test_a_source_that_can_wait_loses_no_frame_to_a_slow_part(slow_part):
    info = stream()

    def denoiser_of(info):
        engine = EchoEngine(echo_card())
        if slow_part == "engine":
            infer = engine.infer
            engine.infer = lambda window: (slow(window), infer(window))[1]
        return Denoiser(engine, info)

    raw, denoised = (ListSink(on_put=slow if slow_part == name else None) for name in ("raw", "denoised"))
    status = Pipeline(
        ListSource(series(info, 100)),
        denoiser_of,
        raw=[settings_of(raw, "raw", capacity=4)],
        denoised=[settings_of(denoised, capacity=4)],
        limits=SessionLimits(series=1),
        lag_frames=4,
        wait_for_room=True,
    ).run()
    assert_frames(raw.frames, info, range(100))
    assert_frames(denoised.frames, info, range(100))
    assert (status.engine_lost, status.sink_lost) == (0, {"raw": 0, "out": 0})


def test_a_source_that_can_wait_does_not_wait_for_observers():
    info, hangs = stream(), threading.Event()
    observer = SinkSettings("observer", ListSink(on_put=lambda _frame: hangs.wait(20.0)), capacity=1, timed=False)
    raw = ListSink()
    source = ListSource([*series(info, 50), hangs.set])
    Pipeline(
        source,
        denoiser_maker(echo_card()),
        raw=[settings_of(raw, "raw"), observer],
        limits=SessionLimits(idle_s=0.2),
        wait_for_room=True,
    ).run()
    assert hangs.is_set()
    assert_frames(raw.frames, info, range(50))


def test_a_part_that_hangs_holds_a_source_for_a_limited_time_only(monkeypatch):
    monkeypatch.setattr("deepbid_rt.live.pipeline.HOLD_S", 0.1)
    info, hangs = stream(), threading.Event()
    raw, stuck = ListSink(), ListSink(on_put=lambda _frame: hangs.wait(20.0))
    source = ListSource([*series(info, 50), hangs.set])
    pipeline = Pipeline(
        source,
        denoiser_maker(echo_card()),
        raw=[settings_of(raw, "raw"), settings_of(stuck, "stuck", capacity=2)],
        limits=SessionLimits(idle_s=0.2),
        wait_for_room=True,
    )
    status = pipeline.run()
    assert_frames(raw.frames, info, range(50))
    assert status.sink_lost["stuck"] + len(stuck.frames) == 50
    assert status.sink_lost["stuck"] > 0
