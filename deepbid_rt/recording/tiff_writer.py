"""Writing movies to TIFF files frame by frame, so that the file is intact even when the process is killed.

`deepbid_rt.recording.tiff_movie` reads.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import tifffile
from numpy.typing import NDArray

from deepbid_rt import __version__
from deepbid_rt.errors import FileError, StageError

SOFTWARE = f"deepbid-rt {__version__}"


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

    def commit(self, file: BinaryIO) -> None:
        """Write everything to the file. Raises `OSError` when the disk refuses; `size` then stays as it was."""
        file.seek(self.size)
        file.write(self._tail)
        file.flush()
        for place, data in self._patches:
            file.seek(place)
            file.write(data)
        file.flush()
        self.size += len(self._tail)
        self._tail.clear()
        self._patches.clear()


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
        Further ``key = value`` lines for the description of the first page.
    software : str
        Software tag.
    sync_s : float
        Seconds between two fsyncs.

    Raises
    ------
    FileError
        When the file exists or cannot be created.
    """

    def __init__(
        self, path: Path, *, facts: Mapping[str, object] | None = None, software: str = SOFTWARE, sync_s: float = 3.0
    ) -> None:
        self.path = path
        self.frames = 0
        self._facts = dict(facts or {})
        self._software, self._sync_s = software, sync_s
        try:
            self._file = path.open("x+b")
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
        self._synced = time.monotonic()

    def append(self, pixels: NDArray[Any], number: int, t_s: float, **keys: object) -> bool:
        """Append one frame; return True when this call has forced everything so far to the disk.

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
            When the disk refuses; the file then ends with the previous frame.
        """
        lines = {"frameNumbers": number, "frameTimestamps_sec": f"{t_s:.9f}", **keys}
        try:
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
                )
            self._draft.commit(self._file)
            if synced := time.monotonic() - self._synced >= self._sync_s:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            self._abandon()
            raise StageError(
                f"frame {number} could not be written to {self.path} ({error.strerror or error})",
                expected="a disk that accepts every frame",
                todo=f"free some space and record again; the {self.frames} frames before it are complete in that file",
            ) from error
        self.frames += 1
        return synced

    def _abandon(self) -> None:
        """Close the file after a failed write and cut off the incomplete frame; both may fail as well."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            os.truncate(self.path, self._draft.size)

    def close(self) -> None:
        """Force everything to the disk and close. A file without frames is removed. May be called twice.

        Raises `StageError` when the disk refuses.
        """
        if self._file.closed:
            return
        try:
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
            self.path.unlink()
