"""Datasets of NDTiff (Micro-Manager, pycro-manager): ``NDTiff.index`` and one or more ``*NDTiffStack*.tif``.

The index says where each image lies and its place along the axes time, z and channel. Without an index the metadata of
each page (TIFF tag 51123) say its place, as version 3 writes them; where they do not, each page is a frame. See
`deepbid_rt.movies.ndtiff_index`. Facts after https://github.com/micro-manager/NDTiffStorage and real files.
"""

from __future__ import annotations

import json
import os
import re
import struct
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.frame_limits import check_frame_limits, name_inside
from deepbid_rt.movies.image_axes import ImageOrder, are_axes, order_images
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.ndtiff_index import Axes, IndexEntry, read_ndtiff_index
from deepbid_rt.movies.page_files import PageFiles, read_exactly
from deepbid_rt.movies.wanted import Wanted
from deepbid_rt.recording.tiff_pages import DamagedError, PageLayout, TiffPages

_INDEX = "NDTiff.index"
_FULL = "Full resolution"
_STACK_NAME = re.compile(r".*NDTiffStack.*\.tiff?", re.DOTALL)
_NUMBERED = re.compile(r"(?P<prefix>.*NDTiffStack)(?:_(?P<number>\d{1,9}))?\.tiff?", re.DOTALL)
_DTYPES = {0: "|u1", 1: "<u2", 3: "<u2", 4: "<u2", 5: "<u2", 6: "<u2"}
_RGB = 2
_METADATA_TAG = 51123
_MAX_METADATA = 2**20
_MOST_TIMES = 20_000
_ELAPSED = re.compile(rb'"ElapsedTime-ms"\s*:\s*"?(\d{1,15}(?:\.\d{1,15})?)')
_RECEIVED = re.compile(rb'"TimeReceivedByCore"\s*:\s*"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?)"')


def claims(path: Path) -> bool:
    """Tell whether a path is a folder of an NDTiff dataset, its index, or a file named ``*NDTiffStack*.tif``."""
    try:
        if path.is_dir():
            if (path / _INDEX).is_file() or (path / _FULL / _INDEX).is_file():
                return True
            return any(_STACK_NAME.fullmatch(one.name) for one in path.iterdir())
        return path.is_file() and (path.name == _INDEX or _STACK_NAME.fullmatch(path.name) is not None)
    except OSError:
        return False


def open_movie(path: Path, wanted: Wanted) -> MovieFile:
    """Open the whole dataset that a folder, an index or a stack belongs to.

    Raises
    ------
    FileError
        When files are missing or damaged, or a folder without index holds several datasets.
    StreamError
        When there are images of several positions, of unlike size or type, or the wishes contradict the axes.
    """
    folder = path if path.is_dir() else path.parent
    if path.is_dir() and not (folder / _INDEX).is_file() and (folder / _FULL / _INDEX).is_file():
        folder = folder / _FULL  # of an image pyramid
    index = folder / _INDEX
    if index.is_file():
        entries, problem = read_ndtiff_index(index, salvage=wanted.salvage)
        if path.is_dir() or path.name == _INDEX or any(one.file_name == path.name for one in entries):
            return IndexedNDTiff(path, index, entries, problem, wanted)
    if not path.is_dir():
        return PlainNDTiff(path, _series(path), wanted)
    stacks = sorted(one for one in folder.iterdir() if _STACK_NAME.fullmatch(one.name))
    series = {tuple(_series(one)) for one in stacks}
    if len(series) != 1:
        raise FileError(
            f"{folder} with {len(series)} NDTiff datasets and no {_INDEX} ("
            f"{', '.join(one.name for one in stacks[:4])})",
            expected="one dataset",
            todo="give one of the files",
        )
    return PlainNDTiff(path, list(series.pop()), wanted)


