from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepbid_rt.errors import DeepbidError, FileError, StageError, StreamError
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.recording.tiff_writer import TiffMovieWriter
from tests import DATA, ROOT


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


@pytest.mark.parametrize(("writer", "uncompressed"), [("ours", True), ("one-ifd-imagej", True), ("deflate", False)])
def test_decodes_only_compressed_pages(tmp_path: Path, writer: str, uncompressed: bool) -> None:
    WRITERS[writer](tmp_path / "m.tif", movie(dtype="<u2"))
    with TiffMovie(tmp_path / "m.tif") as read:
        assert read.uncompressed is uncompressed


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
    with tifffile.TiffFile(tmp_path / "m.tif") as tif:
        last = max(max(page.dataoffsets) for page in tif.pages)
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
    except (FileError, StageError, StreamError):
        pass


def test_a_file_that_shrinks_while_it_is_read_is_an_error_that_names_the_frame(tmp_path: Path) -> None:
    write_ours(tmp_path / "m.tif", movie(20, lines=64, pixels=64))
    with TiffMovie(tmp_path / "m.tif") as read:
        os.truncate(tmp_path / "m.tif", 60_000)
        read.frame(2)
        with pytest.raises(StageError) as info:
            read.read(2, 20)
    assert str(info.value) == (
        f"frame 6 of {tmp_path / 'm.tif'} cannot be read (it has become shorter since it was opened); expected a file "
        "that stays as it was when it was opened, with intact pages; check whether another program writes to it, or "
        "use its complete frames with deepbid-rt recover."
    )


