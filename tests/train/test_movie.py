"""Movies that training reads: planes, whether they must be checked, and files far larger than memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.train.movie import ArrayMovie, FileMovie, PlaneMovie
from tests import ROOT
from tests.training import TINY, noisy_waves


def test_a_plane_is_every_nth_frame() -> None:
    pixels = np.arange(11 * 2 * 4 * 5).reshape(11, 2, 4, 5)
    for plane in range(3):
        movie = PlaneMovie(ArrayMovie(pixels), plane, 3)
        assert movie.shape == (3, 2, 4, 5)
        assert movie.dtype == pixels.dtype
        assert np.array_equal(movie.read(0, 3, 1, 1, 3, 2, 5), pixels[plane:9:3, 1, 1:3, 2:5])
        assert np.array_equal(movie.read(1, 2, 0, 0, 4, 0, 5), pixels[plane + 3 : plane + 4, 0])


def test_only_uncompressed_whole_numbers_are_always_valid(tmp_path: Path) -> None:
    pixels = noisy_waves()
    assert ArrayMovie(pixels).always_valid
    assert PlaneMovie(ArrayMovie(pixels), 0, 2).always_valid
    assert not ArrayMovie(pixels.astype(np.float32)).always_valid
    for name, data, compression, valid in (
        ("plain", pixels, None, True),
        ("zlib", pixels, "zlib", False),
        ("float", pixels.astype(np.float32), None, False),
    ):
        tifffile.imwrite(tmp_path / f"{name}.tif", data, compression=compression)
        with TiffMovie(tmp_path / f"{name}.tif") as movie:
            assert FileMovie(movie).always_valid is valid


TRAIN = """
import json, resource, sys
from contextlib import ExitStack, closing
from pathlib import Path
import torch
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.train.movie import FileMovie
from deepbid_rt.train.trainer import train
from tests.training import ORDINARY, TINY

torch.set_num_threads(1)
with ExitStack() as stack:
    movies = [FileMovie(stack.enter_context(closing(TiffMovie(path)))) for path in sys.argv[2:]]
    size = sum(int(torch.tensor(m.shape).prod()) * m.dtype.itemsize for m in movies)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    summary = train(movies, [ORDINARY] * len(movies), TINY, Path(sys.argv[1]))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"bytes": size, "before_mb": before / 1024, "after_mb": after / 1024, "step": summary.step}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is measured in Linux's units")
def test_training_on_a_movie_of_100_gb_needs_less_than_2_gb_of_memory(tmp_path: Path) -> None:
    big = tmp_path / "big.tif"
    pixels = tifffile.memmap(big, shape=(50_000, 1024, 1024), dtype=np.int16, bigtiff=True)  # a sparse file
    noise = np.random.default_rng(0).normal(1000, 50, (16, 1024, 1024)).astype(np.int16)
    pixels[:16] = noise
    pixels.flush()
    del pixels
    if big.stat().st_blocks * 512 > 1 << 30:
        pytest.skip("this file system has no sparse files")
    small = []
    for n in range(12):  # in addition, many files
        small.append(tmp_path / f"{n}.tif")
        tifffile.imwrite(small[-1], noise[:, :32, :32].repeat(2, axis=0))
    command = [sys.executable, "-c", TRAIN, tmp_path / "run", big, *small]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["bytes"] > 100e9
    assert result["step"] == TINY.steps
    assert result["after_mb"] < 2000
    assert result["after_mb"] - result["before_mb"] < 1000
