"""Which reader a TIFF belongs to, plain pages, pixel types, series of files, and channels that nobody mentioned."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.movies.alternation import period_of_pages
from deepbid_rt.movies.page_list import OPEN_FILES
from deepbid_rt.movies.tiff import claims, open_movie
from deepbid_rt.movies.wanted import Wanted
from tests import DATA
from tests.movies.tiff_files import SIDE, expected, firsts, value, write


def test_what_is_claimed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", range(3))
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("II")
    odd = tmp_path / "odd.lsm"
    odd.write_bytes(path.read_bytes())
    for yes in (path, tmp_path, tmp_path / "a*", tmp_path / "*.tif", odd, tmp_path / "gone.tiff", tmp_path / "x.TF8"):
        assert claims(yes), yes
    for no in (tmp_path / "empty", tmp_path / "note.txt", tmp_path / "b*.tif", tmp_path / "gone", Path("\0")):
        assert not claims(no), no


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".btf", ".tf8", ".TIF"])
def test_plain_pages_are_frames(tmp_path: Path, suffix: str) -> None:
    with open_movie(write(tmp_path / f"a{suffix}", [value(t) for t in range(5)]), Wanted()) as movie:
        assert firsts(movie) == expected([(t, 0) for t in range(5)])
        assert (movie.facts.format, movie.facts.planes, movie.facts.rate_hz) == ("TIFF", 1, None)
        assert (movie.facts.warnings, movie.uncompressed, movie.problem) == ((), True, None)


def test_wishes_for_plain_pages(tmp_path: Path) -> None:
    numbers = [value(t, p, c) for t in range(3) for p in range(4) for c in range(2)]
    path = write(tmp_path / "a.tif", numbers)
    with open_movie(path, Wanted(channels=2, planes=3, flyback=1)) as movie:
        assert firsts(movie) == expected([(t, p) for t in range(3) for p in range(3)], 2)
        assert movie.facts.planes == 3
        assert "as given with --channels and --planes and --flyback" in movie.facts.pages
        assert movie.facts.warnings == ()
    with pytest.raises(StreamError, match=r"24 pages for 2 channels x 5 planes; expected a multiple of 10"):
        open_movie(path, Wanted(channels=2, planes=5))
    with open_movie(path, Wanted(channels=2, planes=5, salvage=True)) as movie:
        assert movie.shape[0] == 10
        assert "4 pages of an incomplete last volume are left out" in movie.facts.warnings[0]
    for wrong in (Wanted(channels=0), Wanted(planes=-1), Wanted(planes=2, flyback=-1), Wanted(channels=9)):
        with pytest.raises(StreamError):
            open_movie(path, wrong)


@pytest.mark.parametrize(
    ("stored", "got"),
    [
        ("u1", "|u1"),
        ("u2", "<u2"),
        ("i2", "<i2"),
        ("f4", "<f4"),
        ("i1", "<i2"),
        ("f2", "<f4"),
        ("i4", "<f4"),
        ("u4", "<f4"),
        ("f8", "<f4"),
        ("i8", "<f4"),
    ],
)
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pixel_types(tmp_path: Path, stored: str, got: str, byteorder: str, compression: str | None) -> None:
    path = write(tmp_path / "a.tif", range(3), dtype=stored, byteorder=byteorder, compression=compression)
    with open_movie(path, Wanted()) as movie:
        assert movie.dtype.str == got
        assert firsts(movie) == [[0], [1], [2]]
        assert movie.uncompressed is (compression is None)
        same = np.dtype(stored).newbyteorder("<").str == got
        assert bool(movie.facts.warnings) is not same
        if not same:
            assert f"{np.dtype(stored).name} pixels become {movie.dtype.name}" in movie.facts.warnings[0]


@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_tiles_and_predictors(tmp_path: Path, tile: tuple[int, int] | None) -> None:
    path = write(tmp_path / "a.tif", range(3), tile=tile, compression="zlib", predictor=True)
    with open_movie(path, Wanted()) as movie:
        assert firsts(movie) == [[0], [1], [2]]


def test_pixels_that_are_no_counts_are_refused(tmp_path: Path) -> None:
    rgb = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", rgb, photometric="rgb")
    tifffile.imwrite(tmp_path / "bit.tif", np.zeros((2, SIDE, SIDE), bool), photometric="minisblack")
    tifffile.imwrite(tmp_path / "complex.tif", np.zeros((2, SIDE, SIDE), np.complex64), photometric="minisblack")
    palette = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "palette.tif", rgb[0, :, :, 0], photometric="palette", colormap=palette)
    for name, error in (("rgb", "colours"), ("palette", "colours"), ("bit", "1 bits"), ("complex", "complex64")):
        with pytest.raises(StreamError, match=error):
            open_movie(tmp_path / f"{name}.tif", Wanted())


def test_white_is_zero_is_said(tmp_path: Path) -> None:
    with open_movie(write(tmp_path / "a.tif", range(3), photometric="miniswhite"), Wanted()) as movie:
        assert firsts(movie) == [[0], [1], [2]]
        assert "0 is white" in movie.facts.warnings[0]


def test_pages_of_another_size_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for side in (64, 64, 32):
            writer.write(np.zeros((side, side), np.int16), contiguous=False, metadata=None)
    with pytest.raises(StreamError, match=r"page 2 of .* with int16 pixels of shape \(32, 32\)"):
        open_movie(tmp_path / "a.tif", Wanted())


def test_files_that_are_no_tiff(tmp_path: Path) -> None:
    for name, raw in (("empty", b""), ("text", b"hello world" * 9), ("head", b"II*\0\x08\0\0\0"), ("zero", bytes(999))):
        path = tmp_path / f"{name}.tif"
        path.write_bytes(raw)
        with pytest.raises(FileError, match=rf"{name}\.tif cannot be read as a TIFF"):
            open_movie(path, Wanted())
    with pytest.raises(FileError, match="cannot be read"):
        open_movie(tmp_path / "gone.tif", Wanted())


def test_every_cut_is_refused_or_salvaged(tmp_path: Path) -> None:
    """At every 500th byte: never fewer frames without a word, never an error of another kind."""
    whole = write(tmp_path / "whole.tif", range(4)).read_bytes()
    path = tmp_path / "cut.tif"
    for size in range(0, len(whole) - 1, 500):
        path.write_bytes(whole[:size])
        with pytest.raises(FileError):
            open_movie(path, Wanted())
        try:
            movie = open_movie(path, Wanted(salvage=True))
        except (FileError, StreamError):
            continue
        with movie:
            assert movie.problem
            assert firsts(movie) == [[t] for t in range(movie.shape[0])]


def test_damaged_bytes_raise_nothing_else(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.tif", range(3), software="SI.hChannels.channelSave = 1\n").read_bytes()
    generator = np.random.default_rng(7)
    path = tmp_path / "a.tif"
    for _ in range(150):
        raw = bytearray(whole)
        for at in generator.integers(0, 700, 3):
            raw[at] = generator.integers(0, 256)
        path.write_bytes(raw)
        try:
            with open_movie(path, Wanted()) as movie:
                movie.read(0, movie.shape[0])
        except (FileError, StreamError, StageError):
            pass


def test_a_late_codec_is_found_at_opening(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", range(40), dtype="u2")
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[35].tags[259].valueoffset
    raw = bytearray(path.read_bytes())
    raw[at : at + 2] = struct.pack("<H", 5)
    path.write_bytes(raw)
    with pytest.raises(FileError, match=r"page 35 of .* cannot be decoded"):
        open_movie(path, Wanted())


def test_a_file_that_shrinks_gives_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "in.tif", range(9))
    with open_movie(path, Wanted()) as movie:
        os.truncate(path, 30_000)
        with pytest.raises(StageError, match=r"frame \d of .*in\.tif cannot be read"):
            movie.read(0, 9)
        movie.close()
        with pytest.raises(StageError):
            movie.read(0, 1)


@pytest.mark.parametrize("files", [3, OPEN_FILES + 8])
def test_a_series_of_files_in_natural_order(tmp_path: Path, files: int) -> None:
    for k in range(files):
        write(tmp_path / f"m_{k + 7}.tif", [value(2 * k), value(2 * k + 1)])
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".m_1.tif").write_text("hidden")
    for asked in (tmp_path, tmp_path / "m_*.tif", tmp_path / "*"):
        with open_movie(asked, Wanted()) as movie:
            assert firsts(movie) == expected([(t, 0) for t in range(2 * files)])
            assert f"over {files} files" in movie.facts.pages
    found: list[Any] = []
    with open_movie(tmp_path, Wanted()) as movie:
        readers = [threading.Thread(target=lambda: found.append(firsts(movie))) for _ in range(4)]
        for one in readers:
            one.start()
        for one in readers:
            one.join()
    assert found == [expected([(t, 0) for t in range(2 * files)])] * 4


def test_a_series_that_lacks_a_file(tmp_path: Path) -> None:
    for k in (1, 2, 4, 5):
        write(tmp_path / f"m_{k:03d}.tif", [k])
    for asked in (tmp_path, tmp_path / "m_*.tif"):
        with pytest.raises(FileError, match=r"no file .*m_003\.tif"):
            open_movie(asked, Wanted())
        with open_movie(asked, Wanted(salvage=True)) as movie:
            assert movie.shape[0] == 4
    with open_movie(write(tmp_path / "m_003.tif", [3]).parent, Wanted()) as movie:
        assert firsts(movie) == [[1], [2], [3], [4], [5]]


def test_folders_of_several_recordings_are_refused(tmp_path: Path) -> None:
    for name in ("a_1.tif", "a_2.tif", "b_1.tif"):
        write(tmp_path / name, [1])
    with pytest.raises(StreamError, match=r"several recordings, such as a_1\.tif and b_1\.tif.*a_\*\.tif"):
        open_movie(tmp_path, Wanted())
    with open_movie(tmp_path / "a_*.tif", Wanted()) as movie:
        assert movie.shape[0] == 2
    with pytest.raises(StreamError, match="several recordings"):
        open_movie(tmp_path / "*_1.tif", Wanted())
    with pytest.raises(FileError, match="no TIFF file matches"):
        open_movie(tmp_path / "c*.tif", Wanted())


def test_files_of_a_series_have_to_agree(tmp_path: Path) -> None:
    write(tmp_path / "m_1.tif", [1])
    write(tmp_path / "m_2.tif", [2], dtype="u2")
    with pytest.raises(StreamError, match=r"m_2\.tif with uint16 pages .* expected int16 pages"):
        open_movie(tmp_path, Wanted())


def test_brackets_in_names_are_no_pattern(tmp_path: Path) -> None:
    write(tmp_path / "m[1]_1.tif", [1])
    write(tmp_path / "m[1]_2.tif", [2])
    with open_movie(tmp_path / "m[1]_*.tif", Wanted()) as movie:
        assert movie.shape[0] == 2


def test_a_file_of_a_series_that_changes_is_an_error(tmp_path: Path) -> None:
    for k in range(OPEN_FILES + 4):
        write(tmp_path / f"m_{k:03d}.tif", [k, k])
    with open_movie(tmp_path, Wanted(channels=1)) as movie:
        write(tmp_path / "m_001.tif", [1])
        with pytest.raises(StageError, match=r"frame 2 of .*with 1 pages, where 2 were"):
            movie.read(2, 3)


def noisy(means: NDArray[Any], seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).poisson(means).astype(np.uint16)


def plain(path: Path, pages: NDArray[Any]) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for one in pages:
            writer.write(one, contiguous=False, metadata=None, photometric="minisblack")
    return path


@pytest.mark.parametrize("period", [2, 3, 4])
def test_channels_that_are_given_as_one_are_said(tmp_path: Path, period: int) -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    scenes = [5 + 4 * np.sin(x / (3 + k) + k) * np.cos(y / (5 - k)) for k in range(period)]
    path = plain(tmp_path / "a.tif", noisy(np.stack([scenes[t % period] for t in range(80)])))
    with open_movie(path, Wanted()) as movie:
        assert f"--channels {period} or --planes {period}" in movie.facts.warnings[0]
    for wanted in (Wanted(channels=1), Wanted(planes=1), Wanted(planes=2)):
        with open_movie(path, wanted) as movie:
            assert not any("alternate" in one for one in movie.facts.warnings)


def test_one_channel_is_not_warned_of(tmp_path: Path) -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    scene = 5 + 4 * np.sin(x / 3) * np.cos(y / 5)
    flicker = np.random.default_rng(1).normal(1, 0.04, 80)
    drift = np.stack([np.roll(scene, t // 9, axis=1) * (1 + t / 100) * flicker[t] for t in range(80)])
    for pages in (noisy(drift), np.ones((80, SIDE, SIDE), np.uint16), noisy(np.full((9, SIDE, SIDE), 0.02))):
        with open_movie(plain(tmp_path / "a.tif", pages), Wanted()) as movie:
            assert movie.facts.warnings == ()


def real_movies() -> list[tuple[str, int]]:
    return [
        ("fmi_gcamp/fmi_frames_0001-0300.tif", 1),
        ("fissa_v1_A01/AVG_A01.tif", 1),
        ("thunder_mouse64/mouse_500x64x64.tif", 1),
        ("sima_motion/example.tif", 1),
        ("si38_legacy/sample_scanimage_version_3_8.tiff", 1),
        ("si2023_2slice_2ch/scanimage_20220923_noroi.tif", 2),
    ]


class _Frames:
    """Frames in memory, as far as `period_of_pages` reads them."""

    def __init__(self, frames: NDArray[Any]) -> None:
        self._frames = frames[:, None]
        self.shape = self._frames.shape

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        return self._frames[t0:t1]


@pytest.mark.parametrize(("name", "channels"), real_movies())
def test_real_movies_alternate_when_they_have_two_channels(name: str, channels: int) -> None:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no real recording {path}")
    with open_movie(path, Wanted(channels=1)) as movie:
        frames = movie.read(0, movie.shape[0])[:, 0]
    found = period_of_pages(_Frames(frames))  # type: ignore[arg-type]
    assert found == (2 if channels == 2 else None)
    if channels == 2:
        return
    for step in (2, 3, 5):
        assert period_of_pages(_Frames(frames[::step])) is None  # type: ignore[arg-type]
    half = len(frames) // 2
    if half > 100:
        both = np.stack([frames[:half], frames[half : 2 * half, ::-1]], axis=1).reshape(-1, *frames.shape[1:])
        assert period_of_pages(_Frames(both)) == 2  # type: ignore[arg-type]


def test_real_files_that_are_refused() -> None:
    if not DATA.exists():
        pytest.skip(f"no real recordings in {DATA}")
    with pytest.raises(StreamError, match="photometric 3"):
        open_movie(DATA / "prairie_linescan" / "blood_Image15.tif", Wanted())
    with pytest.raises(StreamError, match="several recordings"):
        open_movie(DATA / "clean_pairs_stills", Wanted())
    path = DATA / "vessel_phantoms" / "burgess2014_lowerRes_hiSNR_BM4D_denoised.tif"
    try:
        with open_movie(path, Wanted()) as movie:
            assert movie.shape == (26, 1, 320, 320)
    except FileError as error:
        assert "imagecodecs" in error.todo  # noqa: PT017
