from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError
from deepbid_rt.viewer.snapshot import state_of, write_snapshot, write_traces
from deepbid_rt.viewer.viewer_model import ViewerModel
from tests.viewer.stand_ins import ManualFeed, a_pair, an_info


def a_picture(path: Path) -> bool:
    path.write_bytes(b"png")
    return True


def test_a_snapshot_has_the_counts_and_how_they_were_shown(tmp_path: Path) -> None:
    feed = ManualFeed(an_info())
    feed.push(a_pair(41, np.full((1, 4, 6), 2.5, np.float32), -7))
    model = ViewerModel(feed)
    model.poll()
    model.add_region("rectangle", ((1, 1), (3, 3)))
    pair = model.playback.shown
    frames = {"raw": pair.raw, "denoised": pair.denoised}
    files = write_snapshot(tmp_path / "new", 41, frames, state_of(model), a_picture)
    assert sorted(path.suffix for path in files) == [".json", ".png", ".tif", ".tif"]
    by_name = {path.name.rpartition("_")[2]: path for path in files}
    np.testing.assert_array_equal(tifffile.imread(by_name["denoised.tif"]), np.full((4, 6), -7, np.int16))
    np.testing.assert_array_equal(tifffile.imread(by_name["raw.tif"]), np.full((4, 6), 2.5))
    (text,) = (path for path in files if path.suffix == ".json")
    state = json.loads(text.read_text())
    assert state["facts"]["frame"] == 41
    assert state["series"] == feed.info.series
    assert state["limits"]["raw"] == state["limits"]["denoised"]
    assert state["regions"][0]["shape"] == "rectangle"


def test_existing_files_are_not_overwritten(tmp_path: Path) -> None:
    frames = {"raw": np.zeros((1, 2, 2), np.int16)}
    names = {write_snapshot(tmp_path, 1, frames, {}, a_picture)[0] for _ in range(3)}
    assert len(names) == 3
    assert len({write_traces(tmp_path, lambda _: 0)[0] for _ in range(3)}) == 3


def test_a_folder_that_cannot_be_written_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="--out"):
        write_snapshot(tmp_path / "file", 1, {}, {}, a_picture)
    with pytest.raises(FileError, match="--out"):
        write_traces(tmp_path / "file", lambda _: 0)
    with pytest.raises(FileError, match="was not saved"):
        write_snapshot(tmp_path, 1, {}, {}, lambda _: False)


def test_traces_are_written_to_csv(tmp_path: Path) -> None:
    feed = ManualFeed(an_info())
    model = ViewerModel(feed)
    model.add_region("rectangle", ((0, 0), (6, 4)))
    feed.push(*(a_pair(n, n, n) for n in range(4)))
    path, lines = write_traces(tmp_path, feed.write_csv)
    assert lines == 4
    assert [row["frame"] for row in csv.DictReader(path.read_text().splitlines())] == list("0123")
