"""Which reader a path belongs to, and wishes that cannot take effect."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError, OptionError, RefusedError, StreamError
from deepbid_rt.movies.open_movie import READERS, open_movie_file
from deepbid_rt.movies.wanted import Wanted
from tests import ROOT

DATA = ROOT.parent / "shared" / "data"
REAL = {
    # path: format, (N, C, Y, X), planes, dtype, frames/s over all planes
    "allen_ultralow": ("HDF5", (100, 1, 100, 100), 1, "int16", None),
    "bruker_2plane": ("Bruker", (10, 1, 512, 512), 2, "uint16", 20.63),
    "bruker_bidi_frame": ("OME-TIFF", (1, 1, 512, 512), 1, "uint16", None),
    "datajoint_A": ("NumPy", (20, 1, 256, 256), 1, "uint16", None),
    "fissa_v1_A01": ("TIFF (tifffile)", (288, 1, 176, 156), 1, "uint16", None),
    "fmi_gcamp": ("TIFF (tifffile)", (300, 1, 256, 256), 1, "uint16", None),
    "ndtiff/ndtiff3.2_11bit_NDTiffStack.tif": ("NDTiff", (10, 1, 64, 64), 1, "uint16", 96.865),
    "si2021_vol_1ch": ("ScanImage", (270, 1, 20, 20), 9, "int16", 294.709),
    "si2023_2slice_2ch": ("ScanImage", (12, 2, 256, 256), 2, "int16", 58.207),
    "si38_legacy": ("ScanImage", (10, 1, 256, 256), 1, "uint16", 3.906),
    "si57_2ch_small": ("ScanImage", (2, 2, 64, 64), 1, "int16", 198.247),
    "sima_motion": ("ImageJ", (20, 1, 128, 256), 1, "uint16", None),
    "thorlabs_3files": ("ThorImage", (3, 1, 512, 512), 1, "uint16", 13.967),
    "thunder_mouse64": ("TIFF (tifffile)", (500, 1, 64, 64), 1, "int16", None),
}
REFUSED = {
    "femtonics_p29": "2 measurements: MSession_0/MUnit_0",
    "prairie_linescan": "is a line scan",
    "rdl_mt/MT.mrc": "an MRC stack; .* convert it to TIFF",
    "scanbox_bi_uni/bi.mat": "a MATLAB file without a Scanbox movie beside it",
    "prairie_linescan/blood_Image15.tif": "with colours",
    "clean_pairs_stills": "TIFF files of several recordings",
    "ndtiff": "2 NDTiff datasets",
    "vessel_phantoms/burgess2014_lowerRes_hiSNR_BM4D_denoised.tif": "requires the 'imagecodecs' package",
}


def real(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"no real recordings at {DATA / name}")
    return DATA / name


@pytest.mark.parametrize("name", REAL)
def test_real_recordings_open_as_what_they_are(name: str) -> None:
    with open_movie_file(real(name)) as movie:
        facts = movie.facts
        rate_hz = None if facts.rate_hz is None else round(facts.rate_hz, 3)
        assert (facts.format, movie.shape, facts.planes, movie.dtype.name, rate_hz) == REAL[name]
        first, last = movie.frame(0), movie.frame(movie.shape[0] - 1)
        assert first.shape == last.shape == movie.shape[1:]
        assert facts.pages


@pytest.mark.parametrize("name", REFUSED)
def test_real_files_that_are_no_movie_are_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(RefusedError, match=REFUSED[name]) as raised:
        open_movie_file(real(name))
    assert str(raised.value).count(";") >= 2


def test_one_measurement_of_a_mesc_file() -> None:
    with open_movie_file(real("femtonics_p29"), Wanted(dataset="MSession_0/MUnit_1")) as movie:
        assert movie.shape == (5, 2, 512, 512)


@pytest.fixture
def tiff(tmp_path: Path) -> Path:
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, np.arange(4 * 6 * 8, dtype=np.int16).reshape(4, 6, 8), photometric="minisblack")
    return path


@pytest.mark.parametrize("wanted", [Wanted(dataset="a"), Wanted(shape=(6, 8)), Wanted(dtype="int16")])
def test_wishes_that_cannot_take_effect_are_refused(tiff: Path, wanted: Wanted) -> None:
    with pytest.raises(OptionError, match=r"for .*movie\.tif"):
        open_movie_file(tiff, wanted)


def test_fly_back_frames_need_planes(tiff: Path) -> None:
    with pytest.raises(StreamError, match=r"--flyback 1 for .*movie\.tif, which says nothing of planes"):
        open_movie_file(tiff, Wanted(flyback=1))
    with open_movie_file(tiff, Wanted(planes=1, flyback=1)) as movie:
        assert movie.shape == (2, 1, 6, 8)


def test_a_folder_with_one_recording_is_that_recording(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", np.zeros((3, 6, 8), np.int16))
    (tmp_path / "notes.txt").write_text("a mouse")
    with open_movie_file(tmp_path) as movie:
        assert movie.shape == (3, 1, 6, 8)
    shutil.copy(tmp_path / "movie.npy", tmp_path / "other.npy")
    with pytest.raises(FileError, match=r"with 2 recordings \(movie.npy, other.npy\)"):
        open_movie_file(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(FileError, match="neither a file nor a folder"):
        open_movie_file(tmp_path / "pipe.tif")
    with pytest.raises(FileError, match="with 0 recordings"):
        open_movie_file(tmp_path)


def test_a_path_that_may_not_be_looked_at_is_refused(tiff: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", forbidden)
    with pytest.raises(FileError, match=r"cannot be read \(Permission denied\)"):
        open_movie_file(tiff)


def test_a_pattern_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no file matches .*z\*\.tif"):
        open_movie_file(tmp_path / "z*.tif")


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no file or folder"):
        open_movie_file(tmp_path / "none.tif")
    with pytest.raises(FileError, match="with 0 recordings"):
        open_movie_file(tmp_path)
    (tmp_path / "movie.xyz").write_bytes(b"abc")
    with pytest.raises(FileError, match="which is in no format that deepbid-rt can read"):
        open_movie_file(tmp_path / "movie.xyz")
    with pytest.raises(FileError):
        open_movie_file(tmp_path / "none_*.tif")


def test_no_reader_raises_when_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "folder.zarr").mkdir()
    for name in ("a.tif", "a.xml", "a.sbx", "a.mat", "a.h5", "a.nwb", "a.mesc", "a.npy", "a.raw", "Experiment.xml"):
        (tmp_path / name).write_bytes(b"\xff\xfe<?xml\0")
    for path in [tmp_path, *tmp_path.iterdir(), tmp_path / "none", tmp_path / "x*.tif", Path("\0")]:
        for reader in READERS:
            assert reader.format.claims(path) in (True, False)
