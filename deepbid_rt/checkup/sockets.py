"""Sockets: a message goes round over loopback, and ports are free."""

from __future__ import annotations

import time

import numpy as np

from deepbid_rt.checkup.finding import Finding
from deepbid_rt.errors import EndpointError
from deepbid_rt.frame import Frame, StreamInfo
from deepbid_rt.zmq_io import ZmqSink, ZmqSource

WAIT_S = 5.0
"""Longest wait for a frame to come back, seconds."""
SLOW_MS = 20.0
"""A round trip above this is a warning, milliseconds."""


def check_loopback(wait_s: float = WAIT_S) -> Finding:
    """Send a frame through a publisher and a source on this computer."""
    info = StreamInfo((1, 512, 512), np.dtype("<i2"), 30.0)
    try:
        sink = ZmqSink("tcp://127.0.0.1:*", role="raw")
    except EndpointError as error:
        return Finding("loopback", "problem", error.came, "allow programs to open ports on 127.0.0.1")
    source = ZmqSource(sink.endpoint)
    try:
        source.open()
        if not sink.wait_for_subscriber(wait_s):
            return _blocked(f"no connection in {wait_s:g} s")
        sink.start(info)
        begun = time.perf_counter()
        sink.put(Frame(0, np.zeros(info.shape, info.dtype)))
        deadline = begun + wait_s
        while (left_s := deadline - time.perf_counter()) > 0:
            if isinstance(source.read(left_s), Frame):
                ms = 1000 * (time.perf_counter() - begun)
                if ms > SLOW_MS:
                    todo = "end other programs that keep the processor busy, and look for a security program"
                    return Finding("loopback", "warning", f"a frame of 512x512 takes {ms:.0f} ms", todo)
                return Finding("loopback", "ok", f"a frame of 512x512 arrives after {ms:.1f} ms")
        return _blocked(f"no frame in {wait_s:g} s")
    finally:
        source.close()
        sink.close()


def check_port(port: int) -> Finding:
    """Tell whether a port of this computer is free."""
    endpoint = f"tcp://127.0.0.1:{port}"
    try:
        ZmqSink(endpoint).close()
    except EndpointError as error:
        todo = f"end the program that holds it, or publish on another one than {port}"
        return Finding(f"port {port}", "warning", error.came, todo)
    return Finding(f"port {port}", "ok", "free")


def _blocked(text: str) -> Finding:
    return Finding("loopback", "problem", text, "allow connections to 127.0.0.1 in the firewall of this computer")
