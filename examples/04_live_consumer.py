"""A live consumer: the mean of one region in every denoised frame of a running session."""

import argparse

import deepbid_rt as rt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--endpoint", default="tcp://127.0.0.1:5591", help="where the session publishes")
options = parser.parse_args()

region = slice(40, 60), slice(70, 90)  # lines, pixels
with rt.subscribe(options.endpoint, series=1, timeout_s=60.0) as frames:
    print(f"waiting for frames from {options.endpoint}", flush=True)
    for frame in frames:
        trace = frame.pixels[0][region].mean()
        print(f"frame {frame.index:6}  region {trace:8.2f} counts", flush=True)
print(f"series over, {frames.lost} frames lost")
