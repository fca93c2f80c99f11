"""Beats without frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import zmq

from deepbid_rt.errors import EndpointError
from deepbid_rt.frame import Frame, StreamInfo
from deepbid_rt.wire.codec import Encoder
from deepbid_rt.zmq_io.beat_listener import LOST_S, BeatListener

GUARD_S = 30.0
"""Limit of every wait in these tests; a passing test does not reach it."""
INFO = StreamInfo((1, 4, 6), np.dtype("<i2"), 30.0, source="scope1")
STATUS = {"state": "running", "frames_in": 7}


@pytest.fixture
def publisher() -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind("tcp://127.0.0.1:*")
        yield socket


def address(publisher: zmq.Socket[bytes]) -> str:
    return publisher.getsockopt_string(zmq.LAST_ENDPOINT)


def change(publisher: zmq.Socket[bytes]) -> bytes:
    """Return the next change of the subscriptions."""
    assert publisher.poll(GUARD_S * 1000)
    return publisher.recv()


def test_after_the_first_message_only_beats_are_transferred(publisher: zmq.Socket[bytes]) -> None:
    encoder = Encoder(INFO, "den")
    with BeatListener(address(publisher)) as beats:
        assert change(publisher) == b"\x01den/"
        publisher.send_multipart(encoder.start())
        publisher.send_multipart(encoder.frame(Frame(0, np.zeros(INFO.shape, "<i2"))))
        publisher.send_multipart(encoder.beat(STATUS))
        beat = beats.read(GUARD_S)
        assert beat is not None
        assert (beat.status["frames_in"], beat.source) == (7, "scope1")
        assert [change(publisher), change(publisher)] == [b"\x01den/scope1/beat/", b"\x00den/"]
        assert not beats.silent
        assert beats.problem == ""


def test_a_sender_that_takes_the_place_is_found(publisher: zmq.Socket[bytes]) -> None:
    now_s = 0.0
    other = Encoder(StreamInfo((1, 4, 6), np.dtype("<i2"), 30.0, source="scope2"), "den")
    encoder = Encoder(INFO, "den")
    with BeatListener(address(publisher), clock=lambda: now_s) as beats:
        change(publisher)
        publisher.send_multipart(encoder.beat(STATUS))
        while beats.read(0.0) is None:
            pass
        assert [change(publisher), change(publisher)] == [b"\x01den/scope1/beat/", b"\x00den/"]
        now_s += LOST_S + 0.1
        assert beats.silent
        assert beats.read(0.0) is None
        assert [change(publisher), change(publisher)] == [b"\x01den/", b"\x00den/scope1/beat/"]
        publisher.send_multipart(other.beat(STATUS))
        while (beat := beats.read(0.0)) is None:
            pass
        assert beat.source == "scope2"


def test_what_is_no_message_is_passed_over(publisher: zmq.Socket[bytes]) -> None:
    with BeatListener(address(publisher)) as beats:
        change(publisher)
        publisher.send_multipart([b"den/x/beat/", b"\xc1", b""])
        publisher.send_multipart(Encoder(INFO, "den").beat(STATUS))
        beat = beats.read(GUARD_S)
        assert beat is not None
        assert beat.source == "scope1"


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(EndpointError, match="nonsense"):
        BeatListener("nonsense")
