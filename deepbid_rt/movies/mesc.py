"""Recordings of Femtonics microscopes: .mesc files of MESc.

A .mesc file is HDF5 with groups ``MSession_i/MUnit_j``, one for each measurement, and in each a dataset ``Channel_k``
(T, Y, X). Attributes of the unit say the rest; texts are arrays of character codes that end with 0. All of this was
read off real files.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.frame import MAX_CHANNELS
from deepbid_rt.movies.array_movie import ArrayMovie, opening
from deepbid_rt.movies.array_pixels import ArrayPixels
from deepbid_rt.movies.hdf5 import number
from deepbid_rt.movies.hdf5_file import Hdf5File, Hdf5Source
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.wanted import Wanted

_UM = {"µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "m": 1e6, "nm": 1e-3}
_S = {"ms": 1e-3, "s": 1.0, "us": 1e-6, "µs": 1e-6, "μs": 1e-6}
_MAX_XML = 2**20
_TOP = 65535


def claims(path: Path) -> bool:
    """Tell whether a file is a .mesc file, by its name."""
    return path.suffix.lower() == ".mesc" and path.is_file()


def open_movie(path: Path, wanted: Wanted) -> MovieFile:
    """Open one measurement of a .mesc file, with all its channels; `wanted.dataset` chooses among several.

    Raises
    ------
    FileError
        When the file is cut, damaged or being written, or holds no or several measurements and none is chosen.
    StreamError
        When the measurement is no movie, or its channels or its header disagree.
    """
    with opening(path, "a Femtonics .mesc file"):
        file = Hdf5File(path)
        try:
            return _open(file, wanted)
        except BaseException:
            file.close()
            raise


class _Channels:
    """Datasets of one size and type as one array (T, C, Y, X); see `deepbid_rt.movies.array_pixels.ArraySource`."""

    def __init__(self, sources: list[Hdf5Source]) -> None:
        first = sources[0]
        frames, lines, pixels = first.shape
        self.shape: tuple[int, ...] = (frames, len(sources), lines, pixels)
        self.dtype: np.dtype[Any] = first.dtype
        chunks = first.chunks
        self.chunks: tuple[int, ...] | None = None if chunks is None else (chunks[0], len(sources), *chunks[1:])
        self._sources = sources

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Return a piece. Raises what HDF5 raises."""
        t, c, *rest = index
        return np.stack([source.read((t, *rest)) for source in self._sources[c]], axis=1)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._sources[0].close()


def _open(file: Hdf5File, wanted: Wanted) -> MovieFile:
    unit, only = _choose(file, wanted)
    attributes = unit.attrs
    name = f"{unit.name} of {file.path}"
    channels = [only] if only else _channel_names(unit)
    warnings = _check_channels(unit, channels, only, name)
    sources = [_source(file, unit, channel) for channel in channels]
    _check_alike(sources, channels, name)
    _check_size(attributes, sources[0].shape, name)
    warnings += _check_frames(attributes, sources[0].shape[0])
    inverted, more = _inverted(attributes, channels, sources[0].dtype, name)
    warnings += more
    pixels = ArrayPixels(_Channels(sources), "TCYX", wanted, name, inverted=inverted)
    period = _scale(attributes, "Z", _S)
    rate = None if period is None else 1 / period
    task, clock, xml_notes = _measurement(attributes)
    if task and task not in ("TaskResonantScan", "TaskGalvoScan", "TaskResonantCommon", "TaskGalvoCommon"):
        xml_notes.append(f"it was scanned by {task}: give --planes when several planes were scanned in turn")
    y, x = _scale(attributes, "Y", _UM), _scale(attributes, "X", _UM)
    names = tuple(text(attributes.get(f"{channel}_Name")) or channel for channel in channels)
    facts = MovieFacts(
        "Femtonics MESc",
        f"{unit.name}, {pixels.pages} ({', '.join(names)}), each channel a dataset of its own",
        planes=pixels.planes,
        rate_hz=pixels.rate_hz(rate),
        pixel_um=(y, x) if y and x else None,
        channel_names=names,
        bidirectional=_bidirectional(rate, clock, sources[0].shape[1]),
        extra={"f_res_hz": clock} if clock else {},
        warnings=(
            *warnings,
            *xml_notes,
            *dict.fromkeys(one for source in sources for one in source.warnings),
            *pixels.warnings,
        ),
    )
    movie = ArrayMovie(file.path, pixels, facts, uncompressed=not any(one.compressed for one in sources))
    if not movie.uncompressed:
        movie.frame(0)  # what cannot be decoded is found now
    return movie


