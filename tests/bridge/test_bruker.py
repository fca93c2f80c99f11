"""The connector for PrairieView: a stand-in behaves as PrairieLink's COM object does by its documentation."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections import deque
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bridge import bruker
from bridge.bruker import OFFSET, BrukerSource, ComLink, average
from deepbid_rt.errors import RefusedError, StageError, StreamError
from deepbid_rt.frame import Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import ZmqSource
from tests import ROOT

LINES, PIXELS, SAMPLES = 8, 12, 3
WAIT_S = 20.0


class ComError(Exception):
    """Stands for ``pywintypes.com_error``."""


def picture(number: int, channel: int = 0) -> Any:
    """Counts (Y, X) without offset that differ from frame to frame, with the number in the first pixel."""
    counts = np.random.default_rng(10 * number + channel).integers(0, 8000, (LINES, PIXELS), "i2")
    counts[0, 0] = number
    return counts


class PrairieView:
    """PrairieView as a program sees it through PrairieLink.

    Raw data of acquisitions that begin after ``-StreamRawData True`` go into a ring of whole frames. When it is full,
    frames are lost, and `DroppedData` is true until the next acquisition begins.
    """

    def __init__(self, channels: int = 1) -> None:
        self.shape, self.channels = (LINES, PIXELS, SAMPLES), channels
        self.states = {("framerate",): "29.97", ("activeMode",): "ResonantGalvo"}
        self.states |= {("micronsPerPixel", "XAxis"): "1,25", ("micronsPerPixel", "YAxis"): "1.5"}
        self.running = self.registered = True
        self.refused: tuple[str, ...] = ()
        self.unknown_state_raises = self.connected = self.caches = False
        self.commands: list[str] = []
        self.ring: deque[Any] = deque()
        self.room = 0
        self.lost = False
        self.most = 10**9
        self.number = 0
        self.lock = threading.Lock()
        self.streams = threading.Event()
        self.emptied = threading.Event()

    def begin(self) -> None:
        """Begin an acquisition."""
        with self.lock:
            self.number, self.lost = 0, False
            self.caches = self.streams.is_set()

    def scan(self, count: int = 1, cut: int = 0) -> None:
        """Scan frames; the digitizer loses the first `cut` samples of the first one."""
        for _ in range(count):
            counts = np.stack([picture(self.number, channel) for channel in range(self.channels)], -1)
            if counts.shape[:2] != self.shape[:2]:
                counts = np.resize(counts, (*self.shape[:2], self.channels))
            samples = np.repeat(counts[:, :, None], self.shape[2], 2) + OFFSET
            self.number += 1
            with self.lock:
                full = sum(map(len, self.ring)) + samples.size > self.room * samples.size
                self.lost |= full or cut > 0
                if self.caches and not full:
                    self.ring.append(samples.astype(np.int16).reshape(-1)[cut:])
            cut = 0

    def Connect(self) -> None:
        self.check()
        self.connected = True

    def Connected(self) -> bool:
        return self.connected

    def Disconnect(self) -> None:
        self.check()
        self.connected = False

    def check(self) -> None:
        if not self.running:
            raise ComError(-2147023174, "The RPC server is unavailable.")

    def SendScriptCommands(self, command: str) -> bool:
        self.check()
        self.commands.append(command)
        name, *values = command.split()
        if name in self.refused:
            return False
        if name == "-StreamRawData":
            if values[0] == "True":
                self.room = int(values[1])
                self.streams.set()
            else:
                self.streams.clear()
        return True

    def LinesPerFrame(self) -> int:
        self.check()
        return self.shape[0]

    def PixelsPerLine(self) -> int:
        return self.shape[1]

    def SamplesPerPixel(self) -> int:
        return self.shape[2]

    def GetState(self, *key: str) -> str | None:
        self.check()
        if key not in self.states and self.unknown_state_raises:
            raise ComError(-1, "unknown")
        return self.states.get(key)

    def DroppedData(self) -> bool:
        self.check()
        return self.lost

    def ReadRawDataStream_3(self, process: int, address: int, size: int) -> int:
        self.check()
        assert process == os.getpid()
        copied, left = 0, min(size, self.most)
        with self.lock:
            while self.ring and left:
                part = np.ascontiguousarray(self.ring[0][:left])
                ctypes.memmove(address + 2 * copied, part.ctypes.data, part.nbytes)
                copied, left = copied + len(part), left - len(part)
                self.ring[0] = self.ring[0][len(part) :]
                if not len(self.ring[0]):
                    self.ring.popleft()
        if not copied:
            self.emptied.set()
        return copied


def modules_of(view: PrairieView) -> dict[str, Any]:
    """The modules of pywin32 that the connector imports."""

    def dispatch(program: str) -> PrairieView:
        if not view.registered or program != "PrairieLink64.Application":
            raise ComError(-2147221005, "Invalid class string")
        return view

    client = SimpleNamespace(Dispatch=dispatch)
    made: dict[str, Any] = {"win32com": ModuleType("win32com"), "win32com.client": client}
    return {**made, "pywintypes": SimpleNamespace(com_error=ComError)}


@pytest.fixture
def view(monkeypatch):
    made = PrairieView()
    for name, module in modules_of(made).items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    return made


@pytest.fixture
def source(view):
    made = BrukerSource(idle_s=0.05)
    yield made
    made.close()


def next_event(source, wait_s=WAIT_S):
    """The next event, with a copy of the pixels, which are valid until the next `read` only."""
    event = source.read(wait_s)
    if isinstance(event, Frame):
        return Frame(event.index, event.pixels.copy(), event.t_ns, event.arrived_ns, event.plane, event.flags)
    return event


def events_of(source, count):
    return [next_event(source) for _ in range(count)]


def test_an_acquisition_is_a_series(source, view):
    source.open()
    assert source.read(0.01) is None
    view.begin()
    before_ns = time.time_ns()
    view.scan(5)
    info, *frames = events_of(source, 6)
    assert (info.shape, info.dtype, info.rate_hz, info.planes) == ((1, LINES, PIXELS), np.dtype("<i2"), 29.97, 1)
    assert info.scan == ScanGeometry(mirrored=False, extra={"samples_per_px": SAMPLES, "kind": "resonant"})
    assert info.user["pixel_um"] == [1.5, 1.25]
    assert info.user["channels"] == ["Ch1"]
    for number, frame in enumerate(frames):
        assert frame.index == number
        np.testing.assert_array_equal(frame.pixels[0], picture(number))
        assert before_ns <= frame.arrived_ns <= time.time_ns()
    assert next_event(source) == StreamEnd("timeout")
    assert source.read(0.01) is None
    view.begin()
    view.scan(1)
    again, frame = events_of(source, 2)
    assert again.series != info.series
    assert frame.index == 0


def test_prairieview_is_set_up_and_set_back(source, view):
    source.open()
    assert view.commands == [
        "-DoNotWaitForScans",
        "-LimitGSDMABufferSize True 0",
        "-SetFrameAveraging 1",
        "-StreamRawData True 50",
    ]
    view.commands.clear()
    source.close()
    source.close()
    assert view.commands == ["-StreamRawData False", "-LimitGSDMABufferSize False", "-DoNotWaitForScans False"]
    assert not view.connected


def test_samples_of_an_earlier_acquisition_are_thrown_away(source, view):
    view.SendScriptCommands("-StreamRawData True 9")
    view.begin()
    view.scan(4)
    source.open()
    assert source.read(0.01) is None


def test_several_pmts_are_taken_apart(view):
    view.channels = 3
    source = BrukerSource(channels=3)
    source.open()
    view.begin()
    view.scan(2)
    info, *frames = events_of(source, 3)
    assert info.shape == (3, LINES, PIXELS)
    for frame in frames:
        for channel in range(3):
            np.testing.assert_array_equal(frame.pixels[channel], picture(frame.index, channel))
    source.close()


def test_options_reach_the_description(view):
    view.states = {}
    scan = ScanGeometry("collinear", first="backward", mirrored=True)
    source = BrukerSource(scan=scan, planes=2, rate_hz=12, buffer_frames=7, dma_ms=100)
    source.open()
    assert {"-LimitGSDMABufferSize True 100", "-StreamRawData True 7"} <= set(view.commands)
    view.begin()
    view.scan(3)
    info, *frames = events_of(source, 4)
    assert (info.rate_hz, info.planes, [frame.plane for frame in frames]) == (12, 2, [0, 1, 0])
    assert (info.scan.layout, info.scan.first, info.scan.mirrored) == ("collinear", "backward", True)
    assert info.scan.extra == {"samples_per_px": SAMPLES}
    assert "pixel_um" not in info.user
    source.close()


@pytest.mark.parametrize("raises", [False, True])
def test_a_rate_that_is_not_said_is_assumed_and_said(source, view, raises, caplog):
    view.states, view.unknown_state_raises = {("framerate",): "fast"}, raises
    source.open()
    view.begin()
    view.scan(1)
    assert events_of(source, 2)[0].rate_hz == 30
    assert "30 Hz are assumed" in caplog.text


@pytest.mark.parametrize("most", [1, 7, LINES * PIXELS * SAMPLES - 1, LINES * PIXELS * SAMPLES + 5])
def test_frames_that_come_in_pieces_are_put_together(source, view, most):
    view.most = most
    source.open()
    view.begin()
    view.scan(3)
    _, *frames = events_of(source, 4)
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.pixels[0], picture(number))


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_lost_data_are_a_gap_and_the_next_series_is_whole(source, view, cut, caplog):
    """Either the ring was full, or the digitizer lost samples, so that frames begin in the middle."""
    source.open()
    view.begin()
    view.scan(2)
    events_of(source, 3)
    if cut:
        view.scan(3, cut=cut)
        lost = 3
    else:
        view.scan(55)
        lost = 50
    assert events_of(source, 2) == [Gap(2, lost, "source"), StreamEnd("error")]
    assert "has lost data" in caplog.text
    number = view.number
    view.scan(2)
    info, *frames = events_of(source, 3)
    assert isinstance(info, StreamInfo)
    for place, frame in enumerate(frames):
        assert frame.index == place
        np.testing.assert_array_equal(frame.pixels[0], picture(number + place))
    # The flag stays up until the next acquisition; one more loss is then seen again.
    assert next_event(source) == StreamEnd("timeout")
    view.begin()
    view.scan(1)
    events_of(source, 2)
    view.scan(51)
    assert events_of(source, 2) == [Gap(1, 50, "source"), StreamEnd("error")]


def test_a_loss_before_the_first_frame_begins_no_series(source, view):
    source.open()
    view.begin()
    view.scan(1, cut=5)
    assert source.read(0.02) is None
    view.scan(1)
    info, frame = events_of(source, 2)
    assert (type(info), frame.index) == (StreamInfo, 0)
    np.testing.assert_array_equal(frame.pixels[0], picture(1))


def test_an_acquisition_that_ends_within_a_frame_leaves_nothing_for_the_next(source, view, caplog):
    source.open()
    view.begin()
    view.scan(2)
    view.ring[-1] = view.ring[-1][:40]
    events_of(source, 2)
    assert next_event(source) == StreamEnd("timeout")
    assert "40 samples are left out" in caplog.text
    view.begin()
    view.scan(1)
    np.testing.assert_array_equal(events_of(source, 2)[1].pixels[0], picture(0))


def test_another_size_between_acquisitions_is_taken(source, view):
    source.open()
    view.begin()
    view.scan(1)
    events_of(source, 3)
    for shape in ((LINES, PIXELS, 40), (64, 100, 2), (4, 6, 1)):
        view.shape = shape
        view.begin()
        view.scan(2)
        info, *_, end = events_of(source, 4)
        assert (info.shape, end) == ((1, *shape[:2]), StreamEnd("timeout"))


def test_another_size_in_a_series_begins_another_one_with_whole_frames(source, view, caplog):
    source.open()
    view.begin()
    view.scan(2)
    events_of(source, 3)
    view.shape = (LINES, PIXELS, SAMPLES + 1)
    view.begin()
    view.scan(1)
    assert next_event(source) == StreamEnd("replaced")
    assert "size of frames has changed" in caplog.text
    view.scan(1)
    info, frame = events_of(source, 2)
    assert info.scan.extra["samples_per_px"] == SAMPLES + 1
    np.testing.assert_array_equal(frame.pixels[0], picture(1))


def test_frames_larger_than_a_stream_are_refused(source, view):
    source.open()
    view.shape = (9000, 512, 1)
    view.begin()
    with view.lock:
        view.ring.append(np.zeros(10, np.int16))
    with pytest.raises(StreamError, match="9000 lines"):
        source.read(1)


def test_a_prairieview_that_ends_is_a_sentence(source, view, caplog):
    source.open()
    view.running = False
    with pytest.raises(StageError, match="no longer answers"):
        source.read(1)
    source.close()
    assert "RPC server is unavailable" in caplog.text


@pytest.mark.parametrize(
    ("system", "fault", "words"),
    [
        ("Linux", "none", "this connector on Linux"),
        ("Windows", "pywin32", "pip install pywin32"),
        ("Windows", "registered", "no PrairieLink on this computer"),
        ("Windows", "running", "PrairieView that does not answer"),
        ("Windows", "refused", "refused to stream"),
        ("Windows", "stops", "stopped answering"),
    ],
)
def test_what_is_missing_is_refused_in_a_sentence(source, view, monkeypatch, system, fault, words):
    monkeypatch.setattr(platform, "system", lambda: system)
    if fault == "pywin32":
        monkeypatch.setitem(sys.modules, "win32com.client", None)
    elif fault == "refused":
        view.refused = ("-StreamRawData",)
    elif fault == "stops":
        monkeypatch.setattr(PrairieView, "LinesPerFrame", lambda _: (_ for _ in ()).throw(ComError("gone")))
    elif fault != "none":
        setattr(view, fault, False)
    with pytest.raises(RefusedError, match=words):
        source.open()
    assert not view.streams.is_set()


def test_a_stream_that_cannot_be_emptied_is_a_sentence(source, view, monkeypatch):
    monkeypatch.setattr(bruker, "_FLUSH_S", 0.05)
    read = PrairieView.ReadRawDataStream_3

    def endless(self, *values):
        self.scan(1)
        return read(self, *values)

    monkeypatch.setattr(PrairieView, "ReadRawDataStream_3", endless)
    view.caches = True
    with pytest.raises(StageError, match="faster than they can be thrown away"):
        source.open()
    assert not view.streams.is_set()
    assert not view.connected


def test_refused_commands_are_said(source, view, caplog):
    view.refused = ("-LimitGSDMABufferSize",)
    source.open()
    assert "frames will come late" in caplog.text
    source.close()
    assert "restart it" in caplog.text


def test_a_command_that_returns_nothing_was_accepted(view, monkeypatch):
    send = PrairieView.SendScriptCommands
    monkeypatch.setattr(PrairieView, "SendScriptCommands", lambda *values: send(*values) and None)
    source = BrukerSource()
    source.open()
    source.close()


def test_samples_below_the_offset_do_not_count():
    below = OFFSET - 1
    samples = np.array(
        [
            [[[OFFSET + 10], [OFFSET + 20], [below]], [[below], [below], [below]]],
            [[[OFFSET], [OFFSET + 1], [OFFSET + 1]], [[-32768], [32767], [below]]],
        ],
        np.int16,
    )
    out = np.empty((1, 2, 2), np.int16)
    average(samples, OFFSET, out)
    np.testing.assert_array_equal(out, [[[15, 0], [1, 32767 - OFFSET]]])


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (5, 7, 3, 2), (512, 130, 9, 2)])
def test_averages_are_those_of_the_definition(shape):
    samples = np.random.default_rng(1).integers(OFFSET - 2000, OFFSET + 4000, shape).astype(np.int16)
    out = np.empty((shape[3], *shape[:2]), np.int16)
    average(samples, OFFSET, out)
    lit = samples >= OFFSET
    means = np.where(lit, samples.astype(float) - OFFSET, 0).sum(2) / np.maximum(lit.sum(2), 1)
    np.testing.assert_array_equal(out, np.rint(means).transpose(2, 0, 1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": 0}, {"channels": 9}, {"planes": 0}, {"rate_hz": 0.0}, {"offset": -1}, {"buffer_frames": 0},
        {"buffer_frames": 65536}, {"dma_ms": -1}, {"idle_s": -1.0},
    ],
)  # fmt: skip
def test_impossible_options_are_refused(wrong):
    with pytest.raises(StreamError):
        BrukerSource(**wrong)


def test_main_says_what_is_refused(capsys):
    """Without pywin32 or off Windows, which is where this test runs."""
    assert bruker.main(["--bind", "tcp://127.0.0.1:0"]) == 2
    assert "error: " in capsys.readouterr().err
    assert bruker.main(["--channels", "0"]) == 2


def test_a_link_is_made_again_at_each_opening(view):
    made: list[ComLink] = []

    def connect():
        made.append(ComLink())
        return made[-1]

    source = BrukerSource(connect)
    for _ in range(2):
        source.open()
    source.close()
    assert len(made) == 2


PROGRAM = """
import platform, sys, threading, time
from tests.bridge.test_bruker import PrairieView, modules_of
view = PrairieView(channels=2)
view.states[("framerate",)] = "100"
sys.modules.update(modules_of(view))
platform.system = lambda: "Windows"
from bridge import bruker

