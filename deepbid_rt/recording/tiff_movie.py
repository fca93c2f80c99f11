"""Reading movies (T, C, Y, X) from TIFF files.

The pages of a file are ordered by frame and, within a frame, by channel. `deepbid_rt.recording.tiff_writer` writes.
"""

from __future__ import annotations

import math
import threading
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from deepbid_rt.errors import DeepbidError, FileError, StageError, StreamError
from deepbid_rt.frame import DTYPES, MAX_SIDE
from deepbid_rt.recording.tiff_expansion import check_expansion
from deepbid_rt.recording.tiff_pages import NO_START, PageLayout, TiffPages


class TiffMovie:
    """A movie in one TIFF file of any size. Pixels are read on demand.

    Opening reads the tags of every page (about 0.1 ms each), so that an unsuitable file is refused before anything
    starts, and before anything is allocated for it. Uncompressed pages are read as they are; other pages are decoded
    one by one.

    Parameters
    ----------
    path : Path or str
        A TIFF, BigTIFF, ImageJ or tifffile ("shaped") file, either byte order.
    channels : int
        Number of channels, which alternate as pages.
    salvage : bool
        Take the whole frames of a file that is cut off or damaged; `problem` then says what is wrong with it. Else
        such a file is refused.

    Attributes
    ----------
    shape : tuple of int
        (T, C, Y, X).
    dtype : numpy.dtype
        Type of the returned pixels, always little-endian.
    problem : str or None
        With `salvage`, what is wrong with the file; None when it is intact.

    Raises
    ------
    FileError
        When the file is missing, empty, not a TIFF, or damaged.
    StreamError
        When the type or shape of its pages is not allowed in a stream, or differs between pages.
    """

    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]

    def __init__(self, path: Path | str, channels: int = 1, *, salvage: bool = False) -> None:
        self.path = Path(path)
        self.problem: str | None = None
        self._lock = threading.Lock()  # of the position in the file
        self._tif: tifffile.TiffFile | None = None
        try:
            self._file = self.path.open("rb")
            try:
                self._index(channels, salvage)
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

    def _index(self, channels: int, salvage: bool) -> None:
        """Find the pages and check their shape and type."""
        self._pages = TiffPages(self._file)
        found = self._pages.find(salvage=salvage)
        first = found.first.layout
        self._tif = tifffile.TiffFile(self.path)
        self.dtype = _stream_dtype(self.path, self._tif.pages.first)
        self._check_size(first)
        if found.odd is not None:
            number, page = found.odd
            raise StreamError(
                f"page {number} of {self.path} with {page.layout.dtype} pixels of shape {page.layout.shape}",
                expected=f"{first.dtype} pixels of shape {first.shape} as on page 0",
                todo="save the pages of each size and type in a separate file",
            )
        self._offsets, self._starts = found.offsets, found.starts
        planes = len(found.offsets)
        if planes == 1 and found.starts[0] != NO_START and (stack := self._planes_on_page_0()) > 1:
            planes = min(stack, (self._pages.size - found.starts[0]) // first.nbytes)
            self._starts = array("Q", range(found.starts[0], found.starts[0] + planes * first.nbytes, first.nbytes))
            if planes < stack:
                found.problem = "it is cut off"
        self.problem = found.problem
        if found.problem and not salvage:
            raise self._damaged(found.problem, planes)
        if salvage and self.problem:
            planes -= planes % max(1, channels)
        if channels < 1 or planes % channels:
            raise StreamError(
                f"{self.path} of {planes} pages for {channels} channels",
                expected="a whole number of frames",
                todo="give the number of recorded channels with --channels",
            )
        if planes == 0:
            raise self._damaged(found.problem or "no page is whole", 0)
        self.shape = (planes // channels, channels, first.lines, first.pixels)
        for number in found.compressions.values():
            if found.starts[number] == NO_START:
                self._decode_at_opening(number)

    def _check_size(self, layout: PageLayout) -> None:
        if max(layout.lines, layout.pixels) > MAX_SIDE:
            raise StreamError(
                f"{self.path} with pages of {layout.lines} lines and {layout.pixels} pixels",
                expected=f"1..{MAX_SIDE} lines and pixels",
                todo="save the movie in smaller pieces",
            )

    def _damaged(self, problem: str, whole: int) -> FileError:
        what = "is cut off" if problem == "it is cut off" else "is damaged"
        why = "" if problem == "it is cut off" else f" ({problem})"
        return FileError(
            f"{self.path} {what} after {whole} complete pages{why}",
            expected="a complete file",
            todo="copy it again, or use its complete pages: deepbid-rt recover writes them to a new file, and "
            "deepbid-rt denoise --salvage denoises them",
        )

    def _planes_on_page_0(self) -> int:
        """Return the number of planes that page 0 stands for, as its description says: ImageJ and tifffile write it."""
        tif = self._tif
        if tif is None or tif.is_ome or not (tif.is_imagej or tif.is_shaped):
            return 1
        if tif.is_imagej:
            planes: int = int((tif.imagej_metadata or {}).get("images", 1))
            return planes
        shape = (tif.shaped_metadata or ({},))[0].get("shape", ())
        return int(math.prod(shape)) // max(1, math.prod(tif.pages.first.shape))

    def _decode_at_opening(self, number: int) -> None:
        """Decode one page of each compression, so that a missing codec is found now."""
        try:
            self._decode(number)
        except Exception as error:  # each codec raises its own exceptions
            raise FileError(
                f"page {number} of {self.path} cannot be decoded ({error})",
                expected="intact pages, uncompressed or with an installed codec",
                todo="save the movie uncompressed, or install the Python package imagecodecs",
            ) from error

    def _decode(self, number: int) -> NDArray[Any]:
        """Return plane `number` (Y, X) of a compressed file. Raises what the codec raises."""
        if self._tif is None:
            raise ValueError("the file is closed")
        with self._lock:
            handle = self._tif.filehandle
            handle.seek(self._offsets[number])
            page = tifffile.TiffPage(self._tif, index=number)
        check_expansion(page)
        return np.asarray(page.asarray())

    def _read_plane(self, number: int, out: NDArray[Any]) -> None:
        """Fill `out` (Y, X), C-contiguous, with the plane `number`. Raises `StageError`."""
        channels = self.shape[1]
        try:
            if self._starts[number] == NO_START:
                out[...] = self._decode(number)
                return
            self._read_bytes(self._starts[number], out.reshape(-1).view(np.uint8).data)
        except Exception as error:  # each codec raises its own exceptions
            raise StageError(
                f"frame {number // channels} of {self.path} cannot be read ({error})",
                expected="a file that stays as it was when it was opened, with intact pages",
                todo="check whether another program writes to it, or use its complete frames with deepbid-rt recover",
            ) from error
        if self._pages.order == ">":
            out.byteswap(inplace=True)

    def _read_bytes(self, start: int, out: memoryview) -> None:
        with self._lock:
            self._file.seek(start)
            done = self._file.readinto(out)
        if done < len(out):
            raise EOFError("it has become shorter since it was opened")

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        """Return frames `t0` to `t1` - 1 as a new array (t, C, Y, X).

        Raises `StageError` when a page cannot be read or decoded.
        """
        frames, channels, lines, pixels = self.shape
        if not 0 <= t0 <= t1 <= frames:
            raise IndexError(f"frames {t0}..{t1} of {frames}")
        out = np.empty((t1 - t0, channels, lines, pixels), self.dtype)
        for number, plane in enumerate(out.reshape(-1, lines, pixels), start=t0 * channels):
            self._read_plane(number, plane)
        return out

    def description(self, page: int) -> str:
        """Return the description of a page, counted over frames and channels; empty when it has none."""
        if page >= len(self._offsets):
            return ""
        with self._lock:
            return self._pages.description(self._offsets[page])

    @property
    def uncompressed(self) -> bool:
        """True when all pages are uncompressed, so that decoding cannot fail."""
        return NO_START not in self._starts

    def frame(self, i: int) -> NDArray[Any]:
        """Return frame `i` as a new array (C, Y, X). Raises `StageError` when a page cannot be read or decoded."""
        frame: NDArray[Any] = self.read(i, i + 1)[0]
        return frame

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()
        if self._tif is not None:
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