def _series(stack: Path) -> list[Path]:
    """Return the stacks of the dataset that one belongs to: ``a_NDTiffStack.tif``, ``a_NDTiffStack_1.tif`` …."""
    own = _NUMBERED.fullmatch(stack.name)
    if own is None:
        return [stack]
    numbered = []
    for one in stack.parent.iterdir():
        match = _NUMBERED.fullmatch(one.name)
        if match and match["prefix"] == own["prefix"]:
            numbered.append((int(match["number"] or 0), one))
    return [one for _, one in sorted(numbered)]


class IndexedNDTiff(MovieFile):
    """An NDTiff dataset with its index; see `open_movie`.

    Parameters
    ----------
    path : Path
        What the user gave.
    index : Path
        The index; the files lie beside it.
    entries : list of IndexEntry
        What it holds.
    problem : str or None
        What is wrong behind the last entry.
    wanted : Wanted
        See `deepbid_rt.movies.image_axes.order_images`.
    """

    def __init__(self, path: Path, index: Path, entries: list[IndexEntry], problem: str | None, wanted: Wanted) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._files: dict[str, BinaryIO] = {}
        warnings = [f"{index.name}: {problem}"] if problem else []
        first = entries[0]
        self.dtype = _dtype(index, entries)
        check_frame_limits(index, 1, first.height, first.width)
        try:
            self._entries = self._check_files(index, entries, wanted, warnings)
            order = order_images([one.axes for one in self._entries], wanted, name=str(index), source=index.name)
            check_frame_limits(index, order.images.shape[1], first.height, first.width)
            self._images = order.images
            self.shape = (*order.images.shape, first.height, first.width)
            self.facts = _facts(order, self._metadata, warnings)
        except BaseException:
            self.close()
            raise

    def _check_files(
        self, index: Path, entries: list[IndexEntry], wanted: Wanted, warnings: list[str]
    ) -> list[IndexEntry]:
        """Open all files and return the images that lie in them as a whole."""
        nbytes = entries[0].height * entries[0].width * self.dtype.itemsize
        by_file: dict[str, list[IndexEntry]] = {}
        for one in entries:
            by_file.setdefault(one.file_name, []).append(one)
        there = []
        for name, inside in by_file.items():
            path = name_inside(index.parent, name, index)
            try:
                self._files[name] = path.open("rb", buffering=0)
                size = os.fstat(self._files[name].fileno()).st_size
                _check_stack(path, self._files[name], inside)
            except (OSError, DamagedError) as error:
                if not wanted.salvage:
                    raise FileError(
                        f"{path}, which {index.name} names, cannot be read "
                        f"({(error.strerror if isinstance(error, OSError) else None) or error})",
                        expected="all files of the dataset beside the index",
                        todo="copy the whole folder, or use what is there with --salvage",
                    ) from error
                self.problem = self.problem or f"{name} is missing or damaged"
                continue
            whole = [one for one in inside if one.offset + nbytes <= size]
            if len(whole) < len(inside) and not wanted.salvage:
                raise FileError(
                    f"{path} is cut off: {len(inside) - len(whole)} of its {len(inside)} images lie beyond its end",
                    expected=f"a file as long as {index.name} says",
                    todo="copy it again, or use the whole images with --salvage",
                )
            if len(whole) < len(inside):
                self.problem = self.problem or f"{name} is cut off"
            there += whole
        if not there:
            raise FileError(
                f"{index} without one whole image in its files",
                expected="the files of the dataset",
                todo="copy the whole folder",
            )
        if len(there) < len(entries):
            warnings.append(f"{len(entries) - len(there)} images that are missing or cut off are left out")
        return there

    def _metadata(self, image: int) -> bytes:
        """Return the JSON of an image; empty when it has none."""
        one = self._entries[image]
        return _read_at(self._files[one.file_name], one.metadata_offset, one.metadata_length)

    def _read_frame(self, i: int, out: NDArray[Any]) -> None:
        for number, channel in zip(self._images[i], out, strict=True):
            one = self._entries[int(number)]
            with self._lock:
                file = self._files[one.file_name]
                file.seek(one.offset)
                read_exactly(file, channel)

    def close(self) -> None:
        """Close the files; may be called twice."""
        for file in self._files.values():
            file.close()


