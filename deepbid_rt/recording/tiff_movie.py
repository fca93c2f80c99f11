"""Reading movies (T, C, Y, X) from TIFF files.

The pages of a file are ordered by frame and, within a frame, by channel. `deepbid_rt.recording.tiff_writer` writes.
"""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from deepbid_rt.errors import DeepbidError, FileError, StreamError
from deepbid_rt.frame import DTYPES


class TiffMovie:
    """A movie in one TIFF file of any size. Pixels are read on demand.

    Opening reads the tags of every page (about 0.1 ms each), so that an unsuitable file is refused before anything
    starts. Uncompressed pages are memory-mapped; other pages are decoded one by one.

    Parameters
    ----------
    path : Path or str
        A TIFF, BigTIFF, ImageJ or tifffile ("shaped") file, either byte order.
    channels : int
        Number of channels, which alternate as pages.

    Attributes
    ----------
    shape : tuple of int
        (T, C, Y, X).
    dtype : numpy.dtype
        Type of the returned pixels, always little-endian.

    Raises
    ------
    FileError
        When the file is missing, empty, not a TIFF, or damaged.
    StreamError
        When the type or shape of its pages is not allowed in a stream, or differs between pages.
    """

    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]

    def __init__(self, path: Path | str, channels: int = 1) -> None:
        self.path = Path(path)
        self._mmap: mmap.mmap | None = None
        self._map: NDArray[np.uint8] | None = None
        try:
            self._tif = tifffile.TiffFile(self.path)
            try:
                self._index(channels)
            except BaseException:
                self.close()
                raise
        except DeepbidError:
            raise
        except Exception as error:  # damaged tags make tifffile raise exceptions of any type
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            raise FileError(
                f"{self.path} cannot be read as a TIFF ({reason})",
                expected="an intact TIFF or BigTIFF file",
                todo="check the path, and whether another program can open the file",
            ) from error

    def _index(self, channels: int) -> None:
        """Read the tags of every page; find the shape and, if all pages are contiguous, the position of each."""
        first = self._tif.pages.first
        self.dtype = _stream_dtype(self.path, first)
        size = self.path.stat().st_size
        planes = 0
        starts: list[int] = []
        for number in range(len(self._tif.pages)):
            page = self._tif.pages[number]
            if (page.shape, page.dtype) != (first.shape, first.dtype):
                raise StreamError(
                    f"page {number} of {self.path} with {page.dtype} pixels of shape {page.shape}",
                    expected=f"{first.dtype} pixels of shape {first.shape} as on page 0",
                    todo="save the pages of each size and type in a separate file",
                )
            if page.is_final:  # contiguous and uncompressed
                here = self._planes_of(first) if number == 0 else [page.dataoffsets[0]]
                ends = [start + page.nbytes for start in here]
            else:
                here = []
                ends = [max(start + n for start, n in zip(page.dataoffsets, page.databytecounts, strict=True))]
            if ends[-1] > size:
                raise self._cut_off(planes + sum(end <= size for end in ends))
            planes += len(ends)
            starts += here
        self._tif.filehandle.seek(self._tif.pages.next_page_offset or 0)
        if any(
            self._tif.filehandle.read(self._tif.tiff.offsetsize)
        ):  # the last page points to a page that does not exist
            raise self._cut_off(planes)
        if channels < 1 or planes % channels:
            raise StreamError(
                f"{self.path} of {planes} pages for {channels} channels",
                expected="a whole number of frames",
                todo="give the number of recorded channels with --channels",
            )
        lines, pixels = first.shape
        self.shape = (planes // channels, channels, lines, pixels)
        if len(starts) == planes:
            self._starts = starts
            with self.path.open("rb") as file:
                self._mmap = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._map = np.frombuffer(self._mmap, np.uint8)
        else:
            self._plane(0)  # so that a missing codec is found now

    def _cut_off(self, whole: int) -> FileError:
        return FileError(
            f"{self.path} is cut off after {whole} complete pages",
            expected="a complete file",
            todo="copy it again, or save its complete pages as a new file",
        )

    def _planes_of(self, page: tifffile.TiffPage) -> list[int]:
        """Return the positions of the planes of page 0: several when a single page describes a whole stack."""
        alone = (self._tif.is_imagej or self._tif.is_shaped) and not self._tif.is_ome and len(self._tif.pages) == 1
        series = self._tif.series[0] if alone else None
        if series is None or series.dataoffset is None or series.shape[-2:] != page.shape:
            return [page.dataoffsets[0]]
        return [series.dataoffset + page.nbytes * i for i in range(math.prod(series.shape[:-2]))]

    def _plane(self, number: int) -> NDArray[Any]:
        """Return plane `number` (Y, X), in the byte order of the file."""
        if self._map is not None:
            start, (lines, pixels) = self._starts[number], self.shape[2:]
            raw = self._map[start : start + lines * pixels * self.dtype.itemsize]
            return raw.view(self.dtype.newbyteorder(self._tif.byteorder)).reshape(lines, pixels)
        try:
            return np.asarray(self._tif.pages[number].asarray())
        except Exception as error:  # each codec raises its own exceptions
            raise FileError(
                f"page {number} of {self.path} cannot be decoded ({error})",
                expected="intact pages, uncompressed or with an installed codec",
                todo="save the movie uncompressed, or install the Python package imagecodecs",
            ) from error

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        """Return frames `t0` to `t1` - 1 as a new array (t, C, Y, X).

        Raises `FileError` when a page cannot be decoded.
        """
        frames, channels, lines, pixels = self.shape
        if not 0 <= t0 <= t1 <= frames:
            raise IndexError(f"frames {t0}..{t1} of {frames}")
        out = np.empty((t1 - t0, channels, lines, pixels), self.dtype)
        for number, plane in enumerate(out.reshape(-1, lines, pixels), start=t0 * channels):
            plane[...] = self._plane(number)
        if self._mmap is not None and hasattr(mmap, "MADV_DONTNEED"):  # absent on Windows
            # Otherwise the pages stay in the memory of this process, in the end those of the whole movie.
            self._mmap.madvise(mmap.MADV_DONTNEED)
        return out

    @property
    def mapped(self) -> bool:
        """True when all pages are uncompressed and memory-mapped, so that decoding cannot fail."""
        return self._map is not None

    def frame(self, i: int) -> NDArray[Any]:
        """Return frame `i` as a new array (C, Y, X). Raises `FileError` when a page cannot be decoded."""
        frame: NDArray[Any] = self.read(i, i + 1)[0]
        return frame

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._map = self._mmap = None
        self._tif.close()

    def __enter__(self) -> TiffMovie:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _stream_dtype(path: Path, page: tifffile.TiffPage) -> np.dtype[Any]:
    """Return the little-endian type of a page's pixels. Raises `StreamError` when a stream does not allow it."""
    dtype = None if page.dtype is None else np.dtype(page.dtype).newbyteorder("<")
    if dtype is None or dtype.str not in DTYPES or len(page.shape) != 2:
        raise StreamError(
            f"{path} with {page.dtype} pages of shape {page.shape}",
            expected="greyscale pages (Y, X) of uint8, uint16, int16 or float32",
            todo="convert the movie, to int16 if its counts allow it",
        )
    return dtype
