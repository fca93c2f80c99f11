"""The contract of all connectors. To test a new one, add it to `CONNECTORS`, with a stand-in for its program."""

from __future__ import annotations

import gc
import os
import platform
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
from numpy.typing import NDArray

from bridge import thorimage
from bridge.bruker import BrukerSource
from bridge.micromanager import MicroManagerSource
from bridge.scanbox import ScanboxSource
from bridge.scanimage_ring import RingSource
from bridge.tcp_frames import FrameFormat, TcpSettings, TcpSource
from bridge.thorimage import ThorImageSource
from bridge.watch_folder import WatchSettings, WatchSource
from deepbid_rt.frame import DTYPES, Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.movies.wanted import Wanted
from deepbid_rt.ports import FrameSource
from deepbid_rt.relay import relay
from deepbid_rt.zmq_io import ZmqSink, ZmqSource
from tests.bridge import test_bruker, test_scanbox, test_thorimage
from tests.bridge.ring_writer import RingWriter
from tests.bridge.test_micromanager import Core
from tests.fakes import ListSink

WAIT_S = 30.0
FRAMES = 12
SHAPE = (2, 12, 20)
QUICK: dict[str, Any] = {"idle_s": 1.0, "file_timeout_s": 0.3, "settle_s": 0.05}


def picture(number: int, shape: tuple[int, int, int] = SHAPE) -> NDArray[Any]:
    """Pixels (C, Y, X) that differ from frame to frame."""
    return np.random.default_rng(number).integers(-500, 4000, shape, "<i2")


@dataclass
class Program:
    """A connector, and a stand-in for the acquisition program."""

    source: FrameSource
    begin: Callable[[], None]
    """Begins a series; called when the source is open."""
    scan: Callable[[int], None]
    """Makes frame `number` of the series, from 0."""
    end: Callable[[], None]
    """Ends the series, so that the connector can notice it."""
    lose: Callable[[int], None] | None = None
    """Loses so many frames between two others; None where a connector has no way to notice that."""
    picture: Callable[[int], NDArray[Any]] = picture
    rate_hz: float = 30.0
    channels: int = 2
    planes: int = 1


class GrowingFiles:
    """Writes a growing TIFF (`pages` 0), files of so many pages each, or (`raw`) files of pixels alone."""

    def __init__(self, folder: Path, *, frames: int, raw: bool = False) -> None:
        self.folder, self.frames, self.raw = folder, frames, raw
        self.series = 0
        self.file: Any = None

    def begin(self) -> None:
        self.end()
        self.series += 1
        self.number = 0

    def scan(self, number: int) -> None:
        if self.number % self.frames == 0:
            self.end()
            path = self.folder / f"s{self.series}_{self.number // self.frames:03d}.{'raw' if self.raw else 'tif'}"
            self.file = path.open("wb", buffering=0) if self.raw else tifffile.TiffWriter(path, bigtiff=True)
        self.number += 1
        if self.raw:
            self.file.write(picture(number).tobytes())
            return
        for page in picture(number):
            self.file.write(page, contiguous=False, metadata=None, photometric="minisblack")

    def lose(self, count: int) -> None:
        self.number += count

    def end(self) -> None:
        if self.file is not None:
            self.file.close()
        self.file = None


def one_tiff(folder: Path, stack: ExitStack) -> Program:
    return files(folder, stack, frames=1000)


def tiff_series(folder: Path, stack: ExitStack) -> Program:
    return files(folder, stack, frames=1)


def raw_files(folder: Path, stack: ExitStack) -> Program:
    return files(folder, stack, frames=4, raw=True)


def files(folder: Path, stack: ExitStack, *, frames: int, raw: bool = False) -> Program:
    writer = GrowingFiles(folder, frames=frames, raw=raw)
    stack.callback(writer.end)
    wanted = Wanted(shape=SHAPE, dtype="<i2") if raw else Wanted(channels=2)
    source = WatchSource(folder, WatchSettings(wanted, rate_hz=30.0, **QUICK))
    lose = writer.lose if frames == 1 else None
    return Program(source, writer.begin, writer.scan, writer.end, lose)


