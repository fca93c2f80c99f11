"""The contract of all sinks. To test a new sink, add it to `SINKS`."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.ports import Sink
from deepbid_rt.recording.recorder import Recorder
from deepbid_rt.recording.sidecar import Sidecar
from deepbid_rt.zmq_io import ZmqSink, ZmqSource
from tests.fakes import ListSink, pixels_of, stamped_frames, stream

WAIT_S = 10.0
Movie = list[np.ndarray]


@dataclass
class SinkUnderTest:
    sink: Sink
    received: Callable[[], list[Movie]]
    """Returns the movies that arrived, one for each series; called after the last `end` and `close`."""


def into_list(_: Path, __: ExitStack) -> SinkUnderTest:
    sink = ListSink()

    def received() -> list[Movie]:
        movies: list[Movie] = []
        for event in sink.events:
            if isinstance(event, StreamInfo):
                movies.append([])
            elif isinstance(event, Frame):
                movies[-1].append(event.pixels)
        return movies

    return SinkUnderTest(sink, received)


def recorder(folder: Path, stack: ExitStack) -> SinkUnderTest:
    sidecar = Sidecar(folder)
    sink = Recorder(folder, "denoised", sidecar)
    # A session closes its recorders before their log.
    stack.callback(lambda: sidecar.close())
    stack.callback(sink.close)

    def received() -> list[Movie]:
        movies = []
        for path in sink.paths:
            with tifffile.TiffFile(path) as file:
                movies.append([page.asarray()[None] for page in file.pages])
        return movies

    return SinkUnderTest(sink, received)


def network(_: Path, stack: ExitStack) -> SinkUnderTest:
    sink = ZmqSink("tcp://127.0.0.1:0")
    stack.callback(sink.close)
    source = ZmqSource(sink.endpoint, topic=b"den/")
    stack.callback(source.close)
    source.open()
    assert sink.wait_for_subscriber(WAIT_S)

    def received() -> list[Movie]:
        movies: list[Movie] = []
        while (event := source.read(0.5)) is not None:
            if isinstance(event, StreamInfo):
                movies.append([])
            elif isinstance(event, Frame):
                movies[-1].append(event.pixels.copy())
        return movies

    return SinkUnderTest(sink, received)


SINKS = {"list": into_list, "recorder": recorder, "zmq": network}


@pytest.fixture(params=SINKS)
def given(request, tmp_path):
    with ExitStack() as stack:
        made = SINKS[request.param](tmp_path, stack)
        stack.callback(made.sink.close)
        yield made


def write(sink, info, frames):
    sink.start(info)
    for frame in frames:
        sink.put(frame)
    sink.end(StreamEnd("done"))


def same(movie, info, numbers):
    assert len(movie) == len(numbers)
    for pixels, number in zip(movie, numbers, strict=True):
        assert pixels.dtype == info.dtype
        assert np.array_equal(pixels, pixels_of(info, number))


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8, np.float32])
def test_every_frame_arrives_unchanged(given, dtype):
    info = stream((1, 6, 8), dtype)
    write(given.sink, info, stamped_frames(info, 20))
    given.sink.close()
    [movie] = given.received()
    same(movie, info, range(20))


def test_one_series_may_follow_another(given):
    first, second = stream((1, 6, 8)), stream((1, 4, 4), np.uint8)
    write(given.sink, first, stamped_frames(first, 7))
    write(given.sink, second, stamped_frames(second, 5))
    given.sink.close()
    movies = given.received()
    same(movies[0], first, range(7))
    same(movies[1], second, range(5))


def test_gaps_may_come_anywhere_in_a_series(given):
    info = stream((1, 6, 8))
    frames = stamped_frames(info, 20)
    sink = given.sink
    sink.start(info)
    sink.skip(Gap(0, 2, "source"))
    for frame in frames[2:5]:
        sink.put(frame)
    sink.skip(Gap(5, 10, "transport"))
    for frame in frames[15:]:
        sink.put(frame)
    sink.skip(Gap(20, 1, "engine"))
    sink.end(StreamEnd("done"))
    sink.close()
    [movie] = given.received()
    same(movie, info, [2, 3, 4, 15, 16, 17, 18, 19])


def test_a_series_may_have_no_frames(given):
    given.sink.start(stream())
    given.sink.end(StreamEnd("abort"))
    given.sink.close()
    assert not any(given.received())


def test_a_series_that_was_not_ended_may_be_started_again(given):
    """As a session does after the sink has failed."""
    info = stream((1, 6, 8))
    frames = stamped_frames(info, 9)
    given.sink.start(info)
    for frame in frames[:4]:
        given.sink.put(frame)
    given.sink.start(info)
    given.sink.skip(Gap(4, 1, "sink"))
    for frame in frames[5:]:
        given.sink.put(frame)
    given.sink.end(StreamEnd("done"))
    given.sink.close()
    movies = given.received()
    same([pixels for movie in movies for pixels in movie], info, [0, 1, 2, 3, 5, 6, 7, 8])


@pytest.mark.parametrize("began", [False, True])
def test_it_may_be_closed_twice_and_without_an_end(given, began):
    info = stream((1, 6, 8))
    if began:
        given.sink.start(info)
        for frame in stamped_frames(info, 3):
            given.sink.put(frame)
    given.sink.close()
    given.sink.close()


def test_it_does_not_write_to_the_pixels(given):
    """Other sinks share them."""
    info = stream((1, 6, 8))
    frames = [replace(frame) for frame in stamped_frames(info, 4)]
    for frame in frames:
        frame.pixels.flags.writeable = False
    write(given.sink, info, frames)
    given.sink.close()
    for frame in frames:
        assert np.array_equal(frame.pixels, pixels_of(info, frame.index))
