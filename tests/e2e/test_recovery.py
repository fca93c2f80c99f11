"""A damaged recording on the command line: refused with advice, salvaged, recovered."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.e2e.commands import page_count, run, started


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A TIFF of 20 pages, cut in the middle of page 14."""
    path = tmp_path / "in.tif"
    movie = np.random.default_rng(0).integers(0, 99, (20, 32, 32), np.int16)
    with tifffile.TiffWriter(path) as tif:
        for frame in movie:
            tif.write(frame, contiguous=False, metadata=None, photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        end = tif.pages[14].dataoffsets[0] + 1000
    os.truncate(path, end)
    return path


def test_a_cut_file_is_refused_with_advice_that_works(tmp_path: Path, cut: Path) -> None:
    out = tmp_path / "out.tif"
    refused = run("denoise", cut, out, "--engine", "average")
    assert refused.code == 2
    assert f"{cut} is cut off after 14 complete pages" in refused.stderr
    assert "deepbid-rt recover" in refused.stderr
    assert "denoise --salvage" in refused.stderr
    salvaged = run("denoise", cut, out, "--engine", "average", "--salvage", "--json")
    assert salvaged.code == 0, salvaged.stderr
    assert (salvaged.result["frames_out"], salvaged.result["problem"]) == (14, "it is cut off")
    assert "its 14 whole frames are denoised" in salvaged.stderr
    assert page_count(out) == 14


def test_recover_writes_a_new_file_and_exits_with_1_until_every_file_is_whole(tmp_path: Path, cut: Path) -> None:
    before = cut.read_bytes()
    recovered = run("recover", tmp_path, "--json")
    assert recovered.code == 1
    (movie,) = recovered.result["movies"]
    assert (movie["frames"], movie["recovered"]) == (14, str(tmp_path / "in_recovered.tif"))
    assert recovered.result["whole"] is False
    assert cut.read_bytes() == before
    cut.unlink()
    (tmp_path / "in_recovered.tif").rename(cut)
    assert run("recover", tmp_path).code == 0


def test_a_session_goes_on_in_numbered_parts_while_the_microscope_still_sends(tmp_path: Path) -> None:
    sent, folder = tmp_path / "sent.tif", tmp_path / "session"
    tifffile.imwrite(sent, np.zeros((20, 16, 16), np.int16), photometric="minisblack")
    to = ("--record", folder, "--record-raw", "--name", "mouse7", "--sync", "0", "--engine", "echo", "--frames", "10")
    to += ("--max-latency", "none")
    with started("replay", sent, "--loop", "100000", "--rate", "100", "--bind", "tcp://127.0.0.1:*") as sender:
        endpoint = sender.line()
        for _ in range(2):
            served = run("serve", "--source", endpoint, *to)
            assert served.code == 0, served.stderr
    names = sorted(path.name for path in folder.iterdir())
    stem = names[0].removesuffix(".jsonl")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_mouse7_[0-9a-f]{32}", stem)
    assert [name.removeprefix(stem) for name in names] == [
        *(".jsonl", "_denoised.tif", "_denoised_part002.tif"),
        *("_part002.jsonl", "_raw.tif", "_raw_part002.tif"),
    ]
    checked = run("recover", folder, "--json")
    assert checked.code == 0, checked.stderr
    raw = [movie for movie in checked.result["movies"] if "_raw" in movie["path"]]
    (between,) = raw[1]["missing"]
    assert between["cause"] == "interruption"
    assert between["first"] == raw[0]["last"] + 1
    assert between["first"] + between["count"] == raw[1]["first"]