def tcp_with_numbers(_: Path, stack: ExitStack) -> Program:
    return tcp(stack, numbers=True)


def tcp_without_numbers(_: Path, stack: ExitStack) -> Program:
    return tcp(stack, numbers=False)


def tcp(stack: ExitStack, *, numbers: bool) -> Program:
    source = TcpSource(TcpSettings(FrameFormat(SHAPE, np.dtype("<i2"), numbers=numbers), 30.0, "127.0.0.1:0"))
    senders: list[socket.socket] = []
    lost = [0]

    def end() -> None:
        while senders:
            senders.pop().close()

    def begin() -> None:
        end()
        lost[0] = 0
        senders.append(socket.create_connection(source.address))

    def scan(number: int) -> None:
        pixels = picture(number).tobytes()
        head = [len(pixels), number] if numbers else [len(pixels)]
        senders[0].sendall(b"".join(one.to_bytes(8, "big") for one in head) + pixels)

    stack.callback(end)
    return Program(source, begin, scan, end, (lambda _: None) if numbers else None)


def micro_manager(_: Path, __: ExitStack) -> Program:
    core = Core()

    def scan(number: int) -> None:
        for channel, pixels in enumerate(picture(number)):
            core.image(pixels, t=number, c=channel)

    return Program(
        MicroManagerSource(core, rate_hz=30.0),
        lambda: core.begin(t=1000, c=2),
        scan,
        core.end,
        lambda _: None,
    )


def scanbox(folder: Path, stack: ExitStack) -> Program:
    writer = test_scanbox.Scanbox(folder / "scanbox.mmap")
    stack.callback(writer.close)
    source = ScanboxSource(folder / "scanbox.mmap", rate_hz=30.0, idle_s=5.0, channels=2)

    def taken() -> None:
        """Wait until the last frame was read, as Scanbox leaves frames out until then."""
        until(lambda: True if writer.words[0] < 0 else None)

    def scan(_: int) -> None:
        taken()
        assert writer.scan()

    def end() -> None:
        taken()
        writer.stop()

    return Program(
        source,
        writer.begin,
        scan,
        end,
        lambda count: setattr(writer, "number", writer.number + count),
        picture=lambda number: np.stack([test_scanbox.picture(number, channel) for channel in (0, 1)]),
    )


def bruker(_: Path, stack: ExitStack) -> Program:
    view = test_bruker.PrairieView(channels=2)
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    for name, module in test_bruker.modules_of(view).items():
        patch.setitem(sys.modules, name, module)
    patch.setattr(platform, "system", lambda: "Windows")
    return Program(
        BrukerSource(channels=2, rate_hz=30.0, idle_s=0.5),
        view.begin,
        lambda _: view.scan(),
        lambda: None,  # nothing tells that it has ended
        picture=lambda number: np.stack([test_bruker.picture(number, channel) for channel in (0, 1)]),
    )


def thor_image(folder: Path, stack: ExitStack) -> Program:
    stack.enter_context(pytest.MonkeyPatch.context()).setattr(thorimage, "_LOOK_S", 0.05)
    made: list[test_thorimage.ThorImage] = []
    runs = [0]

    def begin() -> None:
        runs[0] += 1
        made[:] = [test_thorimage.ThorImage(folder / f"run_{runs[0]}", frames=1000, stored=2)]

    return Program(
        ThorImageSource(folder, idle_s=0.6),
        begin,
        lambda _: made[0].record(),
        lambda: made[0].stop(),
        picture=lambda number: np.stack([test_thorimage.picture(number, channel) for channel in (0, 1)]),
        rate_hz=test_thorimage.RATE_HZ,
    )


def scanimage(folder: Path, stack: ExitStack) -> Program:
    writer = RingWriter(folder / "ring.bin")
    stack.callback(writer.close)
    return Program(
        RingSource(folder / "ring.bin"),
        lambda: writer.begin(SHAPE, frame_rate_hz=30.0),
        lambda number: writer.put(number + 1, picture(number)),
        writer.finish,
        lambda _: None,
    )


