"""What ``deepbid-rt convert`` refuses, and what it replaces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

from deepbid_rt.cli import app
from deepbid_rt.errors import RefusedError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    movie = np.arange(6 * 12 * 16, dtype=np.int16).reshape(6, 12, 16)
    tifffile.imwrite(tmp_path / "in.tif", movie, photometric="minisblack", metadata=None)
    (tmp_path / "there.ome.tif").write_text("precious")
    (tmp_path / "notes.txt").write_text("no movie")
    (tmp_path / "cut.tif").write_bytes((tmp_path / "in.tif").read_bytes()[:1000])
    return tmp_path


def convert(folder: Path, *arguments: str) -> Result:
    given = [str(folder / one) if "." in one and "=" not in one else one for one in arguments]
    return CliRunner().invoke(app, ["convert", *given])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.tif", "-o", "a.ome.tif"), "no file or folder"),
        (("notes.txt", "-o", "a.ome.tif"), "a file of settings or notes"),
        (("cut.tif", "-o", "a.ome.tif"), "is cut off after"),
        (("in.tif", "-o", "a.tif"), "a.tif, whose end tells no format"),
        (("in.tif", "-o", "a.h5"), "a.h5, whose end tells no format"),
        (("in.tif", "-o", "there.ome.tif"), "exists already; expected a new name"),
        (("in.tif", "-o", "missing/a.ome.tif"), "no folder"),
        (("in.tif", "-o", "in.tif", "--format", "imagej", "--overwrite"), "for the recording"),
        (("in.tif", "-o", "a.nwb", "--nwb", "indicator"), "--nwb indicator; expected each key once"),
        (("in.tif", "-o", "a.nwb", "--nwb", "sex=F", "--nwb", "sex=M"), "--nwb sex=M, which was given before"),
        (("in.tif", "-o", "a.nwb", "--nwb", "colour=green"), "the NWB fact 'colour'"),
        (("in.tif", "-o", "a.zarr", "--nwb", "sex=F"), "--nwb for a.zarr, which is no NWB file"),
        (("in.tif", "-o", "a.ome.tif", "--channels", "4"), "multiple of"),
    ],
)
def test_what_is_refused_writes_nothing(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    before = sorted(folder.iterdir())
    error = convert(folder, *arguments).exception
    assert isinstance(error, RefusedError), repr(error)
    assert said in str(error)
    assert sorted(folder.iterdir()) == before
    assert (folder / "there.ome.tif").read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "states no frame rate"),
        (("--rate", "30", "--nwb", "indicator=a,b"), "2 values of indicator for 1 channels"),
    ],
)
def test_what_an_nwb_file_lacks_is_named(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    pytest.importorskip("pynwb", reason="the nwb extra is not installed")
    before = sorted(folder.iterdir())
    error = convert(folder, "in.tif", "-o", "a.nwb", *arguments).exception
    assert isinstance(error, RefusedError), repr(error)
    assert said in str(error)
    assert sorted(folder.iterdir()) == before


def test_a_file_is_replaced_when_that_is_asked(folder: Path) -> None:
    done = convert(folder, "in.tif", "-o", "there.ome.tif", "--overwrite", "--planes", "3", "--rate", "30", "--json")
    assert done.exception is None
    assert '"shape": [2, 3, 1, 12, 16]' in done.stdout
    with tifffile.TiffFile(folder / "there.ome.tif") as tif:
        assert tif.series[0].shape == (2, 3, 12, 16)
        assert 'TimeIncrement="0.1"' in tif.ome_metadata


def test_a_recording_for_the_command_export_is_told_where_to_go(folder: Path) -> None:
    error = CliRunner().invoke(app, ["export", str(folder / "in.tif"), "-o", str(folder / "a.nwb")]).exception
    assert isinstance(error, RefusedError), repr(error)
    assert "write recordings in other formats with deepbid-rt convert" in str(error)