def _units(file: Hdf5File) -> list[Any]:
    """Return the groups of all measurements with channels."""
    units = []
    for session in _numbered(file.file, "MSession"):
        group = file.member(session)
        for unit in _numbered(group, "MUnit") if hasattr(group, "keys") else ():
            one = file.member(unit, group)
            if hasattr(one, "keys") and _channel_names(one):
                units.append(one)
    return units


def _numbered(group: Any, kind: str) -> list[str]:
    """Return members such as ``MUnit_0`` in the order of their numbers."""
    pattern = re.compile(rf"{kind}_(\d{{1,9}})")
    found = [(int(match[1]), name) for name in group if (match := pattern.fullmatch(name))]
    return [name for _, name in sorted(found)]


def _channel_names(unit: Any) -> list[str]:
    return _numbered(unit, "Channel")


def _choose(file: Hdf5File, wanted: Wanted) -> tuple[Any, str | None]:
    """Return the measurement that is asked for or the only one, and the channel when one is asked for."""
    units = _units(file)
    listed = ", ".join(f"{one.name.lstrip('/')} ({_words(one)})" for one in units[:8])
    if len(units) > 8:
        listed += f" and {len(units) - 8} more"
    if wanted.dataset is not None:
        asked = file.member(wanted.dataset)
        if asked is not None and not hasattr(asked, "keys") and asked.name.rsplit("/", 1)[-1].startswith("Channel_"):
            return asked.parent, asked.name.rsplit("/", 1)[-1]
        below = [one for one in units if asked is not None and f"{one.name}/".startswith(f"{asked.name.rstrip('/')}/")]
        if len(below) == 1:
            return below[0], None
        raise FileError(
            f"{'no' if not below else 'more than one'} measurement {wanted.dataset} in {file.path}",
            expected=f"one of {listed or 'its measurements, of which there are none'}",
            todo="give one of them with --dataset",
        )
    if len(units) != 1:
        raise FileError(
            f"{file.path} with {len(units)} measurements{': ' + listed if units else ''}",
            expected="one measurement, or a choice" if units else "groups MSession_0/MUnit_0 with channels",
            todo=f"give one of them with --dataset, such as --dataset {units[0].name.lstrip('/')}"
            if units
            else "give the file that MESc wrote",
        )
    return units[0], None


def _words(unit: Any) -> str:
    channels = _channel_names(unit)
    shape = getattr(unit.get(channels[0]), "shape", None)
    return f"{len(channels)} channels {shape}"


def _check_channels(unit: Any, channels: list[str], only: str | None, name: str) -> list[str]:
    if only is not None:
        return []
    if len(channels) > MAX_CHANNELS:
        raise StreamError(
            f"{name} with {len(channels)} channels",
            expected=f"at most {MAX_CHANNELS}",
            todo="give one of them with --dataset, such as MSession_0/MUnit_0/Channel_0",
        )
    promised = number(unit.attrs, "VecChannelsSize")
    if promised is not None and promised != len(channels):
        raise StreamError(
            f"{name} with {len(channels)} channels and a header of {promised:g}",
            expected="the channels of the header",
            todo="copy the file again, or give one channel with --dataset, such as MSession_0/MUnit_0/Channel_0",
        )
    return []


def _source(file: Hdf5File, unit: Any, channel: str) -> Hdf5Source:
    dataset = file.member(channel, unit)
    if dataset is None or not hasattr(dataset, "shape"):
        raise FileError(
            f"no pixels of {channel} in {unit.name} of {file.path}", expected="an array", todo="copy it again"
        )
    return file.source(dataset)


def _check_alike(sources: list[Hdf5Source], channels: list[str], name: str) -> None:
    for source, channel in zip(sources, channels, strict=True):
        if len(source.shape) != 3 or (source.shape, source.dtype) != (sources[0].shape, sources[0].dtype):
            raise StreamError(
                f"{channel} of {name} of shape {source.shape} and type {source.dtype}",
                expected="(T, Y, X), alike for all channels",
                todo="give one channel with --dataset, such as MSession_0/MUnit_0/Channel_0",
            )


