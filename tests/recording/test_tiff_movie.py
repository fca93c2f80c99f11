from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepbid_rt.errors import DeepbidError, FileError, StreamError
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.recording.tiff_writer import TiffMovieWriter
from tests import DATA


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def movie(frames: int = 5, channels: int = 1, lines: int = 6, pixels: int = 8, dtype: str = "<i2") -> np.ndarray:
    """Every pixel of plane n (counted over frames and channels) is n, plus its place in the plane in the corner."""
    planes = np.arange(frames * channels).reshape(frames, channels, 1, 1)
    return (planes * 10 + np.arange(pixels)).astype(dtype) + np.zeros((1, 1, lines, 1), dtype)


def write_ours(path: Path, pixels: np.ndarray) -> None:
    writer = TiffMovieWriter(path)
    for number, frame in enumerate(pixels):
        writer.append(frame, number, number / 30)
    writer.close()


WRITERS = {
    "ours": write_ours,
    "shaped": lambda path, x: tifffile.imwrite(path, x),
    "one-ifd-shaped": lambda path, x: tifffile.imwrite(path, x, truncate=True),
    "imagej": lambda path, x: tifffile.imwrite(path, x[:, 0], imagej=True),
    "one-ifd-imagej": lambda path, x: tifffile.imwrite(path, x[:, 0], imagej=True, truncate=True),
    "deflate": lambda path, x: tifffile.imwrite(path, x, compression="zlib"),
    "deflate-strips": lambda path, x: tifffile.imwrite(path, x, compression="zlib", rowsperstrip=2),
    "strips": lambda path, x: tifffile.imwrite(path, x, rowsperstrip=2),
    "tiles": lambda path, x: tifffile.imwrite(path, x, tile=(16, 16)),
    "big-endian": lambda path, x: tifffile.imwrite(path, x.astype(x.dtype.newbyteorder(">")), byteorder=">"),
    "bigtiff": lambda path, x: tifffile.imwrite(path, x, bigtiff=True),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2", "<f4"])
def test_reads_what_was_written(tmp_path: Path, writer: str, dtype: str) -> None:
    if "imagej" in writer and dtype == "<i2":
        dtype = "<u2"  # ImageJ has no int16
    pixels = movie(dtype=dtype)
    WRITERS[writer](tmp_path / "m.tif", pixels)
    with TiffMovie(tmp_path / "m.tif") as read:
        assert read.shape == pixels.shape
        assert read.dtype.str == dtype
        assert read.read(1, 4).dtype.str == dtype
        np.testing.assert_array_equal(read.read(0, 5), pixels)
        np.testing.assert_array_equal(read.read(2, 4), pixels[2:4])
        np.testing.assert_array_equal(read.frame(3), pixels[3])
        assert read.read(2, 2).shape == (0, 1, 6, 8)


@pytest.mark.parametrize(("writer", "mapped"), [("ours", True), ("one-ifd-imagej", True), ("deflate", False)])
def test_maps_contiguous_pages_and_decodes_others(tmp_path: Path, writer: str, mapped: bool) -> None:
    WRITERS[writer](tmp_path / "m.tif", movie(dtype="<u2"))
    with TiffMovie(tmp_path / "m.tif") as read:
        assert (read._map is not None) is mapped


def test_reads_a_single_page(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", movie(1)[0, 0])
    with TiffMovie(tmp_path / "m.tif") as read:
        np.testing.assert_array_equal(read.read(0, 1), movie(1))


def test_interleaved_channels(tmp_path: Path) -> None:
    pixels = movie(4, 3)
    write_ours(tmp_path / "m.tif", pixels)
    with TiffMovie(tmp_path / "m.tif", channels=3) as read:
        assert read.shape == (4, 3, 6, 8)
        np.testing.assert_array_equal(read.read(1, 3), pixels[1:3])


def test_frames_stay_valid_after_the_file_is_closed(tmp_path: Path) -> None:
    write_ours(tmp_path / "m.tif", movie())
    read = TiffMovie(tmp_path / "m.tif")
    frame = read.frame(2)
    read.close()
    read.close()
    (tmp_path / "m.tif").write_bytes(b"")
    np.testing.assert_array_equal(frame, movie()[2])


def test_frame_numbers_out_of_range_raise_an_index_error(tmp_path: Path) -> None:
    write_ours(tmp_path / "m.tif", movie())
    with TiffMovie(tmp_path / "m.tif") as read:
        with pytest.raises(IndexError, match=r"frames 3\.\.6 of 5"):
            read.read(3, 6)
        with pytest.raises(IndexError):
            read.frame(-1)


def refused(path: Path, channels: int = 1) -> DeepbidError:
    with pytest.raises((FileError, StreamError)) as info:
        TiffMovie(path, channels)
    return info.value


def test_refuses_pages_that_differ(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(path) as writer:
        for shape in ((6, 8), (6, 8), (7, 8)):
            writer.write(np.zeros(shape, np.int16), contiguous=False, metadata=None)
    assert str(refused(path)) == (
        f"page 2 of {path} with int16 pixels of shape (7, 8); expected int16 pixels of shape (6, 8) as on page 0; "
        "save the pages of each size and type in a separate file."
    )
    with tifffile.TiffWriter(tmp_path / "types.tif") as writer:
        for dtype in (np.int16, np.uint16):
            writer.write(np.zeros((6, 8), dtype), contiguous=False, metadata=None)
    assert (
        refused(tmp_path / "types.tif").came == f"page 1 of {tmp_path / 'types.tif'} with uint16 pixels of shape (6, 8)"
    )


@pytest.mark.parametrize(
    ("pixels", "photometric"),
    [
        (np.zeros((5, 6, 8)), "minisblack"),
        (np.zeros((5, 6, 8), np.uint32), "minisblack"),
        (np.zeros((5, 6, 8), np.int8), "minisblack"),
        (np.zeros((5, 6, 8), bool), "minisblack"),
        (np.zeros((6, 8, 3), np.uint8), "rgb"),
    ],
    ids=["float64", "uint32", "int8", "bool", "rgb"],
)
def test_refuses_pixel_types_that_streams_do_not_allow(tmp_path: Path, pixels: np.ndarray, photometric: str) -> None:
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, pixels, photometric=photometric)
    error = refused(path)
    shape = (6, 8) if photometric == "minisblack" else (6, 8, 3)
    assert isinstance(error, StreamError)
    assert str(error) == (
        f"{path} with {pixels.dtype} pages of shape {shape}; expected greyscale pages (Y, X) of uint8, uint16, int16 "
        "or float32; convert the movie, to int16 if its counts allow it."
    )


def test_refuses_channels_that_do_not_divide_the_pages(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    write_ours(path, movie(5))
    assert str(refused(path, 2)) == (
        f"{path} of 5 pages for 2 channels; expected a whole number of frames; give the number of recorded "
        "channels with --channels."
    )
    assert isinstance(refused(path, 0), StreamError)


def test_refuses_files_that_are_not_tiff(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.tif").came == (
        f"{tmp_path / 'none.tif'} cannot be read as a TIFF (No such file or directory)"
    )
    for name, content in {"empty": b"", "text": b"not a TIFF at all", "header": b"II*\0\x08\0\0\0"}.items():
        path = tmp_path / f"{name}.tif"
        path.write_bytes(content)
        assert isinstance(refused(path), FileError), name
    assert isinstance(refused(tmp_path), FileError)


@pytest.mark.parametrize("writer", ["shaped", "deflate", "one-ifd-imagej", "big-endian"])
def test_refuses_a_file_cut_off_anywhere(tmp_path: Path, writer: str) -> None:
    WRITERS[writer](tmp_path / "m.tif", movie(dtype="<u2"))
    whole = (tmp_path / "m.tif").read_bytes()
    path = tmp_path / "cut.tif"
    with TiffMovie(tmp_path / "m.tif") as read:
        last = max(max(page.dataoffsets) for page in read._tif.pages)
    for size in range(0, min(last, len(whole)), 7):
        path.write_bytes(whole[:size])
        assert isinstance(refused(path), DeepbidError), size


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_are_read_or_raise_only_file_and_stream_errors(tmp_path: Path, data: st.DataObject) -> None:
    writer = data.draw(st.sampled_from(["shaped", "deflate", "ours"]))
    whole = tmp_path / f"{writer}.tif"
    if not whole.exists():
        WRITERS[writer](whole, movie(3))
    damaged = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.tif"
    path.write_bytes(bytes(damaged))
    try:
        with TiffMovie(path) as read:
            read.frame(0)
    except (FileError, StreamError):
        pass


@pytest.mark.skipif(not DATA.exists(), reason="no real recordings beside the checkout (shared/data)")
@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("fmi_gcamp/fmi_frames_0001-0300.tif", (300, 1, 256, 256), "<u2"),
        ("thunder_mouse64/mouse_500x64x64.tif", (500, 1, 64, 64), "<i2"),
        ("sima_motion/example.tif", (20, 1, 128, 256), "<u2"),
        ("clean_pairs_stills/noisy_020_1.tif", (1, 1, 512, 512), "|u1"),
    ],
)
def test_reads_real_recordings(name: str, shape: tuple[int, ...], dtype: str) -> None:
    with TiffMovie(DATA / name) as read, tifffile.TiffFile(DATA / name) as tif:
        assert (read.shape, read.dtype.str) == (shape, dtype)
        for t in {0, shape[0] // 2, shape[0] - 1}:
            np.testing.assert_array_equal(read.frame(t)[0], tif.pages[t].asarray())


@pytest.mark.skipif(not DATA.exists(), reason="no real recordings beside the checkout (shared/data)")
def test_reads_interleaved_channels_of_a_scanimage_file() -> None:
    path = DATA / "si2023_2slice_2ch" / "scanimage_20220923_noroi.tif"
    with TiffMovie(path, channels=2) as read, tifffile.TiffFile(path) as tif:
        assert read.shape == (12, 2, 256, 256)
        np.testing.assert_array_equal(read.frame(3), [tif.pages[6].asarray(), tif.pages[7].asarray()])
