"""A recording opened from Python."""

import re

import numpy as np
import pytest
import tifffile

import deepbid_rt as rt
from deepbid_rt.api.movie import MovieWarning
from deepbid_rt.errors import FileError, OptionError, StreamError

PIXELS = np.arange(6 * 4 * 5, dtype="<i2").reshape(6, 4, 5)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "A.tif"
    tifffile.imwrite(path, PIXELS, photometric="minisblack")
    return path


def test_frames_and_slices_are_read_when_asked_for(path):
    with rt.open(path, rate_hz=12.5) as movie:
        assert (movie.shape, movie.dtype, len(movie), movie.ndim) == ((6, 1, 4, 5), np.dtype("<i2"), 6, 4)
        assert np.array_equal(movie[2], PIXELS[2:3])
        assert np.array_equal(movie[-1], PIXELS[5:])
        assert np.array_equal(movie[1:4], PIXELS[1:4, None])
        assert np.array_equal(movie[::-2], PIXELS[::-2, None])
        assert movie[4:2].shape == (0, 1, 4, 5)
        assert movie[4:2:2].shape == (0, 1, 4, 5)
        assert np.array_equal(np.asarray(movie), PIXELS[:, None])
        assert np.asarray(movie, np.float32).dtype == np.float32
        whole = PIXELS[:, None]
        for key in (np.s_[:, 0], np.s_[2:5, 0, 1:3], np.s_[3, 0, :, ::2], np.s_[...], np.s_[..., 0], np.s_[::3, 0, 1]):
            assert np.array_equal(movie[key], whole[key])
        assert np.array_equal(movie[np.int64(2)], whole[2])
        with pytest.raises(IndexError, match=re.escape("frames selected by [0, 1]; expected a number or a slice")):
            _ = movie[[0, 1]]
        assert sum(1 for _ in movie) == 6
        assert "A.tif" in repr(movie)
        assert "12.5 Hz" in repr(movie)
        for missing in (6, -7):
            with pytest.raises(IndexError, match=f"frame {missing} of a movie of 6 frames"):
                _ = movie[missing]


def test_a_movie_says_how_it_is_to_be_denoised(path):
    with rt.open(path, scan="collinear", channels=2, planes=3) as movie:
        assert movie.shape == (3, 2, 4, 5)
        assert rt.denoise(movie, engine="echo").shape == (3, 2, 2, 5)
        assert rt.denoise(movie, engine="echo", scan="ordinary").shape == (3, 2, 4, 5)


def test_an_opened_movie_is_denoised_as_its_pixels_are(path):
    with rt.open(path) as movie:
        assert np.array_equal(rt.denoise(movie, engine="average")[:, 0], rt.denoise(PIXELS, engine="average"))


def test_what_cannot_be_opened_is_refused(path, tmp_path):
    with pytest.raises(FileError, match=r"no file .*B\.tif; expected the path of a recording; check the path"):
        rt.open(tmp_path / "B.tif")
    (tmp_path / "C.tif").write_bytes(b"no TIFF")
    with pytest.raises(FileError, match="cannot be read as a TIFF"):
        rt.open(tmp_path / "C.tif")
    (tmp_path / "D.mrc").write_bytes(bytes(1024))
    with pytest.raises(FileError, match=r"D\.mrc, an MRC stack; .* convert it to TIFF"):
        rt.open(tmp_path / "D.mrc")
    for thing in (None, PIXELS):
        with pytest.raises(FileError, match="in place of a file; expected the path of a recording; pass arrays to"):
            rt.open(thing)
    with pytest.raises(StreamError, match=re.escape("with 6 pages for 4 channels")):
        rt.open(path, channels=4)
    with pytest.raises(StreamError, match="scan=3"):
        rt.open(path, scan=3)


def test_a_closed_movie_says_so(path):
    movie = rt.open(path)
    movie.close()
    with pytest.raises(FileError, match="which is closed; expected an open movie; open it again"):
        _ = movie[0]


def test_what_has_to_be_known_of_a_recording_is_a_warning(tmp_path):
    (tmp_path / "pixels.raw").write_bytes(bytes(range(100)) * 2)
    with pytest.warns(MovieWarning, match=r"pixels\.raw: "):
        movie = rt.open(tmp_path / "pixels.raw", shape=(6, 8), dtype="uint8")
    with movie:
        assert movie.shape == (4, 1, 6, 8)
        assert movie.facts.warnings


@pytest.mark.parametrize(
    "argument", [{"channels": "2"}, {"planes": 0}, {"flyback": -1}, {"rate_hz": "30"}, {"rate_hz": 0}]
)
def test_arguments_that_are_no_numbers_are_refused(path, argument):
    with pytest.raises(StreamError, match="; expected a"):
        rt.open(path, **argument)


def test_a_movie_is_saved_in_formats_of_other_programs(path, tmp_path):
    with rt.open(path, planes=3, rate_hz=30) as movie:
        for name, given in (("a.ome.tif", {}), ("b.tif", {"format": "imagej"})):
            assert movie.save(str(tmp_path / name), **given) == tmp_path / name
            with rt.open(tmp_path / name) as saved:
                assert (saved.planes, saved.rate_hz) == (3, pytest.approx(30.0))
                assert np.array_equal(np.asarray(saved), np.asarray(movie))
        with pytest.raises(FileError, match="exists already"):
            movie.save(tmp_path / "a.ome.tif")
        movie.save(tmp_path / "a.ome.tif", overwrite=True)
        with pytest.raises(OptionError, match="whose end tells no format"):
            movie.save(tmp_path / "c.tif")
        with pytest.raises(OptionError, match=r"^nwb for c.ome.tif, which is no NWB file"):
            movie.save(tmp_path / "c.ome.tif", nwb={"location": "V1"})
        with pytest.raises(FileError, match="itself"):
            movie.save(path, format="imagej", overwrite=True)
    with pytest.raises(FileError, match="closed"):
        movie.save(tmp_path / "c.ome.tif")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["A.tif", "a.ome.tif", "b.tif"]


def test_a_movie_is_saved_as_nwb_with_what_the_user_says(path, tmp_path):
    pynwb = pytest.importorskip("pynwb", reason="the nwb extra is not installed")
    with rt.open(path, rate_hz=30) as movie:
        movie.save(tmp_path / "a.nwb", nwb={"location": "V1", "session_start": "2026-01-02", "emission_nm": 525})
    with pynwb.NWBHDF5IO(tmp_path / "a.nwb", "r") as io:
        series = io.read().acquisition["TwoPhotonSeries"]
        assert np.array_equal(series.data[:], PIXELS)
        assert series.imaging_plane.location == "V1"