CONNECTORS = {
    "one growing TIFF": one_tiff,
    "a series of TIFFs": tiff_series,
    "files of pixels": raw_files,
    "TCP": tcp_without_numbers,
    "TCP with numbers": tcp_with_numbers,
    "Micro-Manager": micro_manager,
    "Scanbox": scanbox,
    "Bruker": bruker,
    "ThorImage": thor_image,
    "ScanImage": scanimage,
}


def until(found: Callable[[], Any]) -> Any:
    """Wait for a condition that another thread makes true; return what it gives."""
    deadline_s = time.monotonic() + WAIT_S
    while (value := found()) is None:
        assert time.monotonic() < deadline_s, "it does not come"
        threading.Event().wait(0.005)
    return value


class Reader:
    """Reads a source in a thread, as the relay does, and keeps copies: some programs wait for it."""

    def __init__(self, source: FrameSource) -> None:
        self.source, self.events = source, []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader")
        self._problem: BaseException | None = None
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                event = self.source.read(0.05)
                if isinstance(event, Frame):
                    event = Frame(
                        event.index, event.pixels.copy(), event.t_ns, event.arrived_ns, event.plane, event.flags
                    )
                self.events += [event] if event is not None else []
        except BaseException as error:
            self._problem = error

    def wait(self, enough: Callable[[list[Any]], bool]) -> list[Any]:
        def look() -> list[Any] | None:
            if self._problem is not None:
                raise self._problem
            return self.events if enough(self.events) else None

        return until(look)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(params=CONNECTORS)
def program(request, tmp_path):
    with ExitStack() as stack:
        made = CONNECTORS[request.param](tmp_path, stack)
        stack.callback(made.source.close)
        yield made


@pytest.fixture
def reader(program):
    program.source.open()
    made = Reader(program.source)
    yield made
    made.stop()


def frames_of(events):
    return [event for event in events if isinstance(event, Frame)]


def ends_of(events):
    return [event.reason for event in events if isinstance(event, StreamEnd)]


def play(program, reader, numbers, *, keep_open=False):
    """Make frames one by one, each when the one before was read; return the events of the series."""
    before = len(reader.events)
    ends = len(ends_of(reader.events))
    program.begin()
    for place, number in enumerate(numbers):
        if place and number > numbers[place - 1] + 1:
            program.lose(number - numbers[place - 1] - 1)
        program.scan(number)
        if place:  # the first one may wait for what follows it
            reader.wait(lambda events, place=place: len(frames_of(events[before:])) >= place)
    program.end()
    reader.wait(lambda events: len(ends_of(events)) > ends)
    return reader.events[before:]


def test_a_series_is_described_before_its_frames_and_they_come_whole_and_in_order(program, reader):
    events = play(program, reader, list(range(FRAMES)))
    info, *frames, end = events
    assert isinstance(info, StreamInfo)
    assert (info.rate_hz, info.planes, info.shape[0]) == (program.rate_hz, program.planes, program.channels)
    assert info.dtype.str in DTYPES
    assert info.shape == program.picture(0).shape
    assert len(frames) == FRAMES
    assert [frame.index for frame in frames] == list(range(frames[0].index, frames[0].index + FRAMES))
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.pixels, program.picture(number))
        assert frame.pixels.dtype == info.dtype
        assert frame.plane == 0
        assert abs(frame.arrived_ns - time.time_ns()) < 120e9
    assert isinstance(end, StreamEnd)
    assert end.reason in ("done", "timeout")


def test_lost_frames_are_gaps(program, reader):
    if program.lose is None:
        pytest.skip("this program does not number its frames")
    numbers = [0, 1, 2, 5, 6]
    events = play(program, reader, numbers)
    frames = frames_of(events)
    first = frames[0].index
    assert [frame.index for frame in frames] == [first + number for number in numbers]
    assert [event for event in events if isinstance(event, Gap)] == [Gap(first + 3, 2, "source")]
    assert events.index(Gap(first + 3, 2, "source")) == events.index(frames[2]) + 1
    for number, frame in zip(numbers, frames, strict=True):
        np.testing.assert_array_equal(frame.pixels, program.picture(number))


