"""ScanImage's own messages: series that begin and end, rates, planes, and what is not one of its messages."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.errors import WireError
from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.wire.receive_ring import ReceiveRing
from deepbid_rt.wire.receiver import Receiver
from deepbid_rt.wire.scanimage_dialect import ScanImageDialect

BEGAN_NS = 1_700_000_000_000_000_000
RATE_HZ = 30.0


def message(
    number: float, shape: tuple[int, int, int] = (2, 4, 6), time_s: float | None = None, pixels: bytes | None = None
) -> list[bytes]:
    """A message as ScanImage sends it: x fastest, then y, then channel; pixel value 1000 x channel + number."""
    channels, lines, per_line = shape
    time_s = number / RATE_HZ if time_s is None else time_s
    if pixels is None:
        planes = [np.full((lines, per_line), 1000 * channel + number, "<i2") for channel in range(channels)]
        pixels = np.stack(planes).tobytes()
    return [struct.pack("<5d", per_line, lines, channels, time_s, number), pixels]


class Listener:
    """A dialect with a receiver behind it, on a clock that the test sets."""

    def __init__(self, **options: Any) -> None:
        self.dialect = ScanImageDialect(**options)
        self.ring = ReceiveRing(256)
        self.receiver = Receiver(self.ring)
        self.now_s = 100.0

    def send(self, parts: Sequence[bytes], after_s: float = 1 / RATE_HZ) -> None:
        self.now_s += after_s
        now_ns = BEGAN_NS + round((self.now_s - 100.0) * 1e9)
        for one in self.dialect.translate(parts, now_s=self.now_s, now_ns=now_ns):
            self.receiver.push(one, now_s=self.now_s, now_ns=now_ns)

    def silence(self, seconds: float) -> None:
        self.now_s += seconds
        for one in self.dialect.tick(self.now_s):
            self.receiver.push(one, now_s=self.now_s, now_ns=BEGAN_NS)
        self.receiver.tick(self.now_s)

    def events(self) -> list[Any]:
        found = []
        while (event := self.ring.get(0.0)) is not None:
            if isinstance(event, Frame):
                event = Frame(event.index, event.pixels.copy(), event.t_ns, event.arrived_ns, event.plane)
            found.append(event)
        return found


def test_frames_become_a_series_with_rate_channels_and_numbers() -> None:
    listener = Listener(layout="collinear")
    for number in range(1, 6):
        listener.send(message(number))
    info, *frames = listener.events()
    assert isinstance(info, StreamInfo)
    assert (info.shape, info.dtype.str, info.source, info.planes) == ((2, 4, 6), "<i2", "scanimage", 1)
    assert info.rate_hz == pytest.approx(RATE_HZ)
    assert info.scan.layout == "collinear"
    assert [frame.index for frame in frames] == [1, 2, 3, 4, 5]
    for frame in frames:
        assert (frame.pixels[0] == frame.index).all()
        assert (frame.pixels[1] == 1000 + frame.index).all()
    assert listener.receiver.status(listener.now_s).unexplained == 0


def test_times_are_those_of_the_microscope_from_the_arrival_of_the_first_frame_on() -> None:
    listener = Listener()
    for number, late_s in ((1, 0.0), (2, 0.005), (3, 0.001)):
        listener.send(message(number, time_s=500.0 + number / RATE_HZ), after_s=1 / RATE_HZ + late_s)
    first, *others = (event for event in listener.events() if isinstance(event, Frame))
    assert first.t_ns == BEGAN_NS + round(1e9 / RATE_HZ)  # it was held until the second one came
    assert [frame.t_ns - first.t_ns for frame in others] == pytest.approx([n * 1e9 / RATE_HZ for n in (1, 2)], abs=1e3)


def test_a_missing_number_is_a_loss_and_a_falling_one_a_new_series() -> None:
    listener = Listener()
    for number in (1, 2, 5, 1, 2):
        listener.send(message(number))
    first, *events = listener.events()
    shown = [event.index if isinstance(event, Frame) else event for event in events]
    assert shown[:4] == [1, 2, Gap(3, 2, "source"), 5]
    assert shown[4] == StreamEnd("replaced")
    assert isinstance(shown[5], StreamInfo)
    assert shown[5].series != first.series
    assert shown[6:] == [1, 2]


def test_another_shape_is_another_series() -> None:
    listener = Listener()
    for number, shape in enumerate([(2, 4, 6), (2, 4, 6), (1, 8, 8), (1, 8, 8)], start=1):
        listener.send(message(number, shape))
    infos = [event for event in listener.events() if isinstance(event, StreamInfo)]
    assert [info.shape for info in infos] == [(2, 4, 6), (1, 8, 8)]


def test_silence_ends_a_series_and_a_single_frame_is_not_lost() -> None:
    listener = Listener()
    listener.send(message(1))
    listener.silence(9.9)
    assert not listener.events()
    listener.silence(0.2)
    info, frame, end = listener.events()
    assert info.rate_hz == 30.0  # nothing tells it
    assert (frame.index, end) == (1, StreamEnd("timeout"))
    listener.send(message(2))
    listener.send(message(3))
    assert [type(event) for event in listener.events()] == [StreamInfo, Frame, Frame]
    listener.silence(10.0)
    assert listener.events() == [StreamEnd("timeout")]


def test_a_slow_series_is_not_ended_between_two_frames() -> None:
    listener = Listener()
    for number in (1, 2, 3):
        listener.send(message(number, time_s=number * 2.5), after_s=0.1)
        listener.silence(2.4)
    info, *frames = listener.events()
    assert info.rate_hz == pytest.approx(0.4)
    assert [frame.index for frame in frames] == [1, 2, 3]


def test_planes_and_fly_back_frames() -> None:
    listener = Listener(planes=3, flyback=1)
    for number in range(1, 13):
        listener.send(message(number))
    info, *frames = listener.events()
    assert (info.planes, info.rate_hz) == (3, pytest.approx(RATE_HZ * 3 / 4))
    assert [(frame.index, frame.plane) for frame in frames] == [(n, n % 3) for n in range(9)]
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [1, 2, 3, 5, 6, 7, 9, 10, 11]


@pytest.mark.parametrize("times", [(5.0, 5.0), (5.0, 4.0), (float("nan"), 1.0), (1.0, float("inf")), (0.0, 1e300)])
def test_time_stamps_that_tell_nothing(times: tuple[float, float]) -> None:
    listener = Listener()
    for number, time_s in enumerate(times, start=1):
        listener.send(message(number, time_s=time_s))
    info, *frames = listener.events()
    assert info.rate_hz == 30.0
    arrivals = [BEGAN_NS + round(number * 1e9 / RATE_HZ) for number in (1, 2)]
    assert [frame.t_ns for frame in frames] == pytest.approx(arrivals, abs=10)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([b"x"], "a message of 1 parts of"),
        ([b"raw/scope1/frame/", b"header", b"pixels"], "a message of 3 parts of"),
        ([bytes(39), b""], "a message of 2 parts of"),
        (message(1, pixels=bytes(95)), "95 bytes of pixels for a frame of .* = .2, 4, 6."),
        ([struct.pack("<5d", 6, 4.5, 1, 0, 1), bytes(54)], "4.5 lines"),
        ([struct.pack("<5d", 6, 4, 9, 0, 1), bytes(432)], "9 channels"),
        ([struct.pack("<5d", 6, 4, 0, 0, 1), b""], "0 channels"),
        ([struct.pack("<5d", 1e300, 4, 1, 0, 1), b""], "1e[+]300 pixels"),
        ([struct.pack("<5d", float("nan"), 4, 1, 0, 1), b""], "nan pixels"),
        (message(-1.0), "frame -1 of"),
        ([struct.pack("<5d", 6, 4, 1, 0, float("inf")), bytes(48)], "frame inf of"),
    ],
)
def test_other_messages_are_refused(parts: list[bytes], said: str) -> None:
    with pytest.raises(WireError, match=said):
        ScanImageDialect().translate(parts, now_s=0.0, now_ns=BEGAN_NS)


@given(st.lists(st.tuples(st.binary(max_size=60), st.binary(max_size=60)), max_size=20), st.integers(0, 3))
def test_no_bytes_raise_anything_else(messages: list[tuple[bytes, bytes]], planes: int) -> None:
    listener = Listener(planes=planes + 1)
    listener.send(message(1))
    for parts in messages:
        try:
            listener.send(list(parts))
        except WireError:
            continue
    listener.send(message(2))
    assert listener.receiver.status(listener.now_s).unexplained == 0


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([(1, 2, 2), (2, 2, 2)]), st.floats()), max_size=30))
def test_every_frame_is_delivered_or_counted_whatever_the_numbers(frames: list[Any]) -> None:
    listener = Listener()
    for number, shape, time_s in frames:
        listener.send(message(number, shape, time_s))
    listener.silence(10.0)
    status = listener.receiver.status(listener.now_s)
    assert status.unexplained == 0
    assert status.arrived == len(frames)
