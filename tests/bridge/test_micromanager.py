"""The connector for pymmcore-plus: a stand-in for the core's events, and the real core with its demo camera."""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bridge import micromanager
from bridge.micromanager import MicroManagerSource, publishing
from deepbid_rt.errors import EndpointError
from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import ZmqSource
from tests import ROOT

SHAPE = (6, 8)
WAIT_S = 60.0
real_core = pytest.mark.skipif(
    importlib.util.find_spec("pymmcore_plus") is None or importlib.util.find_spec("mm_test_adapters") is None,
    reason="no Micro-Manager core with a demo camera (pip install pymmcore-plus mm-test-adapters)",
)


class Signal:
    def __init__(self) -> None:
        self.slots: list[Callable[..., None]] = []

    def connect(self, slot: Callable[..., None]) -> None:
        self.slots.append(slot)

    def disconnect(self, slot: Callable[..., None]) -> None:
        self.slots.remove(slot)

    def emit(self, *values: Any) -> None:
        for slot in list(self.slots):
            slot(*values)


class Core:
    """The events of an acquisition, as pymmcore-plus sends them."""

    def __init__(self) -> None:
        names = ("sequenceStarted", "frameReady", "sequenceCanceled", "sequenceFinished")
        self.mda = SimpleNamespace(events=SimpleNamespace(**{name: Signal() for name in names}))

    def begin(self, axes: str = "tpgcz", interval_s: float = 0.05, **sizes: int) -> None:
        sequence = SimpleNamespace(
            sizes={axis: sizes.get(axis, 0) for axis in axes},
            axis_order=axes,
            time_plan=SimpleNamespace(interval=timedelta(seconds=interval_s)),
        )
        self.mda.events.sequenceStarted.emit(sequence, {"image_infos": ({"camera_label": "Camera"},)})

    def image(self, pixels: Any, metadata: Any = None, **index: int) -> None:
        meta = {"runner_time_ms": 1000.0, "exposure_ms": 10.0, "pixel_size_um": 0.5} if metadata is None else metadata
        self.mda.events.frameReady.emit(pixels, SimpleNamespace(index=index), meta)

    def end(self, *, canceled: bool = False) -> None:
        if canceled:
            self.mda.events.sequenceCanceled.emit(None)
        self.mda.events.sequenceFinished.emit(None)

    @property
    def connected(self) -> int:
        return sum(len(signal.slots) for signal in vars(self.mda.events).values())


def picture(number: int, channel: int = 0, dtype: str = "u2") -> Any:
    return (np.arange(48).reshape(SHAPE) + 100 * channel + number).astype(dtype)


@pytest.fixture
def core():
    return Core()


@pytest.fixture
def source(core):
    with closing(MicroManagerSource(core)) as made:
        made.open()
        yield made


def all_events(source):
    events = []
    while (event := source.read(0)) is not None:
        events.append(event)
    return events


def test_an_acquisition_is_a_series(core, source):
    core.begin(t=3)
    for t in range(3):
        core.image(picture(t), t=t)
    core.end()
    info, *frames, end = all_events(source)
    assert (info.shape, info.dtype, info.rate_hz, info.planes) == ((1, *SHAPE), np.dtype("<u2"), 20.0, 1)
    assert info.user == {"format": "Micro-Manager", "camera": "Camera", "pixel_um": [0.5, 0.5]}
    assert not info.scan.bidirectional
    assert [frame.index for frame in frames] == [0, 1, 2]
    for t, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.pixels[0], picture(t))
        assert frame.acquired_s == 1.0
        assert abs(frame.arrived_ns - time.time_ns()) < 60e9
    assert end == StreamEnd("done")


def test_the_image_is_copied(core, source):
    pixels = picture(1)
    core.begin(t=1)
    core.image(pixels, t=0)
    pixels[:] = 0
    np.testing.assert_array_equal(all_events(source)[1].pixels[0], picture(1))


@pytest.mark.parametrize("axes", ["tpgcz", "tpgzc"])
def test_channels_become_one_frame_and_slices_are_planes(core, source, axes):
    core.begin(axes, t=2, c=2, z=3)
    places = (
        [(c, z) for c in range(2) for z in range(3)]
        if axes == "tpgcz"
        else [(c, z) for z in range(3) for c in range(2)]
    )
    for t in range(2):
        for c, z in places:
            core.image(picture(10 * t + z, c), t=t, c=c, z=z)
    core.end()
    info, *frames, _ = all_events(source)
    assert (info.shape, info.planes, info.rate_hz) == (
        (2, *SHAPE),
        3,
        pytest.approx(3 / 0.05 if 0.05 / 3 > 0.02 else 50),
    )
    assert [(frame.index, frame.plane) for frame in frames] == [(k, k % 3) for k in range(6)]
    for frame in frames:
        t, z = divmod(frame.index, 3)
        for c in range(2):
            np.testing.assert_array_equal(frame.pixels[c], picture(10 * t + z, c))