def acquire():
    assert view.emptied.wait(60)
    view.begin()
    for count, cut in ((40, 0), (1, 11), (40, 0)):
        for _ in range(count):
            view.scan(1, cut=cut)
            time.sleep(0.01)

threading.Thread(target=acquire, daemon=True).start()
sys.exit(bruker.main())
"""


def test_as_a_program_that_loses_data_in_the_middle():
    command = [sys.executable, "-c", PROGRAM, "--bind", "tcp://127.0.0.1:0", "--channels", "2", "--idle", "0.5"]
    command += ["--series", "2", "--wait", "60", "--name", "ultima"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as connector:
        try:
            assert connector.stdout is not None
            receiver = ZmqSource(connector.stdout.readline().removeprefix("publishing on ").strip())
            receiver.open()
            try:
                events: list[Any] = []
                deadline_s = time.monotonic() + 60
                while sum(isinstance(event, StreamEnd) for event in events) < 2 and time.monotonic() < deadline_s:
                    event = next_event(receiver, 0.1)
                    events += [] if event is None else [event]
            finally:
                receiver.close()
            assert connector.wait(60) == 0
            ends = [place for place, event in enumerate(events) if isinstance(event, StreamEnd)]
            assert [events[place].reason for place in ends] == ["error", "timeout"]
            first, second = events[: ends[0]], events[ends[0] + 1 :]
            for series, start in ((first, 0), (second, None)):
                info, *rest = series
                assert (info.shape, info.source, info.scan.mirrored) == ((2, LINES, PIXELS), "ultima", False)
                frames = [event for event in rest if isinstance(event, Frame)]
                begin = int(frames[0].pixels[0, 0, 0]) if start is None else start
                for place, frame in enumerate(frames):
                    assert frame.index == place
                    for channel in (0, 1):
                        np.testing.assert_array_equal(frame.pixels[channel], picture(begin + place, channel))
            assert sum(event.count for event in first if isinstance(event, Gap)) >= 1
            assert sum(isinstance(event, Frame) for event in events) >= 70
            summary = json.loads(connector.stdout.read().splitlines()[-1])
            assert summary["series"] == 2
        finally:
            connector.kill()
