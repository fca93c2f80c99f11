"""``deepbid-rt doctor`` as a process, on live streams of this computer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepbid_rt.frame import Frame, Gap, ScanGeometry, StreamEnd
from deepbid_rt.zmq_io import ZmqSink
from tests.doctor.scenes import info_of, movie
from tests.e2e.commands import Finished, run, started

RATE_HZ = 40.0


@contextmanager
def microscope(frames: np.ndarray, scan: ScanGeometry, *, lose: int = 0) -> Iterator[str]:
    """Publish frames (T, Y, X) again and again with a description that may be wrong; `lose` every so many of them."""
    stop = threading.Event()
    sink = ZmqSink("tcp://127.0.0.1:0", role="raw", beat_s=0.2)
    info = replace(info_of(frames, scan), rate_hz=RATE_HZ)

    def send() -> None:
        sink.start(info)
        number, begun = 0, time.monotonic()
        while not stop.wait(max(0.0, begun + number / RATE_HZ - time.monotonic())):
            if lose and number % lose == lose - 1:
                sink.skip(Gap(number, 1, "source"))
            else:
                pixels = frames[number % len(frames)][None]
                sink.put(Frame(number, pixels, time.time_ns()))
            number += 1
        sink.end(StreamEnd("done"))

    thread = threading.Thread(target=send)
    with closing(sink):
        thread.start()
        try:
            yield sink.endpoint
        finally:
            stop.set()
            thread.join()


def doctor(address: str, *more: str | Path) -> Finished:
    return run("doctor", "--source", address, "--seconds", "2", "--timeout", "30", "--json", *more)


def levels(finished: Finished) -> dict[str, str]:
    return {finding["question"]: finding["level"] for finding in finished.result["findings"]}


def test_a_clean_stream() -> None:
    with microscope(movie("collinear"), ScanGeometry("collinear")) as address:
        finished = doctor(address)
    found = levels(finished)
    for question in ("mirrored", "layout", "frames lost", "frames repeated", "clock", "rate"):
        assert found[question] == "ok", (question, finished.stderr)


@pytest.mark.parametrize(
    ("frames", "scan", "question", "said"),
    [
        (lambda: movie(mirrored=False), ScanGeometry(), "mirrored", "backward lines are stored in sampling order"),
        (lambda: movie("collinear", photons=30.0), ScanGeometry(), "layout", "collinear: lines 2k and 2k+1 show"),
        (lambda: movie(mirrored=False).transpose(0, 2, 1), ScanGeometry(), "axes", "lines lie along y"),
    ],
    ids=["mirrored wrong", "layout wrong", "transposed"],
)
def test_a_stream_with_a_fault(frames, scan: ScanGeometry, question: str, said: str, tmp_path: Path) -> None:
    with microscope(np.ascontiguousarray(frames()), scan) as address:
        finished = doctor(address, "--write", tmp_path / "rig.toml")
    assert finished.code == 1, finished.stderr
    assert levels(finished)[question] == "attention", finished.stderr
    assert f"ATTENTION  {question}: {said}" in finished.stderr
    assert f'source = "{address}"' in (tmp_path / "rig.toml").read_text()


def test_a_stream_that_lacks_frames() -> None:
    with microscope(movie(), ScanGeometry(), lose=10) as address:
        finished = doctor(address)
    assert finished.code == 1, finished.stderr
    found = {finding["question"]: finding for finding in finished.result["findings"]}["frames lost"]
    assert found["level"] == "attention"
    came, missing = found["figures"]["came"], found["figures"]["missing"]
    assert 0.05 < missing / (came + missing) < 0.15


def test_a_source_that_sends_nothing_ends_in_time_with_one_sentence() -> None:
    begun = time.monotonic()
    finished = run("doctor", "--source", "tcp://127.0.0.1:9", "--timeout", "1")
    assert finished.code == 2
    assert time.monotonic() - begun < 60
    last = finished.stderr.strip().splitlines()[-1]
    assert last.startswith("deepbid-rt: no frame from tcp://127.0.0.1:9 within 1 s")
    assert last.count("; ") == 2


def test_the_check_of_the_computer_has_a_name_of_its_own() -> None:
    refused = run("doctor", "--size", "512")
    assert refused.code == 2
    with started("checkup", "--help") as helped:
        assert "Check this computer before a session" in helped.finish().stdout
