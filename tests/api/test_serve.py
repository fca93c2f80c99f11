"""A session run from Python."""

import re
import signal
import threading

import numpy as np
import pytest

import deepbid_rt as rt
from deepbid_rt.errors import OptionError, StageError, StreamError
from tests.fakes import ListSink, ListSource, SpyEngine, echo_card, stamped_frames, stream

INFO = stream((1, 4, 6))
GUARD_S = 30.0
"""Limit of every wait in these tests; a passing test does not reach it."""


def source_of(count):
    return ListSource([INFO, *stamped_frames(INFO, count, 0), rt.StreamEnd("done")])


def test_every_frame_reaches_every_sink_and_the_summary_counts_them():
    first, second = ListSink(), ListSink()
    sinks = {"first": first, "second": second}
    summary = rt.serve(source_of(20), SpyEngine(echo_card(), lambda window: window), sinks=sinks, series=1)
    assert (summary["frames_in"], summary["frames_out"]) == (20, 20)
    assert summary["sinks_lost"] == {"first": 0, "second": 0}
    for sink in sinks.values():
        assert [event.index for event in sink.events if isinstance(event, rt.Frame)] == list(range(20))


def test_a_session_records_and_publishes(tmp_path):
    with rt.publish("tcp://127.0.0.1:0", shape=(16, 24), rate_hz=100.0) as stream:

        def send():
            stream.wait_for_subscriber(20.0)
            for n in range(30):
                stream.send(np.full((16, 24), n, "<i2"))
            stream.close()

        sender = threading.Thread(target=send)
        sender.start()
        summary = rt.serve(
            stream.endpoint,
            engine="average",
            record=tmp_path,
            record_raw=True,
            name="mouse7",
            sync_s=0.0,
            publish="tcp://127.0.0.1:0",
            series=1,
            max_latency_ms=None,
        )
        sender.join()
    assert summary["frames_out"] == 30
    with rt.open(next(tmp_path.glob("*mouse7*_raw.tif"))) as movie:
        assert movie[:, 0, 0, 0].tolist() == list(range(30))
    assert len(summary["recordings"]) == 2


def test_ctrl_c_ends_a_session_cleanly(listens_to_ctrl_c):
    class Interrupting(ListSink):
        def put(self, frame):
            super().put(frame)
            if frame.index == 3:
                signal.raise_signal(signal.SIGINT)

    sink = Interrupting()
    source = ListSource([INFO, *stamped_frames(INFO, 4, 0), *[None] * 10_000])
    summary = rt.serve(source, SpyEngine(echo_card(), lambda window: window), sinks={"mine": sink})
    assert summary["frames_out"] == 4
    assert isinstance(sink.events[-1], rt.StreamEnd)


def test_another_thread_ends_a_session_through_an_event():
    stop, seen = threading.Event(), threading.Event()
    source = ListSource([INFO, *stamped_frames(INFO, 4, 0), *[None] * 10_000])
    sink = ListSink(on_put=lambda frame: seen.set() if frame.index == 3 else None)
    summaries = []

    def run():
        engine = SpyEngine(echo_card(), lambda window: window)
        summaries.append(rt.serve(source, engine, sinks={"mine": sink}, stop=stop))

    session = threading.Thread(target=run)
    session.start()
    assert seen.wait(GUARD_S)
    stop.set()
    session.join(GUARD_S)
    assert summaries[0]["frames_out"] == 4


def test_the_second_ctrl_c_cuts_the_end_short_and_the_third_leaves(listens_to_ctrl_c):
    from deepbid_rt.api.serve import _run

    class Hanging:
        """A session whose end hangs until a test lets it go."""

        def __init__(self):
            self.steps, self.end = [], threading.Event()

        def run(self):
            signal.raise_signal(signal.SIGINT)
            assert self.end.wait(GUARD_S)

        def stop(self):
            self.steps.append("stop")
            signal.raise_signal(signal.SIGINT)

        def abort(self):
            self.steps.append("abort")
            signal.raise_signal(signal.SIGINT)

    session = Hanging()
    with pytest.raises(KeyboardInterrupt):
        _run(session, None)
    session.end.set()
    assert session.steps == ["stop", "abort"]


def test_a_sink_that_raises_ends_the_session_with_its_error():
    class Broken(ListSink):
        def put(self, frame):
            raise ZeroDivisionError("of my own")

    with pytest.raises(StageError, match=re.escape("mine raised ZeroDivisionError (of my own)")):
        rt.serve(source_of(5), SpyEngine(echo_card()), sinks={"mine": Broken()}, series=1)


def test_what_cannot_take_effect_is_refused():
    with pytest.raises(OptionError, match=re.escape("record_raw without a folder; expected record=FOLDER")):
        rt.serve(source_of(1), "echo", record_raw=True)
    for argument in ({"name": "mouse7"}, {"sync_s": 0.0}):
        with pytest.raises(OptionError, match="without a folder"):
            rt.serve(source_of(1), "echo", **argument)


def test_no_sink_can_change_what_another_one_gets():
    class Writing(ListSink):
        def put(self, frame):
            frame.pixels[:] = 0

    with pytest.raises(StageError, match="read-only"):
        rt.serve(source_of(3), SpyEngine(echo_card(), lambda window: window), sinks={"mine": Writing()}, series=1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"source": np.zeros((3, 4, 6), "<i2")}, "a ndarray without open, read, close as the source; expected tcp://"),
        ({"source": None}, "a NoneType without open, read, close as the source"),
        ({"sinks": [ListSink()]}, "expected sinks by name; write sinks={'mine': sink}"),
        ({"sinks": {"a": print}}, "sink 'a' without start, put, skip, end, close; expected an object with the methods"),
        ({"stop": 3}, "stop=3; expected a threading.Event; write stop=threading.Event()"),
        ({"frames": 0}, "frames=0; expected a whole number, at least 1"),
        ({"series": -1}, "series=-1; expected a whole number, at least 1"),
        ({"idle_s": -1}, "idle_s=-1; expected a number above 0"),
        ({"merge": "x"}, "merge='x'; expected one of 'mean'"),
        ({"line_phase": "1.5"}, "line_phase='1.5'; expected 'auto', 'off' or a number of pixels"),
    ],
)
def test_wrong_use_is_refused_before_anything_starts(wrong, message):
    with pytest.raises(StreamError, match=re.escape(message)):
        rt.serve(**{"source": source_of(1), "engine": "echo", **wrong})


def test_an_address_that_is_no_text_is_refused():
    with pytest.raises(rt.EndpointError, match=re.escape("publish=3; expected tcp://HOST:PORT")):
        rt.serve(source_of(1), "echo", publish=3)
