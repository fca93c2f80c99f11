"""Frames sent and received from Python, over loopback."""

import re
import threading

import numpy as np
import pytest

import deepbid_rt as rt
from deepbid_rt.errors import EndpointError, StreamError
from deepbid_rt.zmq_io.key_folder import KeyFolder


def frame_of(number):
    return np.full((4, 5), number, "<i2")


@pytest.fixture
def sender():
    with rt.publish("tcp://127.0.0.1:0", shape=(4, 5), rate_hz=100.0) as stream:
        yield stream


def test_every_frame_sent_arrives_with_its_number(sender):
    with rt.subscribe(sender.endpoint, series=1, timeout_s=20.0) as frames:
        assert sender.wait_for_subscriber(20.0)
        assert [sender.send(frame_of(n)) for n in range(3)] == [0, 1, 2]
        sender.skip(2)
        sender.send(frame_of(5)[np.newaxis], flags=rt.FrameFlag.SATURATED)
        sender.close()
        got = list(frames)
    assert [frame.index for frame in got] == [0, 1, 2, 5]
    assert [int(frame.pixels[0, 0, 0]) for frame in got] == [0, 1, 2, 5]
    assert rt.FrameFlag.SATURATED in got[-1].flags
    assert got[-1].t_ns > 0  # when it was sent
    assert got[0].pixels.shape == (1, 4, 5)
    assert (frames.lost, frames.info.rate_hz) == (2, 100.0)


def test_frames_stay_as_they_were_when_the_next_one_comes(sender):
    with rt.subscribe(sender.endpoint, series=1, timeout_s=20.0) as frames:
        sender.wait_for_subscriber(20.0)
        for n in range(40):
            sender.send(frame_of(n))
        sender.close()
        kept = list(frames)
    assert [int(frame.pixels[0, 3, 4]) for frame in kept] == list(range(40))


def test_a_subscriber_ends_when_nothing_comes():
    with rt.subscribe("tcp://127.0.0.1:9", timeout_s=0.2) as frames:
        assert list(frames) == []
        assert frames.info is None


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (
            np.zeros((5, 4), "<i2"),
            "an array of shape (5, 4) and type int16 in place of a frame; expected shape (4, 5) and type int16; pass",
        ),
        (np.zeros((4, 5), "<u2"), "an array of shape (4, 5) and type uint16 in place of a frame"),
        (np.zeros((2, 4, 5), "<i2"), "an array of shape (2, 4, 5)"),
    ],
)
def test_a_frame_that_was_not_announced_is_refused_and_takes_no_number(sender, pixels, message):
    with pytest.raises(StreamError, match=re.escape(message)):
        sender.send(pixels)
    assert sender.send(frame_of(0)) == 0


def test_a_series_that_is_over_takes_no_frame():
    sender = rt.publish("tcp://127.0.0.1:0", shape=(4, 5))
    sender.close()
    sender.close()
    with pytest.raises(StreamError, match="a frame after close"):
        sender.send(frame_of(0))


def test_a_sender_that_fails_says_so_to_subscribers():
    with rt.publish("tcp://127.0.0.1:0", shape=(4, 5)) as sender:
        frames = rt.subscribe(sender.endpoint, series=1, timeout_s=20.0)
        sender.wait_for_subscriber(20.0)
        sender.send(frame_of(0))
        with pytest.raises(ZeroDivisionError), sender:
            _ = 1 / 0
        assert [frame.index for frame in frames] == [0]
        frames.close()


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        ({"endpoint": "here"}, EndpointError, "here"),
        ({"endpoint": None}, EndpointError, "endpoint=None; expected tcp://HOST:PORT"),
        ({"endpoint": "tcp://0.0.0.0:0"}, EndpointError, "which other machines can reach"),
        ({"shape": (4,)}, StreamError, "frames of shape (4,)"),
        ({"dtype": "int64"}, StreamError, "pixels of type int64"),
        ({"rate_hz": -1}, StreamError, "rate_hz=-1; expected a number above 0"),
        ({"name": "my rig!"}, StreamError, "name='my rig!'; expected 1 to 64 letters, digits, _ and -"),
        ({"planes": 0}, StreamError, "planes=0; expected a whole number, at least 1"),
    ],
)
def test_what_cannot_be_published_is_refused(wrong, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        rt.publish(**{"endpoint": "tcp://127.0.0.1:0", "shape": (4, 5), **wrong})


@pytest.mark.parametrize("count", [0, -1, 1.5, "a", True])
def test_frames_that_were_lost_are_a_whole_number(sender, count):
    with pytest.raises(StreamError, match="expected a whole number, at least 1"):
        sender.skip(count)


def test_a_subscription_that_ended_leaves_no_thread_and_ends_again():
    frames = rt.subscribe("tcp://127.0.0.1:9", timeout_s=0.1)  # the fixture of all tests finds what is left behind
    assert list(frames) == list(frames) == []


@pytest.mark.parametrize("wrong", [{"series": 0}, {"series": 1.5}, {"timeout_s": "1"}, {"timeout_s": -1}])
def test_impossible_limits_of_a_subscription_are_refused(wrong):
    with pytest.raises(StreamError, match="expected a"):
        rt.subscribe("tcp://127.0.0.1:9", **wrong)


def test_an_endpoint_is_a_text():
    with pytest.raises(EndpointError, match=re.escape("endpoint=5701; expected tcp://HOST:PORT; write it as")):
        rt.subscribe(5701)


def test_a_lossless_stream_waits_for_its_reader_and_loses_nothing():
    with rt.publish("tcp://127.0.0.1:0", shape=(4, 5), rate_hz=100.0, lossless=True) as sender:
        got = []

        def read(endpoint):
            with rt.subscribe(endpoint, series=1, timeout_s=20.0, lossless=True) as frames:
                got.extend(int(frame.pixels[0, 0, 0]) for frame in frames)
                got.append(frames.lost)

        reader = threading.Thread(target=read, args=(sender.endpoint,))
        reader.start()
        for n in range(200):
            sender.send(frame_of(n))
        sender.close()
        reader.join(20.0)
    assert got == [*range(200), 0]


def test_keys_of_python_functions_are_those_of_the_commands(tmp_path):
    for name in ("scope", "pc"):
        KeyFolder(tmp_path / name).create(name)
    KeyFolder(tmp_path / "scope").allow(tmp_path / "pc" / "pc.pub")
    mine = {"keys": str(tmp_path / "pc"), "server_key": tmp_path / "scope" / "scope.pub"}
    with (
        rt.publish("tcp://127.0.0.1:0", shape=(4, 5), keys=tmp_path / "scope") as sender,
        rt.subscribe(sender.endpoint, series=1, timeout_s=20.0, **mine) as frames,
        rt.subscribe(sender.endpoint, timeout_s=0.3) as stranger,
    ):
        assert sender.wait_for_subscriber(20.0)
        sender.send(frame_of(7))
        sender.close()
        assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [7]
        assert list(stranger) == []


@pytest.mark.parametrize("wrong", [{"insecure_lan": "yes"}, {"lossless": 1}])
def test_switches_are_true_or_false(wrong):
    with pytest.raises(StreamError, match="expected True or False"):
        rt.publish("tcp://127.0.0.1:0", shape=(4, 5), **wrong)
    with pytest.raises(StreamError, match="expected True or False"):
        rt.subscribe("tcp://127.0.0.1:9", **wrong)