def _dtype(index: Path, entries: list[IndexEntry]) -> np.dtype[Any]:
    """Return the type of all pixels. Raises `StreamError` when they differ or no stream allows them."""
    first = entries[0]
    if first.pixel_type == _RGB:
        raise StreamError(
            f"{index} with RGB images",
            expected="greyscale images of 8 to 16 bits",
            todo="save one colour, or the sum of the colours, as a greyscale TIFF file",
        )
    if first.pixel_type not in _DTYPES or any(one.compression for one in entries):
        raise StreamError(
            f"{index} with images of pixel type {first.pixel_type}, or compressed ones",
            expected="uncompressed images of 8 to 16 bits",
            todo="save it with a version of Micro-Manager that writes those",
        )
    dtype = np.dtype(_DTYPES[first.pixel_type])
    for i, one in enumerate(entries):
        if (one.width, one.height, _DTYPES.get(one.pixel_type)) != (first.width, first.height, dtype.str):
            raise StreamError(
                f"image {i} of {index} with {one.height} lines, {one.width} pixels and pixel type {one.pixel_type}",
                expected=f"{first.height} lines, {first.width} pixels and pixel type {first.pixel_type} as image 0",
                todo="save the images of each size and type as a recording of its own",
            )
    return dtype


def _check_stack(path: Path, file: BinaryIO, inside: list[IndexEntry]) -> None:
    """Compare the index with the first page of a stack. Raises `DamagedError` when they disagree."""
    file.seek(0)
    head = file.read(8)
    if head[:4] != b"II*\0" or len(head) < 8:
        raise DamagedError("it is no little-endian TIFF file")
    page = TiffPages(file).page(struct.unpack("<I", head[4:])[0])  # type: ignore[arg-type]
    first = inside[0]
    expected = PageLayout(first.height, first.width, 1, 8 * np.dtype(_DTYPES[first.pixel_type]).itemsize, 1)
    if page.layout != expected or page.start not in {one.offset for one in inside}:
        raise DamagedError(f"its first page is no image that {_INDEX} names")


def _read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    if not 0 < length <= _MAX_METADATA:
        return b""
    file.seek(offset)
    return file.read(length) or b""


class PlainNDTiff(MovieFile):
    """Stacks of an NDTiff dataset without its index; see `open_movie`.

    Parameters
    ----------
    path : Path
        What the user gave.
    stacks : list of Path
        The stacks in their order.
    wanted : Wanted
        See `deepbid_rt.movies.image_axes.order_images`.
    """

    def __init__(self, path: Path, stacks: list[Path], wanted: Wanted) -> None:
        self.path = path
        self._pages = PageFiles(stacks, salvage=wanted.salvage)
        try:
            self._order(stacks, wanted)
        except BaseException:
            self._pages.close()
            raise

    def _order(self, stacks: Sequence[Path], wanted: Wanted) -> None:
        pages = self._pages
        self._places = [(file, page) for file, count in enumerate(pages.counts) for page in range(count)]
        metadata: list[bytes] = []
        for number, stack in enumerate(stacks):
            with stack.open("rb") as file:
                metadata += [_page_metadata(file, offset) for offset in pages.offsets(number)]
        axes = [_axes(one) for one in metadata]
        warnings = []
        known = [one for one in axes if one]
        if len(known) == len(axes):
            order = order_images(known, wanted, name=str(self.path), source="the metadata of the pages")
        else:
            if wanted.channels is None and wanted.planes is None:
                warnings.append(
                    f"neither {_INDEX} nor the metadata of all pages say their channel and plane: each page is taken "
                    "as a frame, and --channels and --planes set another order"
                )
            one_by_one: list[Axes] = [{"time": i} for i in range(len(axes))]
            order = order_images(one_by_one, wanted, name=str(self.path), source="the order of the pages")
        check_frame_limits(self.path, order.images.shape[1], *pages.shape)
        self._images = order.images
        self.shape = (*order.images.shape, *pages.shape)
        self.dtype, self.uncompressed, self.problem = pages.dtype, pages.uncompressed, pages.problem
        self.facts = _facts(order, metadata.__getitem__, warnings)

    def _read_frame(self, i: int, out: NDArray[Any]) -> None:
        for number, channel in zip(self._images[i], out, strict=True):
            self._pages.read(*self._places[int(number)], channel)

    def close(self) -> None:
        """Close the files; may be called twice."""
        self._pages.close()