def test_positions_within_time_are_planes_and_positions_around_time_are_series(core, source):
    core.begin("tpgcz", t=2, p=2)
    for t in range(2):
        for p in range(2):
            core.image(picture(t), t=t, p=p)
    core.end()
    info, *frames, _ = all_events(source)
    assert info.planes == 2
    assert [(frame.index, frame.plane) for frame in frames] == [(0, 0), (1, 1), (2, 0), (3, 1)]
    core.begin("ptgcz", t=2, p=2)
    for p in range(2):
        for t in range(2):
            core.image(picture(t), t=t, p=p)
    core.end()
    events = all_events(source)
    assert [type(event) for event in events] == [StreamInfo, Frame, Frame, StreamEnd] * 2
    assert events[0].planes == 1


def test_images_that_do_not_come_are_gaps(core, source):
    core.begin(t=6, c=2)
    for t, c in [(0, 0), (0, 1), (1, 0), (3, 0), (3, 1), (5, 0)]:
        core.image(picture(t, c), t=t, c=c)
    core.end()
    events = all_events(source)
    assert [event.index for event in events if isinstance(event, Frame)] == [0, 3]
    assert [event for event in events if isinstance(event, Gap)] == [Gap(1, 2, "source"), Gap(4, 2, "source")]


def test_an_acquisition_that_is_canceled_is_an_abort_and_one_that_begins_anew_replaces(core, source):
    core.begin(t=9)
    core.image(picture(0), t=0)
    core.end(canceled=True)
    core.begin(t=9)
    core.image(picture(0), t=0)
    core.begin(t=9)
    core.image(picture(0), t=0)
    core.end()
    assert [event.reason for event in all_events(source) if isinstance(event, StreamEnd)] == [
        "abort",
        "replaced",
        "done",
    ]


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.int32), np.zeros((4, 4), bool), np.zeros(4, np.uint8), None],
)
def test_images_that_no_stream_carries_are_said_and_disturb_nothing(core, source, pixels, caplog):
    core.begin(t=2)
    for t in range(2):
        core.image(pixels, t=t)
    core.end()
    assert all_events(source) == []
    assert caplog.text.count("are not published") == 1
    core.begin(t=1)
    core.image(picture(0), t=0)
    assert isinstance(all_events(source)[1], Frame)


def test_an_image_of_another_size_begins_a_series(core, source):
    core.begin(t=3)
    core.image(picture(0), t=0)
    core.image(np.zeros((3, 3), "u2"), t=1)
    core.end()
    assert [type(event) for event in all_events(source)] == [StreamInfo, Frame, StreamEnd, StreamInfo, Frame, StreamEnd]


def test_events_without_a_sequence_are_counted_and_those_with_channels_are_refused(core, source, caplog):
    core.mda.events.sequenceStarted.emit(object(), None)
    core.image(picture(0), {})
    core.image(picture(1), {})
    core.end()
    info, *frames, _ = all_events(source)
    assert info.rate_hz == micromanager.DEFAULT_RATE_HZ
    assert [frame.index for frame in frames] == [0, 1]
    assert "are assumed" in caplog.text
    core.mda.events.sequenceStarted.emit(object(), None)
    core.image(picture(0), c=1)
    core.end()
    assert all_events(source) == []
    assert "does not say how many channels" in caplog.text


def test_a_place_outside_of_the_axes_is_said(core, source, caplog):
    core.begin(t=1)
    core.image(picture(0), t=0)
    core.image(picture(1), t=0, c=3)
    core.end()
    assert all_events(source)[-1] == StreamEnd("error")
    assert "within its axes" in caplog.text


def test_a_reader_that_is_too_slow_loses_the_newest_images_and_gets_a_gap(core, source, monkeypatch):
    monkeypatch.setattr(micromanager, "QUEUE_BYTES", 2 * picture(0).nbytes)
    core.begin(t=6)
    for t in range(4):
        core.image(picture(t), t=t)
    events = all_events(source)
    core.image(picture(5), t=5)
    core.end()
    assert [event.index for event in events if isinstance(event, Frame)] == [0, 1]
    assert source.lost == 2
    assert all_events(source)[0] == Gap(2, 3, "source")


def test_images_before_it_is_open_and_after_it_is_closed_are_left_alone(core):
    source = MicroManagerSource(core)
    core.begin(t=2)
    source.open()
    core.image(picture(0), t=0)  # of an acquisition whose beginning it missed
    assert all_events(source) == []
    assert core.connected == 4
    source.close()
    source.close()
    assert core.connected == 0
    core.begin(t=1)
    core.image(picture(0), t=0)
    assert all_events(source) == []


