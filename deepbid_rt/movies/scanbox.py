"""Recordings of Scanbox (Neurolabware): ``.sbx`` with the pixels and ``.mat`` with the structure ``info``.

Pixels are unsigned 16-bit little-endian, stored inverted (65535 minus the counts); channels come first, then pixels,
lines and frames. ``info.sz`` is lines and pixels; ``info.chan.nchan`` (version 3) or ``info.channels`` (1: both, 2: the
first, 3: the second) the channels; ``info.scanmode`` 1 scans in one direction, 0 in both; one line takes one period of
``info.resfreq``, or half of it; ``info.otwave`` or ``info.etl_table`` hold one value per plane of the optotune lens
when ``info.volscan`` is set. Backward lines are taken to be stored in image order. No recording was at hand: the facts
follow what its users read (https://github.com/jcouto/sbxreader, and copies of ``sbxread.m`` of several laboratories).
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.frame_limits import check_frame_limits
from deepbid_rt.movies.mat_file import is_mat_file, read_mat_struct
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.page_files import read_exactly
from deepbid_rt.movies.page_order import page_order
from deepbid_rt.movies.wanted import Wanted

_CHANNELS = {1: 2, 2: 1, 3: 1}
_USUAL_SIZE = (512, 796)
_NAMES = {1: ("PMT0", "PMT1"), 2: ("PMT0",), 3: ("PMT1",)}


def claims(path: Path) -> bool:
    """Tell whether a path is an ``.sbx`` file, a MATLAB file, or the name that both have without suffix.

    A MATLAB file without ``.sbx`` is claimed, so that it is refused with a sentence that says what to give.
    """
    try:
        match path.suffix.lower():
            case ".sbx":
                return True
            case ".mat":
                return is_mat_file(path)
        return not path.exists() and _with_suffix(path, ".sbx").is_file()
    except (OSError, ValueError):
        return False


def open_movie(path: Path, wanted: Wanted) -> MovieFile:
    """Open a recording of Scanbox, given as ``.sbx``, as ``.mat``, or by their name without suffix.

    Raises
    ------
    FileError
        When one of both files is missing or damaged.
    StreamError
        When the structure ``info`` contradicts itself, the file or the wishes.
    """
    stem = path.with_suffix("") if path.suffix.lower() in (".sbx", ".mat") else path
    sbx, mat = _with_suffix(stem, ".sbx"), _with_suffix(stem, ".mat")
    if not sbx.is_file():
        raise FileError(
            f"{path}, a MATLAB file without a Scanbox movie beside it" if mat.is_file() else f"no file {sbx}",
            expected=f"{sbx.name} with the pixels in the same folder",
            todo="copy the .sbx beside the .mat, or save an array of MATLAB as a TIFF file",
        )
    if not mat.is_file():
        raise FileError(
            f"{sbx} without {mat.name}",
            expected="the .mat of the recording in the same folder, which says the size of a frame",
            todo="copy the .mat beside it, or read the pixels as a raw file with --shape and --dtype",
        )
    return ScanboxMovie(path, sbx, mat, wanted)


def _with_suffix(stem: Path, suffix: str) -> Path:
    """Return a path with a suffix; its name may hold dots, and the suffix may be written in capitals."""
    usual = stem.with_name(stem.name + suffix)
    capitals = stem.with_name(stem.name + suffix.upper())
    return capitals if not usual.exists() and capitals.exists() else usual


class ScanboxMovie(MovieFile):
    """A recording of Scanbox; see `open_movie`. Frames that are written after opening are not seen.

    Parameters
    ----------
    path : Path
        What the user gave.
    sbx, mat : Path
        The pixels, and the MATLAB file beside them.
    wanted : Wanted
        Planes and fly-back frames that differ from ``info``, and channels where it does not say them.
    """

    def __init__(self, path: Path, sbx: Path, mat: Path, wanted: Wanted) -> None:
        self.path = path
        self.dtype = np.dtype("<u2")
        self._lock = threading.Lock()
        info = read_mat_struct(mat, "info")
        try:
            self._file = sbx.open("rb", buffering=0)
        except OSError as error:
            raise FileError(
                f"{sbx} cannot be opened ({error.strerror or error})",
                expected="a file that may be read",
                todo="check the rights",
            ) from error
        try:
            self._order(sbx, mat, info, wanted)
        except BaseException:
            self._file.close()
            raise

    def _order(self, sbx: Path, mat: Path, info: dict[str, Any], wanted: Wanted) -> None:
        """Find out from the length of the file how many frames it holds."""
        _refuse_old(mat, info)
        warnings: list[str] = []
        both = _number(info, "scanmode") == 0
        channels, names = _channels(mat, info, wanted)
        lines, pixels = _size(mat, info, both, warnings)
        check_frame_limits(sbx, channels, lines, pixels)
        self._frame_bytes = 2 * channels * lines * pixels
        count, rest = divmod(os.fstat(self._file.fileno()).st_size, self._frame_bytes)
        if count == 0:
            raise StreamError(
                f"{sbx} of {rest} bytes",
                expected=f"at least one frame of {self._frame_bytes} bytes ({channels} channels, {lines} lines, "
                f"{pixels} pixels by {mat.name})",
                todo="copy it again, or wait until the recording has begun",
            )
        if rest:
            warnings.append(f"{rest} bytes of an unfinished frame at the end of {sbx.name} are left out")
        asked = _number(_struct(info, "config"), "frames")
        if asked and asked != count:
            warnings.append(f"{mat.name} announces {asked:g} frames, and {sbx.name} holds {count}")
        planes, flyback, words = _planes(mat, info, wanted, warnings)
        order = page_order(count, 1, planes, flyback=flyback, name=str(sbx), complete=False)
        if order.left_out:
            warnings.append(f"{order.left_out} frames of an incomplete last volume are left out")
        self._frames = order.pages[:, 0]
        self.shape = (len(self._frames), channels, lines, pixels)
        together = f"{channels} channels lie together in each pixel" if channels > 1 else "one channel"
        self.facts = MovieFacts(
            format="Scanbox",
            pages=f"{together}, {words}; the length of the file says the number of frames, counts are turned the "
            "right way round (65535 - stored)",
            planes=planes,
            rate_hz=_rate(info, lines, both, planes, flyback),
            pixel_um=_pixel_um(info),
            channel_names=names,
            bidirectional=both if "scanmode" in info else None,
            extra=_extra(info),
            warnings=tuple(warnings),
        )

    def _read_frame(self, i: int, out: NDArray[Any]) -> None:
        channels, lines, pixels = self.shape[1:]
        stored = np.empty((lines, pixels, channels), self.dtype)
        with self._lock:
            self._file.seek(int(self._frames[i]) * self._frame_bytes)
            read_exactly(self._file, stored)
        np.subtract(65535, stored.transpose(2, 0, 1), out=out)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()


def _number(values: dict[str, Any], key: str) -> float | None:
    """Return a value as a finite number; None when it is missing or none."""
    try:
        value = float(np.asarray(values[key]).reshape(-1)[0])
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def _numbers(values: dict[str, Any], key: str) -> NDArray[np.float64]:
    """Return a value as an array of numbers; empty when it is missing or none."""
    try:
        array = np.asarray(values[key], np.float64)
    except (KeyError, TypeError, ValueError):
        return np.empty(0)
    return array.reshape(1) if array.ndim == 0 else array


def _struct(values: dict[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _refuse_old(mat: Path, info: dict[str, Any]) -> None:
    """Refuse what Scanbox wrote before version 2: raw samples, four per pixel, in buffers of the digitizer."""
    version = _number(info, "scanbox_version")
    if version is None or version < 2:
        raise StreamError(
            f"{mat} of Scanbox version {version or 'unknown'}",
            expected="version 2 or 3, which stores pixels and no raw samples",
            todo="read it with the sbxread.m of its time, and save the frames as a TIFF file",
        )


def _channels(mat: Path, info: dict[str, Any], wanted: Wanted) -> tuple[int, tuple[str, ...]]:
    """Return the number of channels and their names."""
    code = _number(info, "channels")
    count = _number(_struct(info, "chan"), "nchan")
    if count is None and code in _CHANNELS:
        count = _CHANNELS[int(code or 0)]
    if count is None:
        count = wanted.channels
    if count is None or count < 1 or count != int(count):
        raise StreamError(
            f"{mat} that does not say the number of channels (info.chan.nchan {count}, info.channels {code})",
            expected="1 or 2 channels",
            todo="give it with --channels",
        )
    if wanted.channels not in (None, count):
        raise StreamError(
            f"{wanted.channels} channels for {mat}, which says {count:g}",
            expected=f"--channels {count:g}",
            todo="leave --channels out",
        )
    names = _NAMES.get(int(code or 0), ("PMT0", "PMT1"))
    return int(count), names if len(names) == count else ()


def _size(mat: Path, info: dict[str, Any], both: bool, warnings: list[str]) -> tuple[int, int]:
    """Return lines and pixels of a frame."""
    size = _numbers(info, "sz").reshape(-1)
    if not len(size):
        size = np.array(_USUAL_SIZE, np.float64)
        warnings.append(
            f"{mat.name} does not say the size of a frame; {size[0]:g} lines of {size[1]:g} pixels are taken"
        )
    if len(size) != 2 or not ((size >= 1) & (size <= 2**31) & (size == np.floor(size))).all():
        raise StreamError(
            f"{mat} with a frame of size {size.tolist()[:4]} (info.sz)",
            expected="lines and pixels",
            todo="give the .mat that Scanbox wrote with the recording",
        )
    lines = int(size[0])
    records = _number(info, "recordsPerBuffer")
    expected = None if records is None else records * (2 if both else 1)
    if (_number(info, "scanbox_version") or 0) < 3 and expected and expected != lines:
        raise StreamError(
            f"{mat} with frames of {lines} lines (info.sz) and of {expected:g} (info.recordsPerBuffer)",
            expected="one number of lines",
            todo="correct info.sz in MATLAB, or read the pixels as a raw file with --shape and --dtype",
        )
    return lines, int(size[1])


def _planes(mat: Path, info: dict[str, Any], wanted: Wanted, warnings: list[str]) -> tuple[int, int, str]:
    """Return planes and fly-back frames, and the words that say where they are known from."""
    flyback = wanted.flyback or 0
    if wanted.planes is not None:
        left = f" ({flyback} fly-back frames left out)" if flyback else ""
        return wanted.planes, flyback, f"{wanted.planes} planes{left}, as given with --planes and --flyback"
    volume = _number(info, "volscan")
    table, wave, parameters = _numbers(info, "etl_table"), _numbers(info, "otwave"), _numbers(info, "otparam")
    planes, key = 1, ""
    if volume or (volume is None and max(len(wave), len(table)) > 1):
        period = parameters.reshape(-1)[2] if parameters.size == 3 else np.nan
        if len(table):
            planes, key = (len(table) if table.ndim == 2 else 1), "info.etl_table"
        elif wave.size:
            planes, key = wave.size, "info.otwave"
        elif np.isfinite(period) and 1 <= period <= 1000:
            planes, key = int(period), "info.otparam"
            warnings.append(f"{planes} planes are taken from the period in info.otparam; --planes sets another number")
        else:
            raise StreamError(
                f"{mat} of a volume that does not say its planes (info.volscan without otwave, etl_table and otparam)",
                expected="the positions of the optotune lens",
                todo="give the number of planes with --planes",
            )
    if flyback:
        kept = planes - flyback
        return kept, flyback, f"{kept} planes ({flyback} fly-back frames left out), as given with --flyback"
    return planes, 0, f"{planes} planes by {key}" if planes > 1 else f"one plane by {mat.name}"


def _rate(info: dict[str, Any], lines: int, both: bool, planes: int, flyback: int) -> float | None:
    """Return frames per second over all planes without fly-back frames."""
    f_res_hz = _number(info, "resfreq")
    scanned = _number(_struct(info, "config"), "lines") or lines
    if not f_res_hz or f_res_hz <= 0 or scanned <= 0:
        return None
    return f_res_hz / scanned * (2 if both else 1) * planes / (planes + flyback)


def _pixel_um(info: dict[str, Any]) -> tuple[float, float] | None:
    """Return the distances (y, x): of the recording in version 3, else of its magnification in the calibration."""
    config = _struct(info, "config")
    for values in (info, config):
        y, x = _number(values, "dycal"), _number(values, "dxcal")
        if y and x and y > 0 and x > 0:
            return y, x
    step = _number(config, "magnification")
    calibration = info.get("calibration")
    if step is None or not isinstance(calibration, list | np.ndarray) or not 1 <= step <= len(calibration):
        return None
    one = calibration[int(step) - 1]
    y, x = (_number(one, "y"), _number(one, "x")) if isinstance(one, dict) else (None, None)
    return (y, x) if y and x and y > 0 and x > 0 else None


def _extra(info: dict[str, Any]) -> dict[str, Any]:
    config = _struct(info, "config")
    extra: dict[str, Any] = {"software": f"Scanbox {_number(info, 'scanbox_version'):g}"}
    f_res_hz = _number(info, "resfreq")
    if f_res_hz:
        extra["f_res_hz"] = f_res_hz
    step, zooms = _number(config, "magnification"), config.get("magnification_list")
    if step and isinstance(zooms, list | np.ndarray) and 1 <= step <= len(zooms):
        zoom = _number({"zoom": zooms[int(step) - 1]}, "zoom")
        if zoom:
            extra["zoom"] = zoom
    return extra
