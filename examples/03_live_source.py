"""A live source: any rig whose frames reach Python. Start ``deepbid-rt serve --source ENDPOINT`` beside it."""

import argparse
import time

import numpy as np

import deepbid_rt as rt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--endpoint", default="tcp://127.0.0.1:5590")
parser.add_argument("--frames", type=int, default=300)
parser.add_argument("--rate", type=float, default=30.0, help="frames per second")
options = parser.parse_args()

rng = np.random.default_rng(0)
with rt.publish(options.endpoint, shape=(128, 128), dtype="int16", rate_hz=options.rate) as stream:
    print(f"publishing on {stream.endpoint}", flush=True)
    stream.wait_for_subscriber(timeout_s=30.0)
    begin = time.monotonic()
    for number in range(options.frames):
        frame = rng.poisson(20, (128, 128)).astype("int16")  # the camera's or digitizer's frame
        stream.send(frame)
        time.sleep(max(0.0, begin + (number + 1) / options.rate - time.monotonic()))
print(f"sent {options.frames} frames")
