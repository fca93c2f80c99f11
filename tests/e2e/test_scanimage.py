"""ScanImage's own publisher, played by a stand-in, with a session that denoises and records its stream."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zmq

from tests.e2e.commands import started

FRAMES, SHAPE = 60, (2, 32, 48)


def test_a_session_on_scanimages_own_publisher(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    movie = rng.poisson(20, (FRAMES, *SHAPE)).astype("<i2")
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        publisher = stack.enter_context(context.socket(zmq.XPUB))
        publisher.setsockopt(zmq.LINGER, 0)
        publisher.setsockopt(zmq.SNDHWM, 0)
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        options = ("--record", tmp_path, "--record-raw", "--max-latency", "none", "--frames", str(FRAMES), "--json")
        served = stack.enter_context(
            started("serve", "--source", f"scanimage+tcp://127.0.0.1:{port}", "--engine", "average", *options)
        )
        assert publisher.poll(60_000)  # the session has subscribed
        for number, frame in enumerate(movie, start=1):
            channels, lines, pixels = SHAPE
            header = struct.pack("<5d", pixels, lines, channels, number / 15.0, number)
            publisher.send_multipart([header, frame.tobytes()])
        finished = served.finish()
    assert finished.code == 0, finished.stderr
    assert finished.result["frames_in"] == finished.result["frames_out"] == FRAMES
    (raw,) = tmp_path.glob("*_raw.tif")
    np.testing.assert_array_equal(tifffile.imread(raw).reshape(movie.shape), movie)
    with tifffile.TiffFile(raw) as file:
        first, second = (file.pages[n].tags["ImageDescription"].value for n in (0, 2))
    assert "frameNumbers = 1\n" in first
    assert "rate_hz = 15" in first
    assert "frameNumbers = 2\n" in second


@pytest.mark.parametrize("address", ["scanimage+tcp://127.0.0.1:65179?plains=3", "scanimage+tcp://192.0.2.1:65179"])
def test_addresses_that_cannot_be_used(address: str) -> None:
    with started("serve", "--source", address, "--engine", "echo") as served:
        finished = served.finish()
    assert finished.code == 2
    assert "expected" in finished.stderr
