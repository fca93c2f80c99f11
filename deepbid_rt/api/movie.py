"""A recording on disk, read when it is asked for."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.api.arguments import Scan, as_scan, check_count, check_number
from deepbid_rt.conversion.convert import check_nwb, convert
from deepbid_rt.conversion.target import Format, Target
from deepbid_rt.errors import FileError
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.movie_source import scan_of
from deepbid_rt.movies.open_movie import open_movie_file
from deepbid_rt.movies.wanted import Wanted


class MovieWarning(UserWarning):
    """What a user has to know about a recording that was opened; `Movie.facts` has it too."""


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
    facts : MovieFacts
        What the recording says about itself, warnings included.
    """

    ndim = 4

    def __init__(self, file: MovieFile, *, scan: Scan, rate_hz: float | None) -> None:
        self._file = file
        self._closed = False
        self.path = file.path
        self.shape = file.shape
        self.dtype = file.dtype
        self.facts = file.facts
        self.rate_hz = file.facts.assumed_rate_hz(rate_hz)
        self._given_rate_hz = rate_hz
        self.scan = as_scan(scan)
        self.planes = file.facts.planes

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
        self._check_open()
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

    def save(
        self,
        out: str | Path,
        *,
        format: Format | None = None,  # noqa: A002  # as it is called everywhere
        nwb: Mapping[str, object] | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write the recording in a format of other programs, with all that it says about itself; return the path.

        Type of the pixels, order of planes and channels, pixel size, rate, times, frame numbers and names of channels
        are kept. The file has its name only when it is whole. Memory does not grow with its length.

        Parameters
        ----------
        out : str or Path
            File to write, or folder for OME-Zarr.
        format : {"ome-tiff", "ome-zarr", "nwb", "imagej"}, optional
            By default by the end of the name: ``.ome.tif``, ``.zarr`` or ``.nwb``.
        nwb : mapping, optional
            What an NWB file states beside the recording: ``session_start``, ``session_description``, ``identifier``,
            ``device``, ``location``; ``indicator``, ``excitation_nm``, ``emission_nm`` (one value, or a list with one
            for each channel); ``experimenter``, ``institution``, ``subject_id``, ``species``, ``sex``, ``age``.
        overwrite : bool
            Replace a file that exists.

        Raises
        ------
        FileError
            When the file exists, its folder does not, there is no room, the movie is closed, or a package is missing.
        OptionError
            When the name does not tell the format, or `nwb` cannot take effect.
        StreamError
            When the recording lacks what the format requires: NWB needs a rate.
        StageError
            When a frame cannot be read, or the disk refuses.
        """
        target = Target(Path(out), format, overwrite=overwrite)
        facts = check_nwb("nwb", nwb or {}, target)
        self._check_open()
        return convert(self._file, target, rate_hz=self._given_rate_hz, nwb=facts).path

    def _check_open(self) -> None:
        if self._closed:
            raise FileError(
                f"frames of {self.path}, which is closed",
                expected="an open movie",
                todo="open it again, or close it later",
            )

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
    channels: int | None = None,
    planes: int | None = None,
    flyback: int | None = None,
    dataset: str | None = None,
    shape: tuple[int, ...] | None = None,
    dtype: str | None = None,
    scan: Scan = "ordinary",
    rate_hz: float | None = None,
) -> Movie:
    """Open a recording of any format; pixels are read when asked for. Public as `deepbid_rt.open`.

    Parameters
    ----------
    path : str or Path
        File, folder, or pattern with ``*``: ScanImage, Scanbox, Bruker, ThorImage, Femtonics, Micro-Manager, OME-TIFF,
        ImageJ, NDTiff, plain TIFF, HDF5, NWB, OME-Zarr, numpy, or pixels alone.
    channels, planes, flyback : int, optional
        Stored channels, planes that were scanned in turn, and frames behind them that are left out; by default as the
        recording says.
    dataset : str, optional
        Which array of an HDF5, NWB, MESc or Zarr file.
    shape, dtype : tuple of int and str, optional
        (Y, X) or (C, Y, X), and pixel type, of a file that holds nothing but pixels.
    scan : {"ordinary", "collinear"} or ScanGeometry
        How lines were scanned; a recording says at most whether in both directions.
    rate_hz : float, optional
        Frames per second, all planes counted; by default as the recording says, else 30.

    Warns
    -----
    MovieWarning
        For what has to be known: frames that are left out, values that were converted, what had to be assumed.

    Raises
    ------
    FileError
        When there is no such file, it is damaged, of no known format, or a package is missing that reads it.
    StreamError
        When it contradicts itself or these arguments, or holds a type that is not denoised.
    """
    geometry = as_scan(scan)
    for name, number in {"channels": channels, "planes": planes}.items():
        if number is not None:
            check_count(name, number, 1)
    if flyback is not None:
        check_count("flyback", flyback, 0)
    if rate_hz is not None:
        check_number("rate_hz", rate_hz)
    if not isinstance(path, str | Path):
        raise FileError(
            f"a {type(path).__name__} in place of a file",
            expected="the path of a recording",
            todo="pass arrays to deepbid_rt.denoise as they are",
        )
    file = open_movie_file(path, Wanted(channels, planes, flyback, dataset, shape, dtype))
    try:
        for text in file.facts.warnings:
            warnings.warn(f"{path}: {text}", MovieWarning, stacklevel=2)
        return Movie(file, scan=scan_of(file.facts, geometry), rate_hz=rate_hz)
    except BaseException:  # any: a caller may turn warnings into errors
        file.close()
        raise
