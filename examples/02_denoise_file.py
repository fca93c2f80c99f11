"""A recording opened lazily, denoised frame by frame and written as it goes: memory does not grow with its length."""

import argparse

import numpy as np
import tifffile

import deepbid_rt as rt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("recording", nargs="?", help="TIFF file; a simulated one when left out")
parser.add_argument("out", nargs="?", default="denoised.tif")
parser.add_argument("--engine", default="default")
options = parser.parse_args()

if options.recording is None:
    options.recording = "noisy.tif"
    tifffile.imwrite(options.recording, np.random.default_rng(0).poisson(20, (40, 64, 64)).astype("int16"))


def write(file: tifffile.TiffWriter, frame: rt.Frame) -> None:
    """Append one page for each channel."""
    for page in frame.pixels:
        file.write(page, contiguous=True, photometric="minisblack")


with (
    rt.open(options.recording, rate_hz=30.0) as movie,
    rt.Denoiser.for_array(options.engine, shape=movie.shape[1:], dtype=movie.dtype, rate_hz=movie.rate_hz) as denoiser,
    tifffile.TiffWriter(options.out, bigtiff=True) as file,
):
    print(movie)
    for pixels in movie:
        for frame in denoiser.push(pixels):
            write(file, frame)
    for frame in denoiser.flush():
        write(file, frame)
print(f"denoised with {denoiser.runtime}: {options.out}")
