"""Recordings of Scanbox: a stand-in writes ``.sbx`` and ``.mat`` as versions 2 and 3 do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.movies import scanbox
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.wanted import Wanted
from tests import DATA
from tests.movies.stamped_images import SHAPE, movie

F_RES_HZ = 7930.0
CALIBRATION = np.array([(1.9, 1.5), (0.9, 0.7)], [("x", "O"), ("y", "O")])


def info(version: int = 3, channels: int = 1, **given: Any) -> dict[str, Any]:
    """The structure that Scanbox writes, as far as it matters."""
    config = {"lines": 12, "frames": 0, "magnification": 2, "magnification_list": np.array([1.0, 2.4])}
    values: dict[str, Any] = {
        "scanbox_version": version,
        "sz": np.array([12, 10]),
        "resfreq": F_RES_HZ,
        "scanmode": 1,
        "recordsPerBuffer": 12,
        "volscan": 0,
        "otwave": np.empty((0, 0)),
        "otparam": np.array([np.nan] * 3),
        "config": config,
        "messages": np.array(["start", "stop"], object),
        "frame": np.arange(20),
    }
    if version == 3:
        values |= {"channels": -1, "chan": {"nchan": channels, "sample": np.array([1, 1, 0, 0])}}
        values |= {"dxcal": 1.25, "dycal": 0.75, "etl_table": np.empty((0, 0))}
    else:
        values |= {"channels": {2: 1, 1: 2}[channels], "calibration": CALIBRATION}
    config |= given.pop("config", {})
    return {key: value for key, value in (values | given).items() if value is not None}


def write(folder: Path, pixels: Any, values: dict[str, Any], name: str = "xx0_000_001") -> Path:
    """Write both files; pixels are (N, C, Y, X) counts."""
    folder.mkdir(exist_ok=True)
    savemat(folder / f"{name}.mat", {"info": values}, do_compression=True)
    stored = 65535 - np.asarray(pixels, "<u2").transpose(0, 2, 3, 1)  # channel, then pixel, then line
    path = folder / f"{name}.sbx"
    path.write_bytes(stored.astype("<u2").tobytes())
    return path


def opened(path: Path, **wanted: Any) -> MovieFile:
    assert scanbox.claims(path)
    return scanbox.open_movie(path, Wanted(**wanted))


def test_two_channels_of_version_3_are_turned_the_right_way_round(tmp_path: Path) -> None:
    path = write(tmp_path / "a", movie(5, 1, 2), info(channels=2))
    for given in (path, path.with_suffix(".mat"), path.with_suffix("")):
        with opened(given) as one:
            assert one.path == given
            assert one.shape == (5, 2, *SHAPE)
            assert one.dtype.str == "<u2"
            np.testing.assert_array_equal(one.read(0, 5), movie(5, 1, 2))
            facts = one.facts
            assert facts.planes == 1
            assert facts.rate_hz == pytest.approx(F_RES_HZ / 12)
            assert facts.bidirectional is False
            assert facts.mirrored is True
            assert facts.pixel_um == (0.75, 1.25)
            assert facts.channel_names == ("PMT0", "PMT1")
            assert facts.extra["f_res_hz"] == F_RES_HZ
            assert facts.extra["zoom"] == 2.4
            assert facts.warnings == ()
            assert "65535 - stored" in facts.pages


@pytest.mark.parametrize(("channels", "names"), [(1, ("PMT0", "PMT1")), (2, ("PMT0",)), (3, ("PMT1",))])
def test_channels_of_version_2(tmp_path: Path, channels: int, names: tuple[str, ...]) -> None:
    path = write(tmp_path / "a", movie(3, 1, len(names)), info(2, channels=1) | {"channels": channels})
    with opened(path) as one:
        np.testing.assert_array_equal(one.read(0, 3), movie(3, 1, len(names)))
        assert one.facts.channel_names == names
        assert one.facts.pixel_um == (0.7, 0.9)


def test_both_directions_double_the_rate(tmp_path: Path) -> None:
    path = write(tmp_path / "a", movie(3), info(2, scanmode=0, recordsPerBuffer=6))
    with opened(path) as one:
        assert one.facts.bidirectional is True
        assert one.facts.rate_hz == pytest.approx(2 * F_RES_HZ / 12)
        np.testing.assert_array_equal(one.read(0, 3), movie(3))


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"otwave": np.array([0.0, 500, 900])}, "otwave"),
        ({"etl_table": np.array([[0, 1], [500, 1], [900, 1]])}, "etl_table"),
        ({"otwave": None, "otparam": np.array([0, 900, 3])}, "otparam"),
        ({"volscan": None, "otwave": np.array([0.0, 500, 900])}, "otwave"),
    ],
)
def test_planes_of_the_optotune_lens(tmp_path: Path, given: dict[str, Any], key: str) -> None:
    path = write(tmp_path / "a", movie(4, 3, 2), info(channels=2, **({"volscan": 1} | given)))
    with opened(path) as one:
        np.testing.assert_array_equal(one.read(0, 12), movie(4, 3, 2))
        assert one.facts.planes == 3
        assert f"3 planes by info.{key}" in one.facts.pages
        assert one.facts.rate_hz == pytest.approx(F_RES_HZ / 12)
        assert bool(one.facts.warnings) == (key == "otparam")


def test_a_lens_that_did_not_move_makes_no_planes(tmp_path: Path) -> None:
    path = write(tmp_path / "a", movie(4), info(volscan=0, otwave=np.array([0.0, 500, 900])))
    with opened(path) as one:
        assert one.facts.planes == 1


def test_a_volume_without_the_number_of_planes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", movie(4, 2), info(volscan=1, otwave=None))
    with pytest.raises(StreamError, match="does not say its planes"):
        scanbox.open_movie(path, Wanted())
    with opened(path, planes=2) as one:
        assert one.facts.planes == 2
        assert "as given with --planes" in one.facts.pages


def test_wishes(tmp_path: Path) -> None:
    path = write(tmp_path / "a", movie(4, 3), info(volscan=1, otwave=np.array([0.0, 500, 900])))
    with opened(path, flyback=1) as one:
        np.testing.assert_array_equal(one.read(0, 8), movie(4, 3)[[0, 1, 3, 4, 6, 7, 9, 10]])
        assert one.facts.planes == 2
        assert one.facts.rate_hz == pytest.approx(F_RES_HZ / 12 * 2 / 3)
    with pytest.raises(StreamError, match="2 channels for"):
        scanbox.open_movie(path, Wanted(channels=2))
    with pytest.raises(StreamError, match="13 planes"):
        scanbox.open_movie(path, Wanted(planes=13))
    for wanted in (Wanted(flyback=3), Wanted(flyback=4), Wanted(planes=0), Wanted(flyback=-1)):
        with pytest.raises(StreamError, match="at least one channel and plane"):
            scanbox.open_movie(path, wanted)


def test_the_length_of_the_file_decides_and_not_the_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a", movie(5, 1, 2), info(channels=2, config={"frames": 1000}))
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    with opened(path) as one:
        assert one.shape[0] == 5
        assert one.facts.warnings == (
            "100 bytes of an unfinished frame at the end of xx0_000_001.sbx are left out",
            "xx0_000_001.mat announces 1000 frames, and xx0_000_001.sbx holds 5",
        )


def test_an_incomplete_last_volume_is_left_out_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a", movie(3, 2)[:5], info(volscan=1, otwave=np.array([0.0, 500])))
    with opened(path) as one:
        assert one.shape[0] == 4
        assert one.facts.warnings == ("1 frames of an incomplete last volume are left out",)


def test_a_file_that_grows_and_one_that_shrinks(tmp_path: Path) -> None:
    path = write(tmp_path / "a", movie(5), info())
    with opened(path) as one:
        whole = path.read_bytes()
        path.write_bytes(whole * 2)
        assert one.shape[0] == 5
        np.testing.assert_array_equal(one.read(0, 5), movie(5))
        path.write_bytes(whole[:500])
        one.frame(1)
        with pytest.raises(StageError, match="frame 4 of"):
            one.frame(4)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"sz": np.array([10**9, 10**9])}, "1000000000 lines"),
        ({"sz": np.array([0, 10])}, r"info\.sz"),
        ({"sz": np.array([12.5, 10])}, r"info\.sz"),
        ({"sz": np.array([np.nan, 10])}, r"info\.sz"),
        ({"sz": np.array([12, 10, 3])}, r"info\.sz"),
        ({"sz": "text"}, ""),
        ({"scanbox_version": None}, "version unknown"),
        ({"scanbox_version": 1}, "version 1"),
        ({"chan": None}, "number of channels"),
        ({"chan": {"nchan": 0}}, "number of channels"),
        ({"chan": {"nchan": 10**9}}, "1000000000 channels"),
        ({"chan": 7}, "number of channels"),
        ({"volscan": 1}, "does not say its planes"),
    ],
)
def test_a_header_that_is_wrong_is_refused(tmp_path: Path, given: dict[str, Any], sentence: str) -> None:
    path = write(tmp_path / "a", movie(4), info(**given))
    if not sentence:  # the usual size is too large for the file
        sentence = "at least one frame"
    with pytest.raises(StreamError, match=sentence):
        scanbox.open_movie(path, Wanted())


def test_lines_that_disagree_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", movie(4), info(2, recordsPerBuffer=24))
    with pytest.raises(StreamError, match=r"12 lines \(info\.sz\) and of 24"):
        scanbox.open_movie(path, Wanted())


def test_values_that_are_odd_leave_the_facts_empty(tmp_path: Path) -> None:
    values = info(resfreq=0, dxcal=-1, config={"magnification": 99, "magnification_list": "x", "frames": "x"})
    with opened(write(tmp_path / "a", movie(4), values)) as one:
        assert one.facts.rate_hz is None
        assert one.facts.pixel_um is None
        assert "zoom" not in one.facts.extra


def test_files_that_lack_the_other_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", movie(4), info())
    path.with_suffix(".mat").rename(tmp_path / "other.mat")
    with pytest.raises(FileError, match=r"xx0_000_001\.sbx without xx0_000_001\.mat"):
        scanbox.open_movie(path, Wanted())
    assert scanbox.claims(tmp_path / "other.mat")
    with pytest.raises(FileError, match="a MATLAB file without a Scanbox movie beside it"):
        scanbox.open_movie(tmp_path / "other.mat", Wanted())
    assert not scanbox.claims(tmp_path / "other")
    (tmp_path / "text.mat").write_text("no MATLAB file")
    assert not scanbox.claims(tmp_path / "text.mat")


def test_a_name_with_dots_keeps_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a", movie(4), info(), name="m1.day2_000")
    with opened(path.with_name("m1.day2_000")) as one:
        assert one.shape[0] == 4


def test_a_mat_without_info_or_of_another_program_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", movie(4), info())
    savemat(path.with_suffix(".mat"), {"other": 1})
    with pytest.raises(FileError, match="without a structure info"):
        scanbox.open_movie(path, Wanted())
    whole = path.with_suffix(".mat").read_bytes()
    for content in (b"", whole[:60], whole[:140], b"x" * 500):
        path.with_suffix(".mat").write_bytes(content)
        with pytest.raises(FileError):
            scanbox.open_movie(path, Wanted())


def test_a_mat_of_version_73(tmp_path: Path) -> None:
    path = write(tmp_path / "a", movie(4, 2, 2), info())
    mat = path.with_suffix(".mat")
    with h5py.File(mat, "w", userblock_size=512) as file:
        group = file.create_group("info")
        for key, value in info(channels=2, volscan=1, etl_table=np.array([[0, 1], [9, 1]]), messages=None).items():
            if isinstance(value, dict):
                inner = group.create_group(key)
                for name, one in value.items():
                    inner[name] = np.atleast_2d(one).T.astype(float)
            else:
                group[key] = np.atleast_2d(value).T.astype(float)
        group["away"] = h5py.ExternalLink("/etc/hostname", "/")
        group["round"] = group
    with mat.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64".ljust(124) + b"\0\2IM")
    with pytest.raises(FileError, match="nested"):
        scanbox.open_movie(path, Wanted())
    with h5py.File(mat, "r+") as file:
        del file["info/round"]
    with opened(path) as one:
        np.testing.assert_array_equal(one.read(0, 8), movie(4, 2, 2))
        assert one.facts.planes == 2
        assert one.facts.pixel_um == (0.75, 1.25)


@pytest.mark.skipif(not (DATA / "scanbox_bi_uni").is_dir(), reason="no shared/data/scanbox_bi_uni")
@pytest.mark.parametrize("name", ["bi.mat", "uni.mat"])
def test_real_mat_files_without_movie_are_refused(name: str) -> None:
    path = DATA / "scanbox_bi_uni" / name
    assert scanbox.claims(path)
    with pytest.raises(FileError, match="a MATLAB file without a Scanbox movie beside it"):
        scanbox.open_movie(path, Wanted())
