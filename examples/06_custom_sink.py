"""A session started from Python, with a sink of one's own beside the recording.

The sink watches how bright the denoised movie is. Any object with these five methods is a sink; each runs in a thread
of its own, so that a slow one holds up nothing. The source here is a rig simulated in this script; in a lab it is the
address of the microscope's stream.
"""

import threading

import numpy as np

import deepbid_rt as rt


class BrightnessSink:
    """Keeps the mean of every denoised frame."""

    def start(self, info: rt.StreamInfo) -> None:
        self.means: dict[int, float] = {}
        print(f"series of {info.shape} at {info.rate_hz:g} Hz")

    def put(self, frame: rt.Frame) -> None:
        self.means[frame.index] = float(frame.pixels.mean())

    def skip(self, gap: rt.Gap) -> None:
        print(f"{gap.count} frames lost from {gap.first} on ({gap.cause})")

    def end(self, end: rt.StreamEnd) -> None:
        print(f"series over: {end.reason}")

    def close(self) -> None:
        pass


def rig(stream: rt.FrameSender) -> None:
    """Send 60 frames, the 40th of them twice as bright."""
    rng = np.random.default_rng(0)
    stream.wait_for_subscriber(30.0)
    with stream:
        for number in range(60):
            stream.send(rng.poisson(40 if number == 40 else 20, (64, 64)).astype("int16"))


stream = rt.publish("tcp://127.0.0.1:0", shape=(64, 64), dtype="int16", rate_hz=30.0)
threading.Thread(target=rig, args=(stream,)).start()
sink = BrightnessSink()
summary = rt.serve(stream.endpoint, engine="average", sinks={"brightness": sink}, series=1)

print(f"{summary['frames_in']} frames in, {summary['frames_out']} out, lost {summary['lost']}")
print(f"brightest frame {max(sink.means, key=lambda index: sink.means[index])}")
