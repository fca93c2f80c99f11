"""Datasets of NDTiff: a stand-in writes index and stacks byte by byte as version 3.2 does."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.movies import ndtiff
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.ndtiff_index import read_ndtiff_index
from deepbid_rt.movies.wanted import Wanted
from tests import DATA
from tests.movies.stamped_images import SHAPE, movie, stamped

PERIOD_S = 0.05
Axes = dict[str, Any]


def entry(axes: Axes | str, name: str, numbers: Sequence[int]) -> bytes:
    text = axes.encode() if isinstance(axes, str) else json.dumps(axes).encode()
    return (
        struct.pack("<I", len(text))
        + text
        + struct.pack("<I", len(name))
        + name.encode()
        + struct.pack("<8I", *numbers)
    )


class Dataset:
    """Writes images one by one."""

    def __init__(self, folder: Path, *, per_file: int = 10**6, metadata_axes: bool = True) -> None:
        self.folder, self.per_file, self.metadata_axes = folder, per_file, metadata_axes
        folder.mkdir(exist_ok=True)
        self.index = b""
        self.stacks: list[bytearray] = []
        self.images = 0

    def name(self, number: int) -> str:
        return f"rec_NDTiffStack{f'_{number}' if number else ''}.tif"

    def add(self, axes: Axes, image: Any, *, elapsed_s: float | None = None, **more: Any) -> None:
        if self.images % self.per_file == 0:
            summary = b'{"PixelSize_um":0.5}'
            head = struct.pack("<IIIIII", 0, 483729, 3, 2, 2355492, len(summary)) + summary
            self.stacks.append(bytearray(b"II*\0" + head))
            self.link = 4
        stack = self.stacks[-1]
        stack += b"\0" * (len(stack) % 2)
        lines, pixels = image.shape[:2]
        bits = image.dtype.itemsize * 8
        rgb = image.ndim == 3
        metadata = {"PixelSizeUm": 0.5, "Exposure": 10, "BitDepth": bits, "Channel": "DAPI"} | more
        metadata["ElapsedTime-ms"] = round(1000 * (self.images * PERIOD_S if elapsed_s is None else elapsed_s))
        if self.metadata_axes:
            metadata["Axes"] = axes
        text = json.dumps(metadata).encode()
        at = len(stack)
        start = at + 2 + 12 * 10 + 4
        tags = [
            (256, 4, 1, pixels), (257, 4, 1, lines), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 2 if rgb else 1),
            (273, 4, 1, start), (277, 3, 1, 3 if rgb else 1), (278, 4, 1, lines), (279, 4, 1, image.nbytes),
            (51123, 2, len(text), start + image.nbytes),
        ]  # fmt: skip
        struct.pack_into("<I", stack, self.link, at)
        stack += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        self.link = len(stack)
        stack += b"\0\0\0\0" + image.tobytes() + text
        kind = 2 if rgb else 0 if bits == 8 else 6
        numbers = (start, pixels, lines, kind, 0, start + image.nbytes, len(text), 0)
        self.index += entry(axes, self.name(len(self.stacks) - 1), numbers)
        self.images += 1

    def write(self, *, index: bool = True) -> Path:
        for number, stack in enumerate(self.stacks):
            (self.folder / self.name(number)).write_bytes(stack)
        if index:
            (self.folder / "NDTiff.index").write_bytes(self.index)
        return self.folder


def dataset(
    folder: Path, times: int = 4, planes: int = 1, channels: Sequence[Any] = (), *, dtype: str = "<u2",
    extra: Axes | None = None, order: Iterable[tuple[int, int, int]] | None = None, **more: Any,
) -> Dataset:  # fmt: skip
    """A dataset whose axes are there only where they have several values; `order` sets which images, and when."""
    data = Dataset(folder, **more)
    every = [(t, z, c) for t in range(times) for z in range(planes) for c in range(max(1, len(channels)))]
    for t, z, c in order or every:
        axes: Axes = {"time": t} | (extra or {})
        if planes > 1:
            axes["z"] = z
        if channels:
            axes["channel"] = channels[c]
        data.add(axes, stamped(t, z, c, dtype=dtype))
    return data


def opened(path: Path, **wanted: Any) -> MovieFile:
    assert ndtiff.claims(path)
    return ndtiff.open_movie(path, Wanted(**wanted))


def pixels(path: Path, **wanted: Any) -> Any:
    with opened(path, **wanted) as one:
        return one.read(0, one.shape[0])


@pytest.mark.parametrize("index", [True, False])
def test_times_planes_and_channels(tmp_path: Path, index: bool) -> None:
    data = dataset(tmp_path / "a", 4, 3, ("GFP", "RFP"), per_file=7)
    folder = data.write(index=index)
    for given in (folder, folder / "rec_NDTiffStack_2.tif", *([folder / "NDTiff.index"] if index else [])):
        with opened(given) as one:
            assert one.shape == (12, 2, *SHAPE)
            assert one.dtype.str == "<u2"
            np.testing.assert_array_equal(one.read(0, 12), movie(4, 3, 2))
            facts = one.facts
            assert facts.planes == 3
            assert facts.channel_names == ("GFP", "RFP")
            assert facts.pixel_um == (0.5, 0.5)
            assert facts.rate_hz == pytest.approx(1 / (2 * PERIOD_S))
            assert facts.times_s == pytest.approx(np.arange(12) * 2 * PERIOD_S)
            assert facts.numbers is not None
            assert facts.numbers.tolist() == list(range(12))
            assert facts.warnings == ()
            assert facts.extra["exposure_ms"] == 10
            assert ("NDTiff.index" if index else "the metadata of the pages") in facts.pages


@pytest.mark.parametrize("index", [True, False])
def test_the_order_of_writing_does_not_matter(tmp_path: Path, index: bool) -> None:
    order = [(t, z, c) for c in (1, 0) for z in (2, 0, 1) for t in (3, 1, 0, 2)]
    data = dataset(tmp_path / "a", 4, 3, (7, 9), order=order)
    with opened(data.write(index=index)) as one:
        np.testing.assert_array_equal(one.read(0, 12), movie(4, 3, 2))
        assert one.facts.channel_names == ()


def test_numbers_show_times_that_are_missing_and_axes_may_be_negative(tmp_path: Path) -> None:
    data = Dataset(tmp_path / "a")
    for t in (0, 1, 4):
        for z in (-2, -1):
            data.add({"time": t, "z": z}, stamped(t, z + 2))
    with opened(data.write()) as one:
        assert one.facts.numbers is not None
        assert one.facts.numbers.tolist() == [0, 1, 2, 3, 8, 9]
        np.testing.assert_array_equal(one.read(0, 6), movie(5, 2)[[0, 1, 2, 3, 8, 9]])


def test_eight_bits(tmp_path: Path) -> None:
    with opened(dataset(tmp_path / "a", dtype="u1").write()) as one:
        assert one.dtype.str == "|u1"
        np.testing.assert_array_equal(one.read(0, 4), movie(4, dtype="u1"))


def test_times_of_the_core_come_before_those_of_the_camera(tmp_path: Path) -> None:
    data = Dataset(tmp_path / "a")
    for t in range(3):
        data.add({"time": t}, stamped(t), elapsed_s=0, TimeReceivedByCore=f"2023-02-18 18:21:40.{t}25000")
    with opened(data.write()) as one:
        assert one.facts.rate_hz == pytest.approx(10)
        assert one.facts.times_s == pytest.approx([0, 0.1, 0.2])
        assert one.facts.channel_names == ("DAPI",)


def test_many_frames_have_a_rate_from_the_first_and_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndtiff, "_MOST_TIMES", 5)
    with opened(dataset(tmp_path / "a", 4, 2).write()) as one:
        assert one.facts.times_s is None
        assert one.facts.rate_hz == pytest.approx(1 / PERIOD_S)


@pytest.mark.parametrize(("axis", "value"), [("position", "site"), ("row", 1), ("exposure", 0)])
@pytest.mark.parametrize("index", [True, False])
def test_several_positions_tiles_or_other_axes_are_refused_by_name(
    tmp_path: Path, axis: str, value: Any, index: bool
) -> None:
    data = dataset(tmp_path / "a", extra={axis: value})
    assert pixels(data.write(index=index)).shape[0] == 4
    data.add({"time": 0, axis: 2}, stamped(0))
    with pytest.raises(StreamError, match=f"2 values of the axis {axis} \\({value}, 2\\)"):
        ndtiff.open_movie(data.write(index=index), Wanted())


def test_an_incomplete_last_time_is_left_out_with_a_warning(tmp_path: Path) -> None:
    order = [(t, z, c) for t in range(4) for z in range(2) for c in range(2)][:-3]
    with opened(dataset(tmp_path / "a", 4, 2, "ab", order=order).write()) as one:
        np.testing.assert_array_equal(one.read(0, 6), movie(3, 2, 2))
        assert one.facts.warnings == ("1 images of 1 incomplete times are left out",)


def test_an_image_that_is_missing_in_the_middle_is_refused(tmp_path: Path) -> None:
    order = [(t, z, 0) for t in range(4) for z in range(2) if (t, z) != (1, 1)]
    folder = dataset(tmp_path / "a", 4, 2, order=order).write()
    with pytest.raises(StreamError, match="without an image for time 1, z 1, channel None"):
        ndtiff.open_movie(folder, Wanted())
    with opened(folder, salvage=True) as one:
        np.testing.assert_array_equal(one.read(0, 6), movie(4, 2)[[0, 1, 4, 5, 6, 7]])
        assert one.facts.numbers is not None
        assert one.facts.numbers.tolist() == [0, 1, 4, 5, 6, 7]


def test_an_image_that_was_written_twice(tmp_path: Path) -> None:
    data = dataset(tmp_path / "a", 2)
    data.add({"time": 1}, stamped(9))
    with opened(data.write()) as one:
        assert one.frame(1)[0, 5, 5] == 9000
        assert "written twice" in one.facts.warnings[0]


def test_wishes(tmp_path: Path) -> None:
    data = Dataset(tmp_path / "a")
    for i, image in enumerate(movie(4, 3, 2).reshape(-1, *SHAPE)):
        data.add({"time": i}, image)
    folder = data.write()
    with opened(folder, channels=2, planes=2, flyback=1) as one:
        np.testing.assert_array_equal(one.read(0, 8), movie(4, 3, 2)[[0, 1, 3, 4, 6, 7, 9, 10]])
        assert one.facts.planes == 2
        assert "as given with --channels" in one.facts.pages
        assert one.facts.rate_hz == pytest.approx(2 / (6 * PERIOD_S))
        assert one.facts.channel_names == ()
    with opened(folder, planes=5) as one:
        assert "4 images of an incomplete last volume" in one.facts.warnings[0]
    with pytest.raises(StreamError, match="multiple"):
        ndtiff.open_movie(folder, Wanted(channels=100))
    folder = dataset(tmp_path / "b", 4, 3, "ab").write()
    with opened(folder, channels=2, planes=3) as one:
        assert one.shape[:2] == (12, 2)
    with opened(folder, flyback=1) as one:
        np.testing.assert_array_equal(one.read(0, 8), movie(4, 3, 2)[[0, 1, 3, 4, 6, 7, 9, 10]])
    for wanted in (Wanted(channels=3), Wanted(planes=2), Wanted(flyback=3), Wanted(channels=1)):
        with pytest.raises(StreamError):
            ndtiff.open_movie(folder, wanted)
    with opened(dataset(tmp_path / "c", 4, 1, "ab").write(), planes=2) as one:
        np.testing.assert_array_equal(one.read(0, 4), movie(4, 1, 2))
        assert one.facts.planes == 2
        assert one.facts.channel_names == ("a", "b")


def test_pages_without_axes_are_frames_with_a_warning(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "a", 4, 1, metadata_axes=False).write(index=False)
    with opened(folder) as one:
        np.testing.assert_array_equal(one.read(0, 4), movie(4))
        assert "each page is taken as a frame" in one.facts.warnings[0]
    with opened(folder, channels=2) as one:
        assert one.shape[:2] == (2, 2)
        assert one.facts.warnings == ()


def test_a_plain_tiff_of_that_name_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x_NDTiffStack.tif"
    tifffile.imwrite(path, movie(3)[:, 0], byteorder=">", compression="zlib", photometric="minisblack", metadata=None)
    with opened(path) as one:
        np.testing.assert_array_equal(one.read(0, 3), movie(3))


def test_a_stack_that_the_index_does_not_name_is_read_by_itself(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "a", 4).write()
    other = folder / "other_NDTiffStack.tif"
    other.write_bytes((dataset(tmp_path / "b", 2).write() / "rec_NDTiffStack.tif").read_bytes())
    assert pixels(other).shape[0] == 2
    assert pixels(folder).shape[0] == 4
    (folder / "NDTiff.index").unlink()
    with pytest.raises(FileError, match="2 NDTiff datasets and no NDTiff"):
        ndtiff.open_movie(folder, Wanted())


def test_the_full_resolution_of_a_pyramid_is_read(tmp_path: Path) -> None:
    dataset(tmp_path / "Full resolution", 3).write()
    np.testing.assert_array_equal(pixels(tmp_path), movie(3))


def test_images_of_unlike_size_or_type_are_refused(tmp_path: Path) -> None:
    for image in (stamped(4, shape=(6, 10)), stamped(4, dtype="u1")):
        data = dataset(tmp_path / "a", 4)
        data.add({"time": 4}, image)
        with pytest.raises(StreamError, match="image 4 of"):
            ndtiff.open_movie(data.write(), Wanted())
        with pytest.raises(StreamError, match="on the first page"):
            ndtiff.open_movie(_without_index(data), Wanted())


def _without_index(data: Dataset) -> Path:
    (data.folder / "NDTiff.index").unlink()
    return data.folder


def test_rgb_is_refused(tmp_path: Path) -> None:
    data = Dataset(tmp_path / "a")
    data.add({"time": 0}, np.zeros((*SHAPE, 3), "u1"))
    with pytest.raises(StreamError, match="RGB"):
        ndtiff.open_movie(data.write(), Wanted())
    with pytest.raises(StreamError, match="greyscale"):
        ndtiff.open_movie(_without_index(data), Wanted())


def test_a_missing_stack_is_refused_by_name(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "a", 9, per_file=3).write()
    (folder / "rec_NDTiffStack_1.tif").unlink()
    with pytest.raises(FileError, match=r"rec_NDTiffStack_1\.tif, which NDTiff\.index names"):
        ndtiff.open_movie(folder, Wanted())
    with opened(folder, salvage=True) as one:
        np.testing.assert_array_equal(one.read(0, 6)[:, 0, 5, 5], [0, 1000, 2000, 6000, 7000, 8000])
        assert one.problem


def test_a_stack_that_is_cut(tmp_path: Path) -> None:
    data = dataset(tmp_path / "a", 5)
    path = data.write() / "rec_NDTiffStack.tif"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 7 // 10])
    with pytest.raises(FileError, match=r"is cut off: 2 of its 5 images"):
        ndtiff.open_movie(path, Wanted())
    np.testing.assert_array_equal(pixels(path, salvage=True), movie(3))
    with pytest.raises(FileError, match="cannot be read as a whole TIFF"):
        ndtiff.open_movie(_without_index(data), Wanted())
    np.testing.assert_array_equal(pixels(path, salvage=True), movie(3))


def test_a_stack_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    data = dataset(tmp_path / "a", 5)
    path = data.write() / "rec_NDTiffStack.tif"
    with opened(path) as one:
        path.write_bytes(path.read_bytes()[:600])
        one.frame(0)
        with pytest.raises(StageError, match="frame 4 of"):
            one.frame(4)
    one.close()
    with pytest.raises(StageError):
        one.frame(0)


def test_an_index_that_is_written_at_the_moment(tmp_path: Path) -> None:
    data = dataset(tmp_path / "a", 4)
    folder = data.write()
    for tail in (b"\0\0", data.index[:20], data.index[: len(data.index) // 4 - 5]):
        (folder / "NDTiff.index").write_bytes(data.index + tail)
        with opened(folder) as one:
            np.testing.assert_array_equal(one.read(0, 4), movie(4))
            assert one.facts.warnings[0].startswith("NDTiff.index: ")
    (folder / "NDTiff.index").write_bytes(data.index + b"\0" * 5000)
    with opened(folder) as one:
        assert "ended abruptly" in one.facts.warnings[0]


@pytest.mark.parametrize(
    "damage",
    [
        entry("{no json", "rec_NDTiffStack.tif", [0] * 8),
        entry('{"time": 1.5}', "rec_NDTiffStack.tif", [0] * 8),
        entry('{"time": 1' + "0" * 40 + "}", "rec_NDTiffStack.tif", [0] * 8),
        entry("[" * 5000, "rec_NDTiffStack.tif", [0] * 8),
        struct.pack("<I", 2**31) + b"x" * 100,
        b"\0" * 4 + b"x" * 100,
    ],
)
def test_an_index_that_is_damaged_is_refused(tmp_path: Path, damage: bytes) -> None:
    data = dataset(tmp_path / "a", 4)
    folder = data.write()
    (folder / "NDTiff.index").write_bytes(data.index + damage + data.index)
    with pytest.raises(FileError, match="is damaged"):
        ndtiff.open_movie(folder, Wanted())
    np.testing.assert_array_equal(pixels(folder, salvage=True), movie(4))


@pytest.mark.parametrize(
    ("numbers", "error"),
    [
        ((4_000_000_000, 10, 12, 1, 0, 0, 0, 0), FileError),
        ((600, 10**9, 10**9, 1, 0, 0, 0, 0), StreamError),
        ((600, 0, 12, 1, 0, 0, 0, 0), StreamError),
        ((600, 10, 12, 9, 0, 0, 0, 0), StreamError),
        ((600, 10, 12, 1, 1, 0, 0, 0), StreamError),
        ((600, 10, 12, 1, 0, 4_000_000_000, 4_000_000_000, 0), FileError),
        ((600, 10, 11, 1, 0, 0, 0, 0), FileError),
    ],
)
def test_numbers_of_the_index_that_do_not_fit_are_refused(
    tmp_path: Path, numbers: tuple[int, ...], error: type[Exception]
) -> None:
    folder = dataset(tmp_path / "a", 4).write()
    (folder / "NDTiff.index").write_bytes(entry({"time": 0}, "rec_NDTiffStack.tif", numbers))
    with pytest.raises(error):
        ndtiff.open_movie(folder, Wanted())


@pytest.mark.parametrize(("width", "height", "pixel_type"), [(10, 11, 1), (12, 10, 1), (10, 12, 0), (20, 12, 0)])
def test_an_index_that_says_another_size_or_type_than_the_stack_is_refused(
    tmp_path: Path, width: int, height: int, pixel_type: int
) -> None:
    folder = dataset(tmp_path / "a", 2).write()
    start = read_ndtiff_index(folder / "NDTiff.index")[0][0].offset
    numbers = (start, width, height, pixel_type, 0, 0, 0, 0)
    (folder / "NDTiff.index").write_bytes(entry({"time": 0}, "rec_NDTiffStack.tif", numbers))
    with pytest.raises(FileError, match="its first page is no image that"):
        ndtiff.open_movie(folder, Wanted())


@pytest.mark.parametrize("name", ["../secret.tif", "/etc/hostname", "a\\b.tif", "", ".."])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder = dataset(tmp_path / "a", 4).write()
    (folder / "NDTiff.index").write_bytes(entry({"time": 0}, name, (600, 10, 12, 1, 0, 0, 0, 0)))
    with pytest.raises(FileError, match=r"names the file|is damaged"):
        ndtiff.open_movie(folder, Wanted())


def test_an_empty_index_is_refused(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "a", 4).write()
    for content in (b"", b"\0" * 100):
        (folder / "NDTiff.index").write_bytes(content)
        with pytest.raises(FileError, match="has no entry"):
            ndtiff.open_movie(folder, Wanted())
    with pytest.raises(FileError, match="cannot be read"):
        read_ndtiff_index(folder / "missing")


def test_claims(tmp_path: Path) -> None:
    assert not ndtiff.claims(tmp_path)
    assert not ndtiff.claims(tmp_path / "missing_NDTiffStack.tif")
    tifffile.imwrite(tmp_path / "plain.tif", stamped(0))
    assert not ndtiff.claims(tmp_path / "plain.tif")
    assert not ndtiff.claims(tmp_path)
    assert not ndtiff.claims(Path("a\0b"))


@pytest.mark.skipif(not (DATA / "ndtiff").is_dir(), reason="no shared/data/ndtiff")
def test_real_stacks_without_index() -> None:
    with opened(DATA / "ndtiff" / "NDTiff3.2_monochrome_NDTiffStack.tif") as one:
        assert one.shape == (128, 1, 64, 64)
        assert one.dtype.str == "<u2"
        assert one.facts.planes == 16
        assert one.facts.rate_hz == pytest.approx(82.78, abs=0.01)
        assert one.facts.warnings == ()
        pages = tifffile.imread(DATA / "ndtiff" / "NDTiff3.2_monochrome_NDTiffStack.tif", key=range(128))
        np.testing.assert_array_equal(one.read(0, 128)[:, 0], pages)
    with opened(DATA / "ndtiff" / "ndtiff3.2_11bit_NDTiffStack.tif") as one:
        assert one.shape == (10, 1, 64, 64)
        assert one.facts.planes == 1
        assert one.facts.rate_hz == pytest.approx(96.86, abs=0.01)
        assert one.facts.channel_names == ("DAPI",)
        assert one.facts.extra["bits"] == 11
    with pytest.raises(FileError, match="2 NDTiff datasets"):
        ndtiff.open_movie(DATA / "ndtiff", Wanted())
