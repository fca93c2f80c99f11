"""The contract of all sources. To test a new source, add it to `SOURCES`."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zmq

from deepbid_rt.errors import RefusedError
from deepbid_rt.frame import Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.movies.movie_source import MovieSource
from deepbid_rt.ports import FrameSource
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings
from deepbid_rt.wire.codec import Encoder
from deepbid_rt.zmq_io import ZmqSink, ZmqSource
from tests.fakes import ListSource, stamped_frames, stream

COUNT = 23
WAIT_S = 10.0
INFO = stream((1, 16, 16), scan=ScanGeometry("collinear"))


@dataclass
class SourceUnderTest:
    source: FrameSource
    begin: Callable[[], None] = lambda: None
    """Starts the sender of the frames; called once after `open`."""
    unopenable: Callable[[], FrameSource] | None = None
    """Makes a source that cannot be opened."""


def from_list(_: Path, __: ExitStack) -> SourceUnderTest:
    return SourceUnderTest(ListSource([INFO, *stamped_frames(INFO, COUNT), StreamEnd("done")]))


def simulated(_: Path, __: ExitStack) -> SourceUnderTest:
    scan = ScanSettings(size=(16, 16), scan=ScanGeometry("collinear"))
    return SourceUnderTest(SyntheticSource(SceneSettings(seed=1), scan, COUNT))


def tiff(folder: Path, _: ExitStack) -> SourceUnderTest:
    movie = np.stack([frame.pixels[0] for frame in stamped_frames(INFO, COUNT)])
    tifffile.imwrite(folder / "movie.tif", movie, photometric="minisblack")

    def source(name: str) -> FrameSource:
        return MovieSource(folder / name, scan=INFO.scan, rate_hz=30.0)

    return SourceUnderTest(source("movie.tif"), unopenable=lambda: source("none.tif"))


def network(_: Path, stack: ExitStack) -> SourceUnderTest:
    sink = ZmqSink("tcp://127.0.0.1:0", role="raw")
    stack.callback(sink.close)

    def begin() -> None:
        assert sink.wait_for_subscriber(WAIT_S)
        sink.start(INFO)
        for frame in stamped_frames(INFO, COUNT):
            sink.put(frame)
        sink.end(StreamEnd("done"))

    return SourceUnderTest(ZmqSource(sink.endpoint), begin, unopenable=lambda: ZmqSource("tcp://127.0.0.1:99999"))


def bad_network(_: Path, stack: ExitStack) -> SourceUnderTest:
    """Messages overtake each other by up to 4 places and come twice, between messages that are none."""
    publisher = stack.enter_context(zmq.Context()).socket(zmq.XPUB)
    stack.callback(publisher.close, 0)
    publisher.setsockopt(zmq.SNDHWM, 0)
    publisher.bind("tcp://127.0.0.1:*")

    def begin() -> None:
        assert publisher.poll(WAIT_S * 1000)
        encoder, rng = Encoder(INFO), np.random.default_rng(1)
        messages = [encoder.start(), *map(encoder.frame, stamped_frames(INFO, COUNT)), encoder.end(StreamEnd("done"))]
        for place in np.argsort(np.arange(len(messages)) + rng.uniform(0, 4, len(messages))):
            publisher.send_multipart(messages[place])
            publisher.send_multipart([b"raw/", rng.bytes(20), b""])
            if rng.random() < 0.5:
                publisher.send_multipart(messages[place])

    return SourceUnderTest(ZmqSource(publisher.getsockopt_string(zmq.LAST_ENDPOINT)), begin)


SOURCES = {"list": from_list, "synthetic": simulated, "tiff": tiff, "zmq": network, "bad network": bad_network}


@pytest.fixture(params=SOURCES)
def given(request, tmp_path):
    with ExitStack() as stack:
        made = SOURCES[request.param](tmp_path, stack)
        stack.callback(made.source.close)
        yield made


def read_all(source):
    """All events up to the end of the series, with copies of the pixels, which are valid until the next `read` only."""
    events = []
    while not (events and isinstance(events[-1], StreamEnd)):
        event = source.read(WAIT_S)
        assert event is not None, f"silence after {events[-1:]}"
        events.append(event if not isinstance(event, Frame) else (event, event.pixels.copy()))
    return events


@pytest.fixture
def events(given):
    given.source.open()
    given.begin()
    return read_all(given.source)


def test_a_series_is_a_start_frames_and_gaps_and_an_end(events):
    assert isinstance(events[0], StreamInfo)
    assert isinstance(events[-1], StreamEnd)
    assert all(isinstance(event, tuple | Gap) for event in events[1:-1])


def test_every_frame_has_the_shape_and_type_of_the_start(events):
    info = events[0]
    frames = [event for event in events if isinstance(event, tuple)]
    assert len(frames) == COUNT
    for frame, pixels in frames:
        assert pixels.shape == info.shape
        assert pixels.dtype == info.dtype
        assert 0 <= frame.plane < info.planes
    assert len({pixels.tobytes() for _, pixels in frames}) == COUNT


def test_frame_numbers_rise_by_one_except_at_gaps(events):
    expected = None
    for event in events[1:-1]:
        number = event.first if isinstance(event, Gap) else event[0].index
        assert expected in (None, number)
        expected = number + (event.count if isinstance(event, Gap) else 1)


def test_nothing_follows_the_end(events, given):
    assert given.source.read(0.0) is None
    assert given.source.read(0.0) is None


def test_it_may_be_closed_twice_and_unopened(given):
    given.source.close()
    given.source.close()


def test_it_may_be_closed_in_the_middle(given):
    given.source.open()
    given.begin()
    assert isinstance(given.source.read(WAIT_S), StreamInfo)
    assert isinstance(given.source.read(WAIT_S), Frame)
    given.source.close()
    given.source.close()


def test_a_source_that_cannot_be_opened_raises_a_refused_error(given):
    if given.unopenable is None:
        pytest.skip("this source can always be opened")

    def open_it():
        source = given.unopenable()
        try:
            source.open()
        finally:
            source.close()

    with pytest.raises(RefusedError):
        open_it()
