"""Writing movies to TIFF files frame by frame, so that the file is intact even when the process is killed.

`deepbid_rt.recording.tiff_movie` reads.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast

import tifffile
from numpy.typing import NDArray

from deepbid_rt import __version__
from deepbid_rt.errors import FileError, StageError
from deepbid_rt.recording.disk_sync import SYNC_S, DiskSync

SOFTWARE = f"deepbid-rt {__version__}"
_UM_PER_CM = 1e4
_SMALLEST_UM, _LARGEST_UM = 1e-4, 1e6
"""Sizes between which the two 32-bit numbers of a TIFF resolution give 7 digits."""


class _Draft(io.BufferedIOBase):
    """A buffer for what tifffile writes of one frame, so that no page ever points to one that does not exist.

    tifffile sets the pointer of the last page to the next one before that page is written. `commit` appends the new
    pages first and changes the pointers last.
    """

    def __init__(self) -> None:
        self.size = 0  # bytes of the file, all of them committed
        self._tail = bytearray()
        self._patches: list[tuple[int, bytes]] = []
        self._at = 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size + len(self._tail)}[whence]
        self._at = start + offset
        return self._at

    def write(self, data: Any, /) -> int:
        data = bytes(data)
        if self._at < self.size:
            self._patches.append((self._at, data))
        else:
            place = self._at - self.size
            self._tail.extend(bytes(max(0, place - len(self._tail))))
            self._tail[place : place + len(data)] = data
        self._at += len(data)
        return len(data)

    def commit(self, file: io.FileIO) -> None:
        """Write everything to the file. Raises `OSError` when the disk refuses; `size` then stays as it was."""
        file.seek(self.size)
        _write_all(file, self._tail)
        for place, data in self._patches:
            file.seek(place)
            _write_all(file, data)
        self.size += len(self._tail)
        self._tail.clear()
        self._patches.clear()

    def take_back(self, file: io.FileIO) -> None:
        """Undo a `commit` that failed, in a file that may have taken any part of it. Raises `OSError`."""
        for place, data in self._patches:
            with contextlib.suppress(OSError):  # cutting off the rest matters more, and may still work
                file.seek(place)
                _write_all(file, bytes(len(data)))  # what is patched is the pointer to the next page, and it was 0
        file.truncate(self.size)


def _write_all(file: io.FileIO, data: bytes | bytearray) -> None:
    with memoryview(data) as rest:
        done = 0
        while done < len(rest):
            done += file.write(rest[done:]) or 0


def _resolution(facts: Mapping[str, object]) -> dict[str, Any]:
    """Return the resolution of a page as tifffile takes it; empty when the pixel size is unknown or fits no TIFF."""
    try:
        y_um, x_um = (float(str(facts[f"pixel_um_{axis}"])) for axis in "yx")
    except (KeyError, ValueError):
        return {}
    if not all(_SMALLEST_UM < side < _LARGEST_UM for side in (y_um, x_um)):
        return {}
    return {"resolution": (_UM_PER_CM / x_um, _UM_PER_CM / y_um), "resolutionunit": "CENTIMETER"}


class TiffMovieWriter:
    """A BigTIFF that grows frame by frame, with one IFD per frame and channel.

    Each frame reaches the operating system before `append` returns, so that a process killed at any moment leaves an
    intact file of complete frames. Every `sync_s` seconds the file is forced to the disk, in case of a power cut. (A
    contiguous series would be faster, but tifffile writes its index only when the file is closed.)

    Parameters
    ----------
    path : Path
        A file that does not exist yet.
    facts : mapping
        Further ``key = value`` lines for the description of the first page. ``pixel_um_y`` and ``pixel_um_x``, the
        micrometres from line to line and from pixel to pixel, also become the resolution of all pages, which other
        programs read.
    software : str
        Software tag.
    sync_s : float
        Seconds between two fsyncs, which a thread makes while frames are appended. 0: after every frame, before
        `append` returns.
    also_sync : callable, optional
        Called after each fsync but the last, in the same thread. Must not raise.

    Raises
    ------
    FileError
        When the file exists or cannot be created.
    """

    def __init__(
        self,
        path: Path,
        *,
        facts: Mapping[str, object] | None = None,
        software: str = SOFTWARE,
        sync_s: float = SYNC_S,
        also_sync: Callable[[], None] | None = None,
    ) -> None:
        self.path = path
        self.frames = 0
        self._facts = dict(facts or {})
        self._software = software
        self._resolution = _resolution(self._facts)
        self._also_sync = also_sync
        try:
            # Without a buffer: what a full disk refused would stay in it, and be tried again by each later call.
            self._file = io.FileIO(path, "x+")
            self._counts_links = os.fstat(self._file.fileno()).st_nlink > 0  # not every file system does
        except FileExistsError as error:
            raise FileError(
                f"{path} exists already",
                expected="a new name, since recordings are never overwritten",
                todo="move that file away or choose another name",
            ) from error
        except OSError as error:
            raise FileError(
                f"{path} cannot be created ({error.strerror})",
                expected="a folder that can be written",
                todo="check the path and its permissions",
            ) from error
        self._draft = _Draft()
        self._tiff = tifffile.TiffWriter(cast("IO[bytes]", self._draft), bigtiff=True)
        self._sync = DiskSync(self._force, sync_s)

    def append(self, pixels: NDArray[Any], number: int, t_s: float, **keys: object) -> None:
        """Append one frame.

        Parameters
        ----------
        pixels : ndarray
            (C, Y, X), of a pixel type that streams allow.
        number : int
            Number of the frame, for the descriptions of its pages.
        t_s : float
            Seconds since the start of the movie, for the same.
        **keys
            Further ``key = value`` lines for the same.

        Raises
        ------
        StageError
            When the disk refuses, or an earlier fsync has failed, or the file was deleted. The file then ends with the
            previous frame and is closed.
        """
        lines = {"frameNumbers": number, "frameTimestamps_sec": f"{t_s:.9f}", **keys}
        try:
            self._sync.check()
            self._check_not_deleted()
            for channel, plane in enumerate(pixels):
                keys = {**lines, "channel": channel, **(self._facts if self.frames == channel == 0 else {})}
                text = "\n".join(f"{key} = {value}" for key, value in keys.items())
                self._tiff.write(
                    plane,
                    photometric="minisblack",
                    contiguous=False,
                    metadata=None,
                    description=text.encode("ascii", "backslashreplace"),
                    software=self._software,
                    **self._resolution,
                )
            self._draft.commit(self._file)
        except OSError as error:
            self._abandon()
            raise StageError(
                f"frame {number} could not be written to {self.path} ({error.strerror or error})",
                expected="a disk that accepts every frame",
                todo=f"free some space and record again; the {self.frames} frames before it are complete in that file",
            ) from error
        except BaseException:  # the next frame would be written behind half a page
            self._abandon()
            raise
        self.frames += 1
        self._sync.written()

    def _force(self) -> None:
        os.fsync(self._file.fileno())
        if self._also_sync:
            self._also_sync()

    def _check_not_deleted(self) -> None:
        if self._counts_links and os.fstat(self._file.fileno()).st_nlink == 0:
            raise FileNotFoundError(
                errno.ENOENT, f"the file was deleted while it was written, and {self.frames} frames with it"
            )

    def _abandon(self) -> None:
        """Close the file after a failed write and cut off the incomplete frame; everything may fail as well."""
        self._sync.wait()
        with contextlib.suppress(OSError):
            self._draft.take_back(self._file)
        with contextlib.suppress(OSError):
            self._file.close()
        if self.frames == 0:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def close(self) -> None:
        """Force everything to the disk and close. A file without frames is removed. May be called twice.

        Raises `StageError` when the disk refuses.
        """
        if self._file.closed:
            return
        self._sync.wait()
        try:
            self._sync.check()
            self._tiff.close()
            self._draft.commit(self._file)
            os.fsync(self._file.fileno())
        except OSError as error:
            self._abandon()
            raise StageError(
                f"{self.path} could not be closed ({error.strerror or error})",
                expected="a disk that accepts every frame",
                todo=f"check the disk; {self.frames} frames were written to it",
            ) from error
        self._file.close()
        if self.frames == 0:
            self.path.unlink(missing_ok=True)
