"""A minimal connector: publishes a NumPy movie, or noise, as a DBRT/1 stream.

Copy it next to your acquisition code and replace `frames` by your own. It shows all that a connector must do: bind,
begin a series, number the frames, send a beat every second, and end the series.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from deepbid_rt.frame import Frame, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.wire.codec import Encoder


def frames(movie: str | None, count: int) -> Iterator[NDArray[Any]]:
    """Yield frames (C, Y, X) of an ``.npy`` movie (T, Y, X) or (T, C, Y, X), or `count` frames of int16 noise."""
    if movie is None:
        rng = np.random.default_rng(0)
        yield from (rng.poisson(20.0, (1, 256, 256)).astype("<i2") for _ in range(count))
        return
    for frame in np.load(movie, mmap_mode="r"):
        yield frame if frame.ndim == 3 else frame[np.newaxis]


def main() -> None:
    """Publish all frames."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--movie", help="an .npy file; if omitted, noise")
    parser.add_argument("--count", type=int, default=300, help="frames of noise")
    parser.add_argument("--rate", type=float, default=30.0, help="frames per second")
    parser.add_argument(
        "--bind",
        default="tcp://127.0.0.1:5590",
        help="address to bind; everyone on the network can read addresses other than 127.0.0.1",
    )
    parser.add_argument("--layout", choices=("collinear", "ordinary"), default="ordinary")
    parser.add_argument("--wait", type=float, default=5.0, help="longest wait for a first subscriber, seconds")
    options = parser.parse_args()

    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
    socket.setsockopt(zmq.SNDHWM, 64)
    socket.bind(options.bind)
    print(f"publishing on {socket.getsockopt_string(zmq.LAST_ENDPOINT)}", flush=True)
    socket.poll(int(options.wait * 1000))  # XPUB receives the subscriptions

    encoder: Encoder | None = None
    begin_s = beat_s = time.monotonic()
    for index, pixels in enumerate(frames(options.movie, options.count)):
        if encoder is None:
            shape = (pixels.shape[0], pixels.shape[1], pixels.shape[2])
            info = StreamInfo(shape, pixels.dtype, options.rate, ScanGeometry(options.layout), source="numpy")
            encoder = Encoder(info)
            socket.send_multipart(encoder.start())
        # Each deadline is computed from the beginning, so that the rate does not drift.
        time.sleep(max(0.0, begin_s + index / options.rate - time.monotonic()))
        socket.send_multipart(encoder.frame(Frame(index, pixels)))
        if time.monotonic() - beat_s >= 1.0:
            beat_s = time.monotonic()
            socket.send_multipart(encoder.beat())
    if encoder is not None:
        socket.send_multipart(encoder.end(StreamEnd("done")))
    socket.close(1000)
    zmq.Context.instance().term()


if __name__ == "__main__":
    main()