def test_a_program_that_begins_again_begins_a_series(program, reader):
    series = [play(program, reader, [0, 1, 2]) for _ in range(3)]
    infos = [event for events in series for event in events if isinstance(event, StreamInfo)]
    assert len(infos) == 3
    assert len({info.series for info in infos}) == 3
    for events in series:
        assert isinstance(events[0], StreamInfo)
        assert len(frames_of(events)) == 3
        assert [frame.index for frame in frames_of(events)] == [frame.index for frame in frames_of(series[0])]


@pytest.mark.parametrize("running", [False, True])
def test_it_stops_within_a_second(program, running):
    stop, sink = threading.Event(), ListSink()
    opened = threading.Event()
    open_source = program.source.open
    program.source.open = lambda: (open_source(), opened.set())
    thread = threading.Thread(target=relay, args=(program.source, sink, stop), name="relay")
    thread.start()
    try:
        assert opened.wait(WAIT_S)
        if running:
            program.begin()
            for number in range(4):
                program.scan(number)
                until(lambda number=number: True if len(sink.frames) >= number else None)
        stop.set()
        thread.join(1.0)
        assert not thread.is_alive()
        assert sink.ends == (["abort"] if running else [])
    finally:
        stop.set()
        thread.join(WAIT_S)


def test_read_waits_no_longer_than_it_was_told(program):
    program.source.open()
    for timeout_s in (0.0, 0.1):
        begun_s = time.monotonic()
        assert program.source.read(timeout_s) is None
        assert time.monotonic() - begun_s < timeout_s + 0.5


def test_it_may_be_closed_twice_unopened_and_in_the_middle(program):
    program.source.close()
    program.source.close()
    program.source.open()
    reader = Reader(program.source)
    try:
        program.begin()
        for number in range(2):
            program.scan(number)
        reader.wait(frames_of)
    finally:
        reader.stop()
    program.source.close()
    program.source.close()


def test_it_may_be_opened_again(program):
    program.source.open()
    program.source.close()
    program.source.open()
    reader = Reader(program.source)
    try:
        assert len(frames_of(play(program, reader, [0, 1, 2]))) == 3
    finally:
        reader.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not count descriptors")
def test_opening_and_closing_it_leaves_nothing_open(program):
    """Also when it is closed in the middle of a series."""
    process = psutil.Process(os.getpid())

    def once() -> int:
        program.source.open()
        reader = Reader(program.source)
        try:
            program.begin()
            program.scan(0)
            program.scan(1)
            reader.wait(frames_of)
        finally:
            reader.stop()
        program.source.close()
        program.end()
        gc.collect()
        return process.num_fds()

    counts = [once() for _ in range(5)]
    assert counts[-1] == counts[1], counts


def test_a_receiver_gets_what_a_connector_reads(program):
    """Through the relay, the wire and the receiver of deepbid-rt."""
    stop, opened = threading.Event(), threading.Event()
    open_source = program.source.open
    program.source.open = lambda: (open_source(), opened.set())
    sink = ZmqSink("tcp://127.0.0.1:0", role="raw", source_name="rig-7")
    received = ZmqSource(sink.endpoint)
    thread = threading.Thread(target=relay, args=(program.source, sink, stop), name="relay")
    try:
        received.open()
        assert sink.wait_for_subscriber(WAIT_S)
        thread.start()
        assert opened.wait(WAIT_S)
        reader = Reader(received)
        try:
            events = play(program, reader, list(range(FRAMES)))
        finally:
            reader.stop()
        assert events[0].source == "rig-7"
        assert events[0].rate_hz == program.rate_hz
        for number, frame in enumerate(frames_of(events)):
            np.testing.assert_array_equal(frame.pixels, program.picture(number))
        assert len(frames_of(events)) == FRAMES
        assert not sum(received.status().lost.values())
    finally:
        stop.set()
        thread.join(WAIT_S)
        received.close()
        sink.close()