def test_publishing_from_a_program_of_ones_own(core):
    with publishing(core, "tcp://127.0.0.1:0", name="rig7") as sink, closing(ZmqSource(sink.endpoint)) as received:
        received.open()
        events: list[Any] = []
        until_s = time.monotonic() + WAIT_S
        core.begin(t=100)
        t = 0
        while sum(isinstance(event, Frame) for event in events) < 3:  # the connection is made meanwhile
            assert time.monotonic() < until_s
            core.image(picture(t), t=t)
            t += 1
            event = received.read(0.05)
            events += [event] if event is not None else []
        core.end()
        while not isinstance(events[-1], StreamEnd):
            event = received.read(1)
            events += [event] if event is not None else []
    assert events[0].source == "rig7"
    for frame in events:
        if isinstance(frame, Frame):
            assert frame.acquired_s == 1.0
    assert core.connected == 0


def test_an_address_that_cannot_be_used_is_refused_before_anything_is_connected(core):
    with pytest.raises(EndpointError), publishing(core, "tcp://0.0.0.0:0"):
        pass
    assert core.connected == 0


def run_main(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bridge" / "micromanager.py"), "--bind", "tcp://127.0.0.1:0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@real_core
def test_the_demo_camera_of_the_real_core():
    command = [
        *(sys.executable, str(ROOT / "bridge" / "micromanager.py"), "--bind", "tcp://127.0.0.1:0"),
        *("--frames", "20", "--exposure", "5", "--wait", "60"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            with closing(ZmqSource(process.stdout.readline().removeprefix("publishing on ").strip())) as received:
                received.open()
                events: list[Any] = []
                until_s = time.monotonic() + WAIT_S
                while not (events and isinstance(events[-1], StreamEnd)):
                    assert time.monotonic() < until_s
                    event = received.read(1)
                    events += [event] if event is not None else []
            said = process.communicate(timeout=WAIT_S)[0]
        finally:
            process.kill()
    assert process.returncode == 0
    assert json.loads(said.splitlines()[-1]) == {"series": 1, "frames": 20, "lost": 0}
    assert (events[0].shape, events[0].dtype) == ((1, 512, 512), np.dtype("<u2"))
    assert [event.index for event in events if isinstance(event, Frame)] == list(range(20))
    times = [event.acquired_s for event in events if isinstance(event, Frame)]
    assert all(before < after for before, after in itertools.pairwise(times))


OWN_PROGRAM = """
import sys, time
sys.path.insert(0, {bridge!r})
import mm_test_adapters, useq
from micromanager import publishing
from pymmcore_plus import CMMCorePlus
from deepbid_rt.frame import Frame, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import ZmqSource

core = CMMCorePlus()
core.setDeviceAdapterSearchPaths([str(mm_test_adapters.device_adapter_path())])
for label, device in (("Camera", "DCam"), ("Z", "DStage"), ("Wheel", "DWheel")):
    core.loadDevice(label, "DemoCamera", device)
core.initializeAllDevices()
core.setCameraDevice("Camera")
core.setFocusDevice("Z")
core.setExposure(5)
core.setAutoShutter(False)
for name, position in (("Green", "0"), ("Red", "1")):
    core.defineConfig("Filter", name, "Wheel", "State", position)
sequence = useq.MDASequence(
    channels=[dict(config="Green", group="Filter"), dict(config="Red", group="Filter")],
    z_plan=dict(range=2, step=1), time_plan=dict(interval=0, loops=4), axis_order="tpgzc",
)
with publishing(core, "tcp://127.0.0.1:0") as sink:
    source = ZmqSource(sink.endpoint)
    source.open()
    assert sink.wait_for_subscriber(30)
    begun = core.run_mda(sequence)
    begun.join()
    events, until_s = [], time.monotonic() + 30
    while not (events and isinstance(events[-1], StreamEnd)) and time.monotonic() < until_s:
        event = source.read(0.5)
        events += [event] if event is not None else []
    source.close()
info = next(event for event in events if isinstance(event, StreamInfo))
print(info.shape, info.planes, events[-1].reason, [event.index for event in events if isinstance(event, Frame)][-1])
core.unloadAllDevices()
core.__del__()
"""


@real_core
def test_channels_and_slices_of_the_real_core():
    command = [sys.executable, "-c", OWN_PROGRAM.format(bridge=str(ROOT / "bridge"))]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stdout.splitlines()[-1] == "(2, 512, 512) 3 done 11"


@real_core
@pytest.mark.parametrize("arguments", [("--config", "none.cfg"), ("--frames", "0"), ("--adapters", "/none")])
def test_what_the_real_core_refuses_is_said(arguments):
    finished = run_main(*arguments)
    assert finished.returncode == 2, finished.stderr
    assert "error: " in finished.stderr


def test_a_missing_package_is_said(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pymmcore_plus", None)
    monkeypatch.setattr(sys, "argv", ["micromanager.py", "--bind", "tcp://127.0.0.1:0"])
    assert micromanager.main() == 2
    assert "pip install pymmcore-plus" in capsys.readouterr().err
