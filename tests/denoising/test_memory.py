"""The memory budget: estimates against measured needs, and refusals before anything is allocated."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from deepbid_rt.card import MAX_CALIBRATION_FRAMES, MAX_WINDOW, ModelCard, Normalization
from deepbid_rt.denoising.memory import KEPT_FREE, check_memory, estimate_memory
from deepbid_rt.errors import StreamError
from deepbid_rt.frame import MAX_SIDE, ScanGeometry
from deepbid_rt.runtimes import load_engine
from tests import ROOT
from tests.fakes import STREAM_CARD, WINDOW_CARD, stream

MEASURE = """
import json, sys
import numpy as np, psutil
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.frame import Frame, ScanGeometry, StreamInfo
from deepbid_rt.runtimes import load_engine

def peak():
    [line] = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

name, side, planes, layout = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
engine = load_engine(name, **({} if name == "average" else {"threads": 1}))
pixels = np.random.default_rng(0).poisson(3, (1, side, side)).astype("<i2") * 50
info = StreamInfo((1, side, side), pixels.dtype, 30.0, ScanGeometry(layout), planes=planes)
before = psutil.Process().memory_info().rss
open("/proc/self/clear_refs", "w").write("5")  # forgets the peak
denoiser = Denoiser(engine, info)
for index in range(planes * (engine.card.window + engine.card.normalization.frames)):
    denoiser.push(Frame(index, np.roll(pixels, index), plane=index % planes))
print(json.dumps(peak() - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the largest memory of a process is measured on Linux")
@pytest.mark.parametrize(
    ("engine", "side", "planes", "layout"),
    [
        ("default", 512, 1, "ordinary"),
        ("default", 512, 1, "collinear"),
        ("default", 192, 8, "ordinary"),
        ("best", 256, 1, "ordinary"),
        ("average", 512, 1, "ordinary"),
        ("window", 256, 1, "ordinary"),
    ],
)
def test_an_estimate_is_above_what_is_needed_and_at_most_twice_as_much(
    engine: str, side: int, planes: int, layout: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, engine, str(side), str(planes), layout],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    needed = json.loads(done.stdout.splitlines()[-1])
    opened = load_engine(engine)
    info = stream((1, side, side), scan=ScanGeometry(layout), planes=planes)
    estimate = estimate_memory(info, opened.card)
    opened.close()
    assert needed <= estimate <= 2 * needed


@pytest.mark.parametrize(
    ("info", "card"),
    [
        (stream((8, MAX_SIDE, MAX_SIDE)), STREAM_CARD),
        (stream((1, MAX_SIDE, MAX_SIDE)), WINDOW_CARD),
        (stream((1, 512, 512), planes=4096), STREAM_CARD),
        (stream((1, 8, 8), planes=10**12), STREAM_CARD),
        (stream((1, 512, 512)), ModelCard(name="long", kind="window", window=MAX_WINDOW, hop=8, look_ahead=8, grid=8)),
        (
            stream((4, 1024, 1024)),
            ModelCard(
                name="patient",
                kind="stream",
                memories=(0.1,),
                normalization=Normalization(frames=MAX_CALIBRATION_FRAMES),
            ),
        ),
    ],
)
def test_a_series_that_asks_for_too_much_is_refused_in_one_sentence(info, card) -> None:
    with pytest.raises(StreamError) as refused:
        check_memory(info, card, free_bytes=16 * 10**9)
    message = str(refused.value)
    assert message.startswith(f"frames of (C, Y, X) = {info.shape}")
    assert f"engine {card.name!r} needs about " in message
    assert "GB of memory, with 16.0 GB free; expected a need of at most 15.7 GB; correct the size" in message
    assert message.count(".\n") == 0


def test_what_fits_is_accepted_to_the_byte() -> None:
    info = stream((1, 512, 512))
    needed = estimate_memory(info, STREAM_CARD)
    check_memory(info, STREAM_CARD, free_bytes=needed + KEPT_FREE)
    with pytest.raises(StreamError):
        check_memory(info, STREAM_CARD, free_bytes=needed + KEPT_FREE - 1)


def test_frames_in_queues_are_counted() -> None:
    info = stream((1, 512, 512))
    waiting = estimate_memory(info, STREAM_CARD, frames_waiting=256) - estimate_memory(info, STREAM_CARD)
    assert waiting == 256 * info.frame_bytes


def test_a_usual_series_fits_into_this_computer() -> None:
    check_memory(stream((1, 128, 128)), STREAM_CARD)


def test_more_of_anything_needs_more() -> None:
    usual = estimate_memory(stream((1, 256, 256)), STREAM_CARD)
    for larger in (
        stream((2, 256, 256)),
        stream((1, 512, 256)),
        stream((1, 256, 256), np.float32),
        stream((1, 256, 256), planes=2),
    ):
        assert estimate_memory(larger, STREAM_CARD) > usual
