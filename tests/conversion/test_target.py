"""Names, and that nothing appears under its name before it is whole."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from deepbid_rt.conversion.target import Target
from deepbid_rt.errors import FileError, OptionError, StageError


@pytest.mark.parametrize(
    ("name", "given", "format_"),
    [
        ("a.ome.tif", None, "ome-tiff"),
        ("A.OME.TIFF", None, "ome-tiff"),
        ("a.ome.btf", "ome-tiff", "ome-tiff"),
        ("a.tif", "ome-tiff", "ome-tiff"),
        ("a.tif", "imagej", "imagej"),
        ("a.tiff", "imagej", "imagej"),
        ("a.zarr", None, "ome-zarr"),
        ("a.ome.zarr", None, "ome-zarr"),
        ("a.nwb", "nwb", "nwb"),
    ],
)
def test_the_name_tells_the_format(tmp_path: Path, name: str, given: Any, format_: str) -> None:
    assert Target(tmp_path / name, given).format == format_


@pytest.mark.parametrize(
    ("name", "given", "came"),
    [
        ("a.tif", None, "a.tif, whose end tells no format"),
        ("a", None, "a, whose end tells no format"),
        ("a.h5", None, "a.h5, whose end tells no format"),
        ("a.tif", "nwb", "the format nwb for a.tif"),
        ("a.nwb", "ome-zarr", "the format ome-zarr for a.nwb"),
        ("a.ome.tif", "imagej", "the format imagej for a.ome.tif"),
        ("a.nwb", "tiff", "the format 'tiff'"),
    ],
)
def test_a_name_that_tells_no_format_or_another_one(tmp_path: Path, name: str, given: Any, came: str) -> None:
    with pytest.raises(OptionError) as info:
        Target(tmp_path / name, given)
    assert info.value.came == came


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "a.nwb").write_text("precious")
    (tmp_path / "a.zarr").mkdir()
    for name in ("a.nwb", "a.zarr"):
        with pytest.raises(FileError, match="exists already"):
            Target(tmp_path / name)
    with pytest.raises(FileError, match="a folder that is no Zarr folder, to be overwritten"):
        Target(tmp_path / "a.zarr", overwrite=True)
    (tmp_path / "a.zarr").rmdir()
    (tmp_path / "a.zarr").write_text("a file")
    with pytest.raises(FileError, match="a file, to be overwritten by a folder"):
        Target(tmp_path / "a.zarr", overwrite=True)
    (tmp_path / "b.nwb").mkdir()
    with pytest.raises(FileError, match="a folder that is no Zarr folder"):
        Target(tmp_path / "b.nwb", overwrite=True)
    with pytest.raises(FileError, match=r"no folder .*missing"):
        Target(tmp_path / "missing" / "a.nwb")
    assert (tmp_path / "a.nwb").read_text() == "precious"


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    target = Target(tmp_path / "a.nwb")
    with target.writing() as part:
        assert part.name.endswith(".nwb")
        assert part.name.startswith(".")
        part.write_text("whole")
        assert not target.path.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.nwb"]
    assert target.path.read_text() == "whole"


def write_half(target: Target, raised: BaseException) -> None:
    with target.writing() as part:
        if target.format == "ome-zarr":
            (part / "c").mkdir(parents=True)
            (part / "c" / "0").write_text("half")
        else:
            part.write_text("half")
        raise raised


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("name", ["a.nwb", "a.zarr"])
def test_an_exception_leaves_nothing_and_the_old_file(tmp_path: Path, name: str, raised: type[BaseException]) -> None:
    old = tmp_path / name
    if name.endswith("zarr"):
        old.mkdir()
        (old / "zarr.json").write_text("old")
    else:
        old.write_text("old")
    with pytest.raises(raised):
        write_half(Target(old, overwrite=True), raised())
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert ((old / "zarr.json") if old.is_dir() else old).read_text() == "old"


def test_overwriting(tmp_path: Path) -> None:
    (tmp_path / "a.nwb").write_text("old")
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / ".zgroup").write_text("old")
    with Target(tmp_path / "a.nwb", overwrite=True).writing() as part:
        part.write_text("new")
    with Target(tmp_path / "a.zarr", overwrite=True).writing() as part:
        part.mkdir()
        (part / "zarr.json").write_text("new")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.nwb", "a.zarr", "zarr.json"]
    assert (tmp_path / "a.nwb").read_text() == "new"


def test_rest_of_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    target = Target(tmp_path / "a.zarr")
    with target.writing() as part:
        pass_on = part
        part.mkdir()
    shutil.move(target.path, pass_on)  # as if the process had been killed
    (pass_on / "half").touch()
    with target.writing() as part:
        assert not part.exists()
        part.mkdir()
    assert list(target.path.iterdir()) == []


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(StageError, match=r"a.nwb could not be written \(No space left on device\)"):
        write_half(Target(tmp_path / "a.nwb"), full)
    assert list(tmp_path.iterdir()) == []


def test_room_is_looked_at_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(tmp_path / "a.tif", "imagej")
    target.check_room(1)
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 2 * 10**9))
    with pytest.raises(FileError, match=r"^2.0 GB free in .*; expected room for 3.0 GB"):
        target.check_room(3 * 10**9)

    def fails(_: Path) -> None:
        raise OSError("no such disk")

    monkeypatch.setattr("shutil.disk_usage", fails)
    target.check_room(3 * 10**9)


def test_the_recording_itself_is_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "session.zarr"
    folder.mkdir()
    (folder / "zarr.json").touch()
    (tmp_path / "link.zarr").symlink_to(folder)
    (tmp_path / "in.tif").touch()
    refused = [
        (Target(tmp_path / "in.tif", "imagej", overwrite=True), tmp_path / "in.tif"),
        (Target(folder, overwrite=True), folder),
        (Target(tmp_path / "link.zarr", overwrite=True), folder),
        (Target(folder, overwrite=True), folder / "0"),
        (Target(folder / "a.nwb"), folder),
    ]
    for target, source in refused:
        with pytest.raises(FileError, match=r"for the recording .* itself"):
            target.refuse_source(source)
    Target(tmp_path / "out.nwb").refuse_source(folder)
    Target(tmp_path / "out.nwb").refuse_source(tmp_path)  # the folder of a recording may hold its conversions
