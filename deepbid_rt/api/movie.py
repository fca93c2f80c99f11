"""A recording on disk, read when it is asked for."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.api.arguments import DEFAULT_RATE_HZ, Scan, as_scan
from deepbid_rt.errors import FileError
from deepbid_rt.recording.tiff_movie import TiffMovie

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".tf2")


class Movie:
    """A recording (T, C, Y, X) on disk. ``movie[t]`` and ``movie[t0:t1]`` read frames, ``np.asarray(movie)`` all.

    Made by `deepbid_rt.open`; use it in a ``with`` block, or `close` it.

    Attributes
    ----------
    shape : tuple of int
        (T, C, Y, X).
    dtype : numpy.dtype
        Type of the pixels, little-endian.
    rate_hz : float
        Frames per second, all planes counted.
    scan : ScanGeometry
        How lines were scanned.
    planes : int
        Planes that were scanned in turn.
    """

    ndim = 4

    def __init__(self, file: TiffMovie, *, scan: Scan, rate_hz: float, planes: int) -> None:
        self._file = file
        self._closed = False
        self.path = file.path
        self.shape = file.shape
        self.dtype = file.dtype
        self.rate_hz = rate_hz
        self.scan = as_scan(scan)
        self.planes = planes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read one frame (C, Y, X), or those of a slice (t, C, Y, X); further indices then select within these.

        Raises
        ------
        IndexError
            When there is no such frame, or frames are selected by anything but a number or a slice.
        FileError
            When the movie is closed.
        StageError
            When a frame cannot be read or decoded.
        """
        if self._closed:
            raise FileError(
                f"frames of {self.path}, which is closed",
                expected="an open movie",
                todo="open it again, or close it later",
            )
        frames, *within = key if isinstance(key, tuple) else (key,)
        if frames is Ellipsis:
            return np.asarray(self._file.read(0, len(self))[key])
        if isinstance(frames, slice):
            begin, end, step = frames.indices(len(self))
            if step == 1:
                read = self._file.read(begin, max(begin, end))
            else:
                wanted = [self._file.frame(t) for t in range(begin, end, step)]
                read = np.stack(wanted) if wanted else self._file.read(0, 0)
            return np.asarray(read[(slice(None), *within)]) if within else read
        try:
            number = operator.index(frames)
        except TypeError as error:
            raise IndexError(
                f"frames selected by {frames!r}; expected a number or a slice; read them with movie[:] first."
            ) from error
        t = number + len(self) if number < 0 else number
        if not 0 <= t < len(self):
            raise IndexError(f"frame {number} of a movie of {len(self)} frames")
        frame = self._file.frame(t)
        return np.asarray(frame[tuple(within)]) if within else frame

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def __repr__(self) -> str:
        return f"<Movie {self.path.name!r}, (T, C, Y, X) = {self.shape}, {self.dtype}, {self.rate_hz:g} Hz>"

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._closed = True
        self._file.close()

    def __enter__(self) -> Movie:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_movie(
    path: str | Path,
    *,
    channels: int = 1,
    planes: int = 1,
    scan: Scan = "ordinary",
    rate_hz: float = DEFAULT_RATE_HZ,
) -> Movie:
    """Open a recording; pixels are read when asked for. Public as `deepbid_rt.open`.

    Parameters
    ----------
    path : str or Path
        A TIFF, BigTIFF or ImageJ file of uint8, uint16, int16 or float32 pixels.
    channels : int
        Channels that follow each other as pages.
    planes : int
        Planes that were scanned in turn, frame by frame.
    scan : {"ordinary", "collinear"} or ScanGeometry
        How lines were scanned; a TIFF file does not say.
    rate_hz : float
        Frames per second, all planes counted.

    Raises
    ------
    FileError
        When the file is missing, damaged, or no TIFF.
    StreamError
        When its pages differ from each other or hold a type that is not denoised.
    """
    geometry = as_scan(scan)
    if not isinstance(path, str | Path):
        raise FileError(
            f"a {type(path).__name__} in place of a file",
            expected="the path of a recording",
            todo="pass arrays to deepbid_rt.denoise as they are",
        )
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileError(f"no file {path}", expected="the path of a recording", todo="check the path")
    if path.suffix.lower() not in TIFF_SUFFIXES:
        raise FileError(
            f"the file {path.name}, which ends in {path.suffix!r}",
            expected=f"a TIFF ({', '.join(TIFF_SUFFIXES)})",
            todo="load other formats with their own library, and pass the array to deepbid_rt.denoise",
        )
    return Movie(TiffMovie(path, channels), scan=geometry, rate_hz=rate_hz, planes=planes)
