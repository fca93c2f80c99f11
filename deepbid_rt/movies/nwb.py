"""Movies in NWB files: series of pictures under ``/acquisition`` or ``/processing``.

Names and meanings are those of the NWB schema, https://nwb-schema.readthedocs.io (nwb.ophys, nwb.image, nwb.base). It
says that the axes of the data are (time, width, height), but most programs write (time, height, width); NeuroConv,
which follows the schema, names itself in ``/general/source_script`` and writes ``dimension`` as (height, width)
(https://neuroconv.readthedocs.io).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.array_movie import ArrayMovie, opening
from deepbid_rt.movies.array_pixels import MAX_FRAMES, ArrayPixels
from deepbid_rt.movies.hdf5 import number
from deepbid_rt.movies.hdf5_file import Hdf5File
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.wanted import Wanted

_TYPES = ("TwoPhotonSeries", "OnePhotonSeries")
"""What is looked for: the second only where there is none of the first."""
_UM = {"meters": 1e6, "meter": 1e6, "m": 1e6, "metres": 1e6, "millimeters": 1e3, "millimeter": 1e3, "mm": 1e3}
_UM |= dict.fromkeys(("micrometers", "micrometer", "microns", "micron", "um", "µm", "μm"), 1.0)
_UM |= dict.fromkeys(("nanometers", "nanometer", "nm"), 1e-3)
_MAX_TEXT = 2**16


def claims(path: Path) -> bool:
    """Tell whether a file is an NWB file, by its name."""
    return path.suffix.lower() == ".nwb" and path.is_file()


def open_movie(path: Path, wanted: Wanted) -> MovieFile:
    """Open a series of two-photon pictures of an NWB file; `wanted.dataset` chooses among several.

    Raises
    ------
    FileError
        When the file is cut, damaged or being written, holds no or several such series, or its pixels lie in other
        files.
    StreamError
        When the series is no movie.
    """
    with opening(path, "an NWB file"):
        file = Hdf5File(path)
        try:
            return _open(file, wanted)
        except BaseException:
            file.close()
            raise


def _open(file: Hdf5File, wanted: Wanted) -> MovieFile:
    series = _choose(file, wanted)
    data = _data(file, series)
    source = file.source(data)
    shape = source.shape
    if len(shape) not in (3, 4):
        raise StreamError(
            f"{source.name} of shape {shape}",
            expected="(frames, height, width) or (frames, height, width, depth)",
            todo="give another series with --dataset",
        )
    plane = file.member("imaging_plane", series)
    order = _order(file, series, plane, shape, wanted, source.name)
    pixels = ArrayPixels(source, order.letters, wanted, source.name)
    rate, rate_notes = _rate(file, series, plane)
    times, time_notes = _times(file, series, shape[0])
    if times is not None and rate is None:
        rate, more = _rate_of_times(times)
        time_notes += more
    pixel_um, pixel_notes = _pixel_um(file, plane)
    extra = {key: value for key in ("conversion", "offset") if (value := number(data.attrs, key)) is not None}
    if line_rate := _number(file, series, "scan_line_rate"):
        extra["scan_line_rate_hz"] = line_rate
    counts = [f"counts are kept; {_conversion(extra)}"] if _conversion(extra) else []
    kind = _text(series.attrs.get("neurodata_type"))
    facts = MovieFacts(
        "NWB",
        f"{kind or 'series'} {series.name}, {pixels.pages}, {order.why}",
        planes=pixels.planes,
        rate_hz=pixels.rate_hz(rate),
        pixel_um=pixel_um,
        channel_names=_channels(file, plane) if pixels.shape[1] == 1 else (),
        times_s=None if times is None else pixels.times_s(times),
        extra=extra,
        warnings=(
            *order.warnings,
            *source.warnings,
            *pixels.warnings,
            *(rate_notes + time_notes + pixel_notes + counts),
        ),
    )
    movie = ArrayMovie(file.path, pixels, facts, uncompressed=not source.compressed)
    if source.compressed:
        movie.frame(0)  # what cannot be decoded is found now
    return movie


def _choose(file: Hdf5File, wanted: Wanted) -> Any:
    """Return the group of the series that is asked for, or of the only one."""
    found = _series(file)
    if wanted.dataset is not None:
        asked = file.member(wanted.dataset)
        below = [] if asked is None else [one for one in found if one.name.startswith(f"{asked.name.rstrip('/')}/")]
        if asked is not None and hasattr(asked, "keys") and "data" not in asked and len(below) == 1:
            return below[0]
        if asked is not None and not hasattr(asked, "keys"):
            asked = asked.parent
        if asked is not None and ("data" in asked or "external_file" in asked):
            return asked
        raise FileError(
            f"no series {wanted.dataset} in {file.path}",
            expected=f"one of {', '.join(one.name for one in found[:8]) or 'its series, of which there are none'}",
            todo="give one of them with --dataset",
        )
    for kind in _TYPES:
        ofkind = [one for one in found if _text(one.attrs.get("neurodata_type")) == kind]
        if len(ofkind) == 1:
            return ofkind[0]
        if ofkind:
            words = ", ".join(f"{one.name} {_shape(one)}" for one in ofkind[:8])
            raise FileError(
                f"{file.path} with {len(ofkind)} series of pictures: {words}",
                expected="one, or a choice",
                todo=f"give one of them with --dataset, such as --dataset {ofkind[0].name}",
            )
    others = f" (others: {', '.join(one.name for one in found[:8])})" if found else ""
    raise FileError(
        f"{file.path} without a TwoPhotonSeries{others}",
        expected="an NWB file with the pixels that were recorded",
        todo="give another series with --dataset" if found else "give the file that holds the pixels",
    )


def _series(file: Hdf5File) -> list[Any]:
    """Return the groups of all series of pictures, in the order of their paths."""
    found = {}
    for area in ("acquisition", "processing"):
        start = file.member(area)
        if start is None or not hasattr(start, "keys"):
            continue
        for dataset in file.datasets(start):
            group = dataset.parent
            kind = _text(group.attrs.get("neurodata_type"))
            last = dataset.name.rsplit("/", 1)[-1]
            pictures = last == "external_file" or (last == "data" and len(dataset.shape or ()) in (3, 4))
            if pictures and (kind in _TYPES or kind.endswith("ImageSeries") or kind == ""):
                found[group.name] = group
    return list(found.values())


def _shape(series: Any) -> Any:
    data = series.get("data")
    return getattr(data, "shape", "")


def _data(file: Hdf5File, series: Any) -> Any:
    external = file.member("external_file", series)
    data = file.member("data", series)
    if external is not None and (data is None or 0 in (data.shape or (0,))):
        first = external[0] if external.shape and 0 < external.shape[0] < MAX_FRAMES else ""
        raise FileError(
            f"{series.name} of {file.path}, whose pixels lie in other files, such as {_text(first)[:200]}",
            expected="pixels in the NWB file itself",
            todo="give those files",
        )
    if data is None or not hasattr(data, "shape"):
        raise FileError(f"{series.name} of {file.path} without data", expected="pixels", todo="give another series")
    return data


class _Order(NamedTuple):
    letters: str
    why: str
    warnings: tuple[str, ...] = ()


def _order(file: Hdf5File, series: Any, plane: Any, shape: tuple[int, ...], wanted: Wanted, name: str) -> _Order:
    """Decide which of the second and third axis are lines."""
    depth = "Z" if len(shape) == 4 else ""
    notes = (f"the last axis, of length {shape[3]}, is taken as planes, as NWB says",) if depth else ()
    lines, pixels = "TYX" + depth, "TXY" + depth
    if wanted.shape is not None:
        asked = tuple(wanted.shape[-2:])
        if asked not in (shape[1:3], shape[2:0:-1]):
            raise StreamError(
                f"{name} of shape {shape} for --shape {','.join(map(str, wanted.shape))}",
                expected="the lines and pixels of a frame",
                todo="correct --shape or leave it out",
            )
        return _Order(lines if asked == shape[1:3] else pixels, "as given with --shape", notes)
    if "neuroconv" in _text(_value(file, "general/source_script")).lower():
        return _Order(pixels, "as NeuroConv writes them, which wrote the file", notes)
    hints = _hints(file, series, plane, shape)
    if len(hints) == 1:
        (is_lines, by) = hints.popitem()
        return _Order(lines if is_lines else pixels, f"by {by}", notes)
    assumed = (
        "nothing in the file says whether lines run along its last axis or, as NWB asks for, along the one before; "
        "(frames, height, width) is assumed, as most programs write"
    )
    if hints:
        assumed = f"{' and '.join(hints.values())} disagree; (frames, height, width) is assumed, as most programs write"
    return _Order(lines, "as most programs write", (assumed, *notes))


def _hints(file: Hdf5File, series: Any, plane: Any, shape: tuple[int, ...]) -> dict[bool, str]:
    """Return whether the second axis are lines (True) or pixels of a line (False), with what says so."""
    first, second = shape[1:3]
    if first == second:
        return {}
    hints: dict[bool, str] = {}

    def hint(width: float, height: float, by: str) -> None:
        for is_lines, (x, y) in ((True, (second, first)), (False, (first, second))):
            if abs(width - x) < 0.01 * x and abs(height - y) < 0.01 * y:
                hints.setdefault(is_lines, by)

    dimension = _numbers(file, series, "dimension")
    if dimension:
        hint(dimension[0], dimension[1], "its dimension")
    view, grid = _numbers(file, series, "field_of_view"), _numbers(file, plane, "grid_spacing")
    if view and grid:
        hint(view[0] / grid[0], view[1] / grid[1], "its field of view and grid spacing")
    return hints


def _rate(file: Hdf5File, series: Any, plane: Any) -> tuple[float | None, list[str]]:
    """Return steps of the time axis per second, as the series says, else as its imaging plane says."""
    start = file.member("starting_time", series)
    own = None if start is None else _positive(number(start.attrs, "rate"))
    planned = _positive(_number(file, plane, "imaging_rate"))
    if own and planned and abs(own - planned) > 0.01 * own:
        return own, [
            f"the series was recorded at {own:g} Hz and its imaging plane says {planned:g} Hz; the first is used"
        ]
    if own is None and file.member("timestamps", series) is not None:
        return None, []
    return own or planned, []


def _times(file: Hdf5File, series: Any, count: int) -> tuple[NDArray[np.float64] | None, list[str]]:
    stamps = file.member("timestamps", series)
    if stamps is None:
        return None, []
    if getattr(stamps, "shape", None) != (count,) or stamps.dtype.kind not in "fiu" or count > MAX_FRAMES:
        shape = getattr(stamps, "shape", None)
        return None, [f"its timestamps of shape {shape} do not fit its {count} frames and are not used"]
    source = file.source(stamps)
    times = np.asarray(source.read((slice(0, count),)), np.float64)
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        return None, ["its timestamps do not increase and are not used"]
    return times, []


def _rate_of_times(times: NDArray[np.float64]) -> tuple[float | None, list[str]]:
    if len(times) < 2:
        return None, []
    steps = np.diff(times)
    middle = float(np.median(steps))
    gaps = int((steps > 1.5 * middle).sum())
    return 1 / middle, [f"its timestamps have {gaps} gaps"] if gaps else []


def _pixel_um(file: Hdf5File, plane: Any) -> tuple[tuple[float, float] | None, list[str]]:
    spacing = _numbers(file, plane, "grid_spacing")
    if not spacing:
        return None, []
    unit = _text(file.member("grid_spacing", plane).attrs.get("unit")) or "meters"
    scale = _UM.get(unit.strip().lower())
    if scale is None:
        return None, [f"its grid spacing in {unit[:40]} is not used"]
    x, y = spacing[0] * scale, spacing[1] * scale
    if not (1e-3 < x < 1e3 and 1e-3 < y < 1e3):
        return None, [f"its grid spacing of {spacing[0]:g} {unit[:40]} cannot be that of pixels and is not used"]
    return (y, x), []


def _channels(file: Hdf5File, plane: Any) -> tuple[str, ...]:
    """Return the name of the optical channel, where there is one."""
    if plane is None or not hasattr(plane, "keys"):
        return ()
    names = []
    for name in list(plane)[:100]:
        one = file.member(name, plane)
        if one is not None and _text(one.attrs.get("neurodata_type")) == "OpticalChannel":
            names.append(name)
    return tuple(names) if len(names) == 1 else ()


def _conversion(extra: dict[str, float]) -> str:
    if extra.get("conversion", 1.0) in (1.0, 0.0) and not extra.get("offset"):
        return ""
    return f"value = count x {extra.get('conversion', 1.0):g} + {extra.get('offset', 0.0):g} by the file"


def _value(file: Hdf5File, name: str, start: Any = None) -> Any:
    """Return the value of a small dataset, or None."""
    one = file.member(name, start)
    if one is None or not hasattr(one, "shape") or one.shape is None or math.prod(one.shape) > 16:
        return None
    if one.dtype.itemsize > _MAX_TEXT or one.id.get_create_plist().get_external_count():
        return None
    return one[()]


def _numbers(file: Hdf5File, start: Any, name: str) -> list[float]:
    """Return two or three positive numbers of a dataset, or none."""
    value = None if start is None or not hasattr(start, "keys") else _value(file, name, start)
    if not isinstance(value, np.ndarray) or value.shape not in ((2,), (3,)) or value.dtype.kind not in "fiu":
        return []
    numbers = [float(one) for one in value]
    return numbers if all(math.isfinite(one) and one > 0 for one in numbers) else []


def _number(file: Hdf5File, start: Any, name: str) -> float | None:
    """Return a member that is one finite number, as a dataset or as an attribute; None when there is none."""
    if start is None or not hasattr(start, "attrs"):
        return None
    value = _value(file, name, start) if hasattr(start, "keys") else None
    return number(start.attrs if value is None else {name: value}, name)


def _positive(value: float | None) -> float | None:
    return value if value is not None and 0 < value < 1e6 else None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""