def _check_size(attributes: Any, shape: tuple[int, ...], name: str) -> None:
    title = text(attributes.get("ZAxisConversionTitle")).strip().lower()
    if title.startswith("z"):
        raise StreamError(
            f"{name}, a stack over depth: its first axis is {title}, not time",
            expected="a measurement over time",
            todo="give another measurement with --dataset",
        )
    header = number(attributes, "YDim"), number(attributes, "XDim")
    for given, real in zip(header, shape[1:], strict=True):
        if given is not None and given != real:
            raise StreamError(
                f"{name} of shape {shape} with a header of {header[0]:g} lines and {header[1]:g} pixels"
                if None not in header
                else f"{name} of shape {shape} with a header of {given:g}",
                expected="the size of the header",
                todo="copy the file again",
            )


def _check_frames(attributes: Any, frames: int) -> list[str]:
    promised = number(attributes, "ZDim")
    if promised is None or promised == frames:
        return []
    return [f"its header counts {promised:g} frames and it holds {frames}: all of these are read"]


def _inverted(attributes: Any, channels: list[str], dtype: np.dtype[Any], name: str) -> tuple[bool, list[str]]:
    """Return whether counts fall where the picture gets brighter, with what a user has to know."""
    scales, notes = set(), []
    for channel in channels:
        scale = number(attributes, f"{channel}_Conversion_ConversionLinearScale")
        offset = number(attributes, f"{channel}_Conversion_ConversionLinearOffset")
        scales.add(scale is not None and scale < 0)
        if scale is not None and scale >= 0 and (scale != 1 or offset):
            notes.append(f"counts of {channel} are kept; value = count x {scale:g} + {offset or 0:g} by the file")
        elif scale is not None and scale < 0 and (scale != -1 or offset != _TOP):
            notes.append(f"value = stored count of {channel} x {scale:g} + {offset or 0:g} by the file")
    if len(scales) > 1:
        raise StreamError(
            f"{name}, some of whose channels are inverted",
            expected="all or none",
            todo="give one channel with --dataset, such as MSession_0/MUnit_0/Channel_0",
        )
    if scales != {True}:
        return False, notes
    if dtype.kind != "u" or dtype.itemsize != 2:
        raise StreamError(
            f"{name} of inverted {dtype} counts", expected="inverted uint16 counts", todo="export it to TIFF with MESc"
        )
    return True, [*notes, f"its counts are inverted, as its conversion says, and were turned: {_TOP} - stored count"]


def _scale(attributes: Any, axis: str, units: dict[str, float]) -> float | None:
    """Return the step of an axis, in micrometres or seconds; None where the file does not say it in such a unit."""
    step = number(attributes, f"{axis}AxisConversionConversionLinearScale")
    unit = units.get(text(attributes.get(f"{axis}AxisConversionUnitName")).strip())
    return None if step is None or unit is None or not 1e-9 < step * unit < 1e4 else step * unit


def _measurement(attributes: Any) -> tuple[str, float | None, list[str]]:
    """Return the task and the frequency of the resonant mirror of a measurement, Hz."""
    value = attributes.get("MeasurementParamsXML")
    data = bytes(value) if isinstance(value, bytes) else text(value).encode()
    if not data:
        return "", None, []
    if len(data) > _MAX_XML or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        return "", None, ["its measurement parameters are too long or unsafe and were not read"]
    try:
        root = ET.fromstring(data.decode("latin-1"))
    except ET.ParseError:
        return "", None, ["its measurement parameters are damaged and were not read"]
    clock = None
    for one in root.iter("param"):
        if one.get("name") == "ResonantClock":
            try:
                clock = float(one.get("value", ""))
            except ValueError:
                continue
    return root.get("Type", "")[:80], clock if clock is not None and 0 < clock < 1e6 else None, []


def _bidirectional(rate: float | None, clock: float | None, lines: int) -> bool | None:
    """More lines than periods of the mirror: both directions were recorded."""
    if not rate or not clock:
        return None
    return True if 1.1 < rate * lines / clock < 2.2 else None


def text(value: Any) -> str:
    """Return a text that is stored as an array of character codes, up to its 0, or as a string."""
    if isinstance(value, bytes):
        return value.decode("latin-1").split("\0")[0]
    if isinstance(value, str):
        return value
    codes = np.asarray(value if isinstance(value, np.ndarray) else [])
    if codes.ndim != 1 or codes.dtype.kind not in "iu" or len(codes) > _MAX_XML:
        return ""
    return "".join(chr(int(one)) if 0 < one < 0x110000 else "\0" for one in codes.tolist()).split("\0")[0]