def _page_metadata(file: BinaryIO, offset: int) -> bytes:
    """Return the JSON in the metadata tag of a page of a little-endian classic TIFF; empty when it has none."""
    file.seek(0)
    if file.read(4) != b"II*\0":
        return b""
    file.seek(offset)
    count = int.from_bytes(file.read(2), "little")
    entries = file.read(12 * count)
    for at in range(0, len(entries) - 11, 12):
        code, kind, length, where = struct.unpack_from("<HHII", entries, at)
        if code == _METADATA_TAG and kind == 2 and length > 4:
            return _read_at(file, where, length).rstrip(b"\0")
    return b""


def _json(metadata: bytes) -> dict[str, Any]:
    try:
        found = json.loads(metadata)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _axes(metadata: bytes) -> Axes:
    """Return the axes of an image; empty when its metadata do not say them."""
    axes = _json(metadata).get("Axes")
    return axes if isinstance(axes, dict) and are_axes(axes) else {}


def _facts(order: ImageOrder, metadata: Callable[[int], bytes], warnings: list[str]) -> MovieFacts:
    """Return the facts of a dataset; `metadata` returns the JSON of an image by its number."""
    first = _json(metadata(int(order.images[0, 0])))
    size = first.get("PixelSizeUm", first.get("PixelSize_um"))
    known = isinstance(size, int | float) and 0 < size < 1e6
    said = {"exposure_ms": first.get("Exposure"), "bits": first.get("BitDepth")}
    extra = {"software": "NDTiff"} | {key: one for key, one in said.items() if isinstance(one, int | float)}
    name = first.get("Channel")
    names = order.channel_names or ((name,) if isinstance(name, str) and name and order.images.shape[1] == 1 else ())
    frames = order.images[:, 0]
    times_s = _times([metadata(int(one)) for one in frames]) if len(frames) <= _MOST_TIMES else None
    return MovieFacts(
        format="NDTiff",
        pages=order.words,
        planes=order.planes,
        rate_hz=_rate(frames, order.planes, metadata),
        pixel_um=(float(size), float(size)) if known and size is not None else None,
        channel_names=names,
        times_s=times_s,
        numbers=order.numbers,
        extra=extra,
        warnings=(*warnings, *order.warnings),
    )


def _times(metadata: list[bytes]) -> NDArray[np.float64] | None:
    """Return the times after the first image: of the clock that rises; None when neither does."""
    for times in ([_received_s(one) for one in metadata], [_elapsed_s(one) for one in metadata]):
        if None in times:
            continue
        times_s = np.array(times, np.float64)
        if len(times_s) > 1 and (np.diff(times_s) >= 0).all() and times_s[-1] > times_s[0]:
            return np.asarray(times_s - times_s[0], np.float64)
    return None


def _received_s(metadata: bytes) -> float | None:
    match = _RECEIVED.search(metadata)
    try:
        received = datetime.fromisoformat(match[1].decode()).replace(tzinfo=UTC) if match else None
    except ValueError:
        return None
    return received.timestamp() if received else None


def _elapsed_s(metadata: bytes) -> float | None:
    match = _ELAPSED.search(metadata)
    return float(match[1]) / 1000 if match else None


def _rate(frames: NDArray[np.int64], planes: int, metadata: Callable[[int], bytes]) -> float | None:
    """Return frames per second over all planes, by the first frames of the first and of the last volume."""
    step = planes if len(frames) > planes else 1
    starts = frames[::step]
    times_s = _times([metadata(int(starts[0])), metadata(int(starts[-1]))])
    return None if times_s is None else float(step * (len(starts) - 1) / times_s[-1])
