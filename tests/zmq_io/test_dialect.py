"""Addresses of ScanImage's publisher, and its frames through a real socket."""

from __future__ import annotations

import re
import struct
from contextlib import ExitStack

import numpy as np
import pytest
import zmq

from deepbid_rt.errors import EndpointError
from deepbid_rt.frame import Frame, StreamEnd, StreamInfo
from deepbid_rt.zmq_io import ZmqSource
from deepbid_rt.zmq_io.dialect import dialect_of, plain_address

WAIT_S = 20.0


def test_an_address_of_this_protocol_has_no_dialect() -> None:
    assert dialect_of("tcp://127.0.0.1:5590", None) is None
    assert plain_address("tcp://127.0.0.1:5590") == "tcp://127.0.0.1:5590"


def test_planes_are_read_from_the_address() -> None:
    address = "scanimage+tcp://127.0.0.1:65179?planes=3&flyback=1"
    assert plain_address(address) == "tcp://127.0.0.1:65179"
    dialect = dialect_of(address, "collinear")
    assert (dialect._planes, dialect._flyback, dialect._layout) == (3, 1, "collinear")  # type: ignore[union-attr]


@pytest.mark.parametrize("query", ["?", "?planes", "?planes=0", "?planes=-1", "?planes=x", "?plane=2", "?planes=9999"])
def test_what_is_not_understood_is_refused(query: str) -> None:
    with pytest.raises(EndpointError, match=re.escape("expected planes=P and flyback=F")):
        ZmqSource(f"scanimage+tcp://127.0.0.1:65179{query}")


def test_a_malformed_address_and_another_computer_are_refused() -> None:
    with pytest.raises(EndpointError, match=r"expected tcp://HOST:PORT"):
        ZmqSource("scanimage+udp://127.0.0.1:65179")
    with pytest.raises(EndpointError, match="which is another computer"):
        ZmqSource("scanimage+tcp://192.0.2.1:65179")
    assert ZmqSource("scanimage+tcp://192.0.2.1:65179", insecure_lan=True).unprotected is not None
    with pytest.raises(EndpointError, match="which knows no keys"):
        ZmqSource("scanimage+tcp://127.0.0.1:65179", keys="keys", server_key="scope.pub")


def test_frames_of_scanimage_arrive_and_what_is_not_one_is_counted() -> None:
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        publisher = stack.enter_context(context.socket(zmq.XPUB))
        publisher.setsockopt(zmq.LINGER, 0)
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        source = ZmqSource(f"scanimage+tcp://127.0.0.1:{port}")
        stack.callback(source.close)
        source.open()
        assert publisher.poll(int(WAIT_S * 1000))  # its subscription
        publisher.send_multipart([b"den/scope1/beat/", b"something else", b""])
        for number in range(1, 31):
            pixels = np.full((2, 16, 24), number, "<i2")
            publisher.send_multipart([struct.pack("<5d", 24, 16, 2, number / 30, number), pixels.tobytes()])
        info = source.read(WAIT_S)
        assert isinstance(info, StreamInfo)
        assert (info.shape, round(info.rate_hz, 6)) == ((2, 16, 24), 30.0)
        for number in range(1, 31):
            frame = source.read(WAIT_S)
            assert isinstance(frame, Frame)
            assert frame.index == number
            assert (frame.pixels == number).all()
        status = source.status()
        assert status.bad == {"scanimage": 1}
        assert status.received == 30
        source.close()
        assert source.read(0.0) == StreamEnd("timeout")