def test_a_page_that_cannot_be_decoded_is_an_error_that_names_the_frame(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    WRITERS["deflate"](path, movie(5, 2))
    with tifffile.TiffFile(path) as tif:
        start = tif.pages[7].dataoffsets[0]
    damaged = bytearray(path.read_bytes())
    damaged[start : start + 8] = bytes(8)
    path.write_bytes(damaged)
    with TiffMovie(path, 2) as read:
        read.frame(2)
        with pytest.raises(StageError, match=r"frame 3 of .* cannot be read \("):
            read.frame(3)


def test_a_codec_that_is_missing_on_a_late_page_is_found_at_opening(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, movie(dtype="<u2"))
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[3].tags[259].valueoffset
    damaged = bytearray(path.read_bytes())
    damaged[at : at + 2] = (50_002).to_bytes(2, "little")  # JPEG XL
    path.write_bytes(damaged)
    assert refused(path).came.startswith(f"page 3 of {path} cannot be decoded (")


CUT = (
    "expected a complete file; copy it again, or use its complete pages: deepbid-rt recover writes them to a new file, "
    "and deepbid-rt denoise --salvage denoises them."
)


@pytest.mark.parametrize("writer", ["ours", "deflate", "strips", "big-endian", "one-ifd-imagej", "one-ifd-shaped"])
def test_salvage_takes_the_whole_frames_of_a_file_that_is_cut_anywhere(tmp_path: Path, writer: str) -> None:
    pixels = movie(8, dtype="<u2")
    WRITERS[writer](tmp_path / "m.tif", pixels)
    whole = (tmp_path / "m.tif").read_bytes()
    counts = []
    for size in range(len(whole), 0, -13):
        (tmp_path / "cut.tif").write_bytes(whole[:size])
        try:
            with TiffMovie(tmp_path / "cut.tif", salvage=True) as read:
                np.testing.assert_array_equal(read.read(0, read.shape[0]), pixels[: read.shape[0]])
                counts.append(read.shape[0])
                assert read.problem or read.shape[0] == 8
        except FileError:
            counts.append(0)
            continue
        if counts[-1] < 8:
            assert str(refused(tmp_path / "cut.tif")).startswith(
                f"{tmp_path / 'cut.tif'} is cut off after {counts[-1]} complete pages; {CUT}"
            )
    assert set(range(1 if writer != "one-ifd-shaped" else 2, 8)) <= set(counts)


def test_an_imagej_stack_whose_header_promises_more_planes_is_refused_with_their_number(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    WRITERS["one-ifd-imagej"](path, movie(20, dtype="<u2"))
    path.write_bytes(path.read_bytes().replace(b"images=20", b"images=33"))
    assert refused(path).came == f"{path} is cut off after 20 complete pages"
    with TiffMovie(path, salvage=True) as read:
        np.testing.assert_array_equal(read.read(0, 20), movie(20, dtype="<u2"))


def test_salvage_finds_the_pages_behind_a_damaged_place(tmp_path: Path) -> None:
    """A power cut may leave zeros for what the disk had not written yet."""
    path = tmp_path / "m.tif"
    pixels = movie(40, lines=32, pixels=32)
    write_ours(path, pixels)
    with TiffMovie(path) as read:
        begin, end = read._offsets[8], read._offsets[10]
    damaged = bytearray(path.read_bytes())
    damaged[begin:end] = bytes(end - begin)
    path.write_bytes(damaged)
    with pytest.raises(FileError, match="is damaged after 8 complete pages"):
        TiffMovie(path)
    with TiffMovie(path, salvage=True) as read:
        numbers = [read.description(n).split("\n")[0] for n in range(read.shape[0])]
        assert numbers == [f"frameNumbers = {n}" for n in (*range(8), *range(10, 40))]
        np.testing.assert_array_equal(read.frame(8), pixels[10])
        assert "page" in (read.problem or "")


def test_salvage_finds_pages_that_nothing_points_to(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    write_ours(path, movie(6))
    with TiffMovie(path) as read:
        offset = read._offsets[3]
    content = bytearray(path.read_bytes())
    at = content.index(offset.to_bytes(8, "little"))
    content[at : at + 8] = bytes(8)
    path.write_bytes(content)
    with TiffMovie(path) as read:
        assert read.shape[0] == 3
    with TiffMovie(path, salvage=True) as read:
        assert read.shape[0] == 6
        assert read.problem == "the pages behind page 2 are not linked to it"


def page_bytes(*tags: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A directory of a classic TIFF."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)


def basic_tags(
    lines: int, pixels: int, start: int, count: int, compression: int = 1
) -> list[tuple[int, int, int, int]]:
    return [
        *((256, 4, 1, pixels), (257, 4, 1, lines), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)),
        *((273, 4, 1, start), (277, 3, 1, 1), (278, 4, 1, lines), (279, 4, 1, count)),
    ]


def huge_page(path: Path) -> None:
    """A page of 60,000 x 60,000 pixels that is compressed to nothing."""
    data = zlib.compress(bytes(100_000))
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8) + page_bytes(*basic_tags(60_000, 60_000, 200, len(data), 8)).ljust(192) + data
    )


def bomb(path: Path) -> None:
    """A page of 64 x 64 pixels whose data become 400 MB."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(2**20)) for _ in range(400)) + packer.flush()
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8) + page_bytes(*basic_tags(64, 64, 200, len(data), 8)).ljust(192) + data
    )


def promised_planes(path: Path) -> None:
    """One page that claims to stand for 200,000 planes."""
    tifffile.imwrite(path, np.zeros((3, 1000, 1000), np.uint8), photometric="minisblack", truncate=True)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"shape": [3, 1000, 1000]', b'"shape":[200000000,1000]'.ljust(24)))


def shared_tags(path: Path) -> None:
    """Thousands of pages that all have the same 3 MB of metadata."""
    size, count, each = 3_500_000, 4_000, 18 + 9 * 12 + 12
    metadata = count * each + 100
    content = bytearray(size)
    content[:8] = b"II*\0" + struct.pack("<I", 8)
    for n in range(count):
        tags = [*basic_tags(1, 1, metadata, 1), (50_000, 3, (size - metadata) // 2, metadata)]
        page = page_bytes(*tags, following=8 + (n + 1) * each if n + 1 < count else 0)
        content[8 + n * each : 8 + n * each + len(page)] = page
    path.write_bytes(content)


def shared_strips(path: Path) -> None:
    """Thousands of pages with the same 400,000 strips."""
    size, count, each = 3_500_000, 2_000, 2 + 9 * 12 + 4
    content = bytearray(size)
    content[:8] = b"II*\0" + struct.pack("<I", 8)
    strips = count * each + 100
    for n in range(count):
        tags = [tag for tag in basic_tags(8192, 1, 0, 0) if tag[0] not in (273, 278, 279)]
        tags += [(273, 4, 400_000, strips), (278, 4, 1, 1), (279, 4, 400_000, strips)]
        page = page_bytes(*tags, following=8 + (n + 1) * each if n + 1 < count else 0)
        content[8 + n * each : 8 + n * each + len(page)] = page
    path.write_bytes(content)


def many_tags(path: Path) -> None:
    """One page with 900 tags, each of which is the whole file as numbers."""
    size = 3_500_000
    tags = [*basic_tags(8, 8, 20_000, 64), *((40_000 + n, 3, (size - 20_000) // 2, 20_000) for n in range(900))]
    path.write_bytes((b"II*\0" + struct.pack("<I", 8) + page_bytes(*tags)).ljust(size, b"\1"))


def circle(path: Path) -> None:
    """A page that follows itself."""
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + page_bytes(*basic_tags(8, 8, 200, 64), following=8).ljust(300))


def shared_pixels(path: Path) -> None:
    """Thousands of pages that show the same megabyte of pixels."""
    each = 2 + 9 * 12 + 4
    pages = [page_bytes(*basic_tags(1024, 1024, 500_000, 2**20), following=8 + (n + 1) * each) for n in range(3_999)]
    pages.append(page_bytes(*basic_tags(1024, 1024, 500_000, 2**20)))
    content = (b"II*\0" + struct.pack("<I", 8) + b"".join(pages)).ljust(500_000) + bytes(2**20)
    path.write_bytes(content)


# None: it is opened, since ScanImage shares one header among all pages, and what is not read takes nothing.
HOSTILE = {
    huge_page: "pages of 60000 lines and 60000 pixels",
    bomb: "cannot be decoded (more than ",
    promised_planes: "is cut off after 3 complete pages",
    shared_tags: None,
    shared_strips: "400000 strips or tiles, and should have 8192",
    many_tags: None,
    circle: "its pages form a circle",
    shared_pixels: "its pages share their pixels",
}

MEASURED = """
import resource, sys
from deepbid_rt.errors import RefusedError
from deepbid_rt.recording.tiff_movie import TiffMovie
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    TiffMovie(sys.argv[1], salvage=sys.argv[2] == "salvage").close()
except RefusedError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("salvage", ["plain", "salvage"])
@pytest.mark.parametrize("write", HOSTILE, ids=lambda write: write.__name__)
def test_a_hostile_file_is_refused_before_it_takes_memory(tmp_path: Path, write: Any, salvage: str) -> None:
    pytest.importorskip("resource", reason="Windows does not tell the largest memory of a process")
    path = tmp_path / "m.tif"
    write(path)
    assert path.stat().st_size < 4e6
    command = [sys.executable, "-c", MEASURED, str(path), salvage]
    done = subprocess.run(command, cwd=ROOT, timeout=100, check=True, capture_output=True, text=True)
    *said, grown_kib = done.stdout.splitlines()
    assert int(grown_kib) < 100_000, f"{int(grown_kib) / 1e6:.1f} GB"
    expected = HOSTILE[write]
    if expected is None:
        assert not said
    elif salvage == "plain" or write in (huge_page, bomb):
        assert expected in said[0]


@pytest.mark.skipif(not DATA.exists(), reason="no real recordings beside the checkout (shared/data)")
@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("fmi_gcamp/fmi_frames_0001-0300.tif", (300, 1, 256, 256), "<u2"),
        ("thunder_mouse64/mouse_500x64x64.tif", (500, 1, 64, 64), "<i2"),
        ("sima_motion/example.tif", (20, 1, 128, 256), "<u2"),
        ("clean_pairs_stills/noisy_020_1.tif", (1, 1, 512, 512), "|u1"),
        ("si2021_vol_1ch/vol_one_ch_multi_files_00001_00001.tif", (160, 1, 20, 20), "<i2"),
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
