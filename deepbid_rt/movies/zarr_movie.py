"""Movies in Zarr folders: OME-Zarr of versions 0.1 to 0.5, and plain arrays, of Zarr version 2 or 3.

Metadata of pictures are those of https://ngff.openmicroscopy.org (0.4: ``multiscales`` in ``.zattrs``; 0.5: below
``ome`` in ``zarr.json``). Arrays without them take names of axes from ``_ARRAY_DIMENSIONS`` or ``dimension_names``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.array_axes import Axes, named_axes, plain_axes, spelled
from deepbid_rt.movies.array_movie import ArrayMovie, opening
from deepbid_rt.movies.array_pixels import ArrayPixels
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.wanted import Wanted

_MARKS = ("zarr.json", ".zgroup", ".zarray")
_MAX_JSON = 2**24
_MAX_CHUNK_BYTES = 2**30
_MAX_ARRAYS = 100
_MOST = 2
"""A stored piece this many times larger than its pixels is no honest one: decoding it could fill the memory."""
_UM = {"micrometer": 1.0, "micron": 1.0, "um": 1.0, "µm": 1.0, "μm": 1.0, "nanometer": 1e-3, "nm": 1e-3}
_UM |= {"millimeter": 1e3, "mm": 1e3, "meter": 1e6, "m": 1e6}
_S = {"second": 1.0, "s": 1.0, "millisecond": 1e-3, "ms": 1e-3, "microsecond": 1e-6, "minute": 60.0, "hour": 3600.0}


def claims(path: Path) -> bool:
    """Tell whether a folder is a Zarr array or group, by its name or by what lies in it."""
    try:
        if path.name.lower().endswith(".zarr.zip"):
            return path.is_file()
        return path.is_dir() and (path.suffix.lower() == ".zarr" or any((path / one).is_file() for one in _MARKS))
    except OSError:
        return False


def open_movie(path: Path, wanted: Wanted) -> MovieFile:
    """Open a picture of a Zarr folder at its highest resolution; `wanted.dataset` chooses among several.

    Raises
    ------
    FileError
        When the folder is damaged, lies elsewhere, or holds a plate, labels, no or several movies, or unknown codecs.
    StreamError
        When the array is no movie.
    """
    if path.is_file() or ":/" in str(path):
        raise FileError(
            f"{path}, an archive or an address on a network",
            expected="a Zarr folder on this computer",
            todo="unpack or copy it, and give the folder",
        )
    with opening(path, "a Zarr folder"):
        return _open(path, wanted)


class _Scale(NamedTuple):
    """What the metadata of a picture say of its highest resolution."""

    letters: str
    rate_hz: float | None
    pixel_um: tuple[float, float] | None


class _Picture(NamedTuple):
    """An array and what is known of it."""

    folder: Path
    name: str
    format: str
    scale: _Scale | None
    channels: tuple[str, ...] = ()


class ZarrSource:
    """A Zarr array; see `deepbid_rt.movies.array_pixels.ArraySource`."""

    def __init__(self, folder: Path, name: str) -> None:
        try:
            import zarr
        except ImportError as error:
            raise FileError(
                f"{name} without the Python package zarr",
                expected="the packages that read recordings",
                todo='install them: pip install "deepbid-rt[formats]"',
            ) from error
        try:
            self._array: Any = zarr.open_array(folder, mode="r")
        except Exception as error:  # unknown codecs raise exceptions of any type
            reason = " ".join(str(error).split())[:160]
            raise FileError(
                f"{name} cannot be opened ({type(error).__name__}: {reason})",
                expected="an array with installed codecs",
                todo="install the codec that it names, or save the array again, uncompressed or with zstd or blosc",
            ) from error
        self.name = name
        self.shape: tuple[int, ...] = tuple(self._array.shape)
        self.dtype: np.dtype[Any] = np.dtype(self._array.dtype)
        pieces = getattr(self._array, "shards", None) or self._array.chunks
        self.chunks: tuple[int, ...] | None = tuple(self._array.chunks)
        if self.dtype.hasobject:
            raise FileError(f"{name} of {self.dtype} values", expected="an array of numbers", todo="give another one")
        largest = math.prod(pieces) * self.dtype.itemsize
        if min(self.shape, default=1) < 1 or largest > _MAX_CHUNK_BYTES:
            raise FileError(
                f"{name} of shape {self.shape}, stored in pieces of {largest} bytes",
                expected=f"pixels, in pieces of at most {_MAX_CHUNK_BYTES} bytes",
                todo="store it in smaller pieces, such as one frame each",
            )
        self.warnings = self._missing(folder, tuple(pieces))

    def _missing(self, folder: Path, pieces: tuple[int, ...]) -> tuple[str, ...]:
        """Count the stored pieces: absent ones read as the fill value."""
        wanted = math.prod(-(-length // piece) for length, piece in zip(self.shape, pieces, strict=True))
        marks = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")
        most = _MOST * math.prod(pieces) * self.dtype.itemsize + 2**16
        there = 0
        for where, _, names in os.walk(folder):
            for name in names:
                size = 0 if name in marks else Path(where, name).stat().st_size
                if size > most:
                    raise FileError(
                        f"{name} of {self.name} with {size} bytes for {most // _MOST} bytes of pixels",
                        expected="pieces as large as their pixels at most",
                        todo="copy the folder again, or save the array again",
                    )
                there += name not in marks
        if there == 0:
            raise FileError(
                f"{self.name} without any stored pixel",
                expected="a recording",
                todo="copy the folder again, with all that lies in it",
            )
        if there >= wanted:
            return ()
        fill = getattr(self._array, "fill_value", None)
        return (f"{wanted - there} of {wanted} stored pieces are missing and read as {fill}",)

    @property
    def dimension_names(self) -> list[str | None]:
        """Names of the axes, where the array has them."""
        names = getattr(self._array.metadata, "dimension_names", None) or self._array.attrs.get("_ARRAY_DIMENSIONS")
        good = isinstance(names, (list, tuple)) and all(one is None or isinstance(one, str) for one in names)
        return list(names) if good and names is not None else []

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Return a piece. Raises what zarr raises."""
        return np.asarray(self._array[index])

    def close(self) -> None:
        """Do nothing: no file stays open."""


def _open(path: Path, wanted: Wanted) -> MovieFile:
    picture = _choose(path, wanted)
    source = ZarrSource(picture.folder, picture.name)
    if picture.scale is not None and wanted.shape is None:
        if len(picture.scale.letters) != len(source.shape):
            raise StreamError(
                f"{picture.name} of shape {source.shape} with axes {spelled(picture.scale.letters)}",
                expected="a name for each axis",
                todo="correct the metadata of the picture",
            )
        axes = Axes(picture.scale.letters, "by its OME metadata")
    elif (letters := named_axes(source.dimension_names, len(source.shape))) and wanted.shape is None:
        axes = Axes(letters, "by its dimension names")
    else:
        axes = plain_axes(source.shape, source.dtype, wanted, picture.name)
    pixels = ArrayPixels(source, axes.letters, wanted, picture.name)
    scale = picture.scale or _Scale("", None, None)
    notes = () if "T" in axes.letters else ("it has no time axis: it is read as one volume",)
    named = pixels.shape[1] == len(picture.channels)
    facts = MovieFacts(
        picture.format,
        f"array {picture.folder.name}, {pixels.pages}, {axes.source}",
        planes=pixels.planes,
        rate_hz=pixels.rate_hz(scale.rate_hz),
        pixel_um=scale.pixel_um,
        channel_names=picture.channels if named else (),
        warnings=(*axes.warnings, *source.warnings, *pixels.warnings, *notes),
    )
    movie = ArrayMovie(path, pixels, facts, uncompressed=False)
    movie.frame(0)  # what cannot be decoded is found now
    return movie


def _choose(path: Path, wanted: Wanted) -> _Picture:
    """Return the array that is asked for or the only one."""
    folder = path if wanted.dataset is None else _below(path, path, wanted.dataset)
    if not any((folder / one).is_file() for one in _MARKS):
        raise FileError(
            f"{folder}, which is no Zarr array or group",
            expected="one of zarr.json, .zgroup and .zarray in it",
            todo="copy the folder again, with hidden files" if wanted.dataset is None else "correct --dataset",
        )
    if _is_array(folder):
        return _inside_picture(path, folder) or _Picture(folder, f"the Zarr array {folder}", "Zarr", None)
    attributes = _attributes(folder)
    _refuse_others(folder, attributes)
    if "multiscales" in attributes:
        return _picture(path, folder, attributes)
    return _search(path, folder)


def _refuse_others(folder: Path, attributes: Mapping[str, Any]) -> None:
    for key, what in (("plate", "a plate"), ("well", "a well"), ("image-label", "labels"), ("labels", "labels")):
        if key in attributes:
            raise FileError(
                f"{folder}, {what} of OME-Zarr, not a movie",
                expected="a picture with multiscales",
                todo="give the folder of one picture, or its path with --dataset",
            )


def _search(path: Path, folder: Path) -> _Picture:
    """Find the only picture or array in a group."""
    pictures: list[_Picture] = []
    waiting = [folder]
    while waiting and len(pictures) < _MAX_ARRAYS:
        here = waiting.pop(0)
        for one in sorted(here.iterdir()):
            if not one.is_dir() or one.is_symlink() or not any((one / mark).is_file() for mark in _MARKS):
                continue
            if _is_array(one):
                if _ndim(one) >= 3:
                    pictures.append(_Picture(one, f"the Zarr array {one}", "Zarr", None))
                continue
            attributes = _attributes(one)
            if "multiscales" in attributes and "image-label" not in attributes:
                pictures.append(_picture(path, one, attributes))
            elif not {"plate", "well", "labels", "image-label"} & set(attributes):
                waiting.append(one)
    if len(pictures) == 1:
        return pictures[0]
    names = []
    for picture in pictures[:8]:
        named = picture.folder if picture.scale is None else picture.folder.parent
        names.append(str(named.relative_to(path)))
    raise FileError(
        f"{folder} with {len(pictures)} pictures{': ' + ', '.join(names) if names else ''}",
        expected="one, or a choice",
        todo=f"give one of them with --dataset, such as --dataset {names[0]}" if names else "give another folder",
    )


def _inside_picture(path: Path, folder: Path) -> _Picture | None:
    """Return an array with the metadata of the OME-Zarr group around it, when it is its highest resolution."""
    group = folder.parent
    if folder == path or not any((group / one).is_file() for one in _MARKS):
        return None
    attributes = _attributes(group)
    if "multiscales" not in attributes:
        return None
    picture = _picture(path, group, attributes)
    return picture if picture.folder.resolve() == folder.resolve() else None


def _picture(path: Path, folder: Path, attributes: Mapping[str, Any]) -> _Picture:
    """Read the metadata of an OME-Zarr picture."""
    several = attributes["multiscales"]
    first = several[0] if isinstance(several, list) and several and isinstance(several[0], dict) else {}
    levels = first.get("datasets")
    level = levels[0] if isinstance(levels, list) and levels and isinstance(levels[0], dict) else {}
    where = level.get("path")
    if not isinstance(where, str):
        raise FileError(
            f"{folder}, whose multiscales name no array",
            expected="the metadata of OME-Zarr",
            todo="give the array itself with --dataset, such as --dataset 0",
        )
    array = _below(path, folder, where)
    scale = _scale(first, level, folder)
    return _Picture(array, f"the array {where} of {folder}", "OME-Zarr", scale, _channel_names(attributes))


def _scale(first: Mapping[str, Any], level: Mapping[str, Any], folder: Path) -> _Scale:
    axes = first.get("axes")
    if axes is None:  # before version 0.3 there was one order
        axes = list("tczyx")
    named = [one if isinstance(one, str) else one.get("name") for one in axes if isinstance(one, (str, dict))]
    units = [one.get("unit") if isinstance(one, dict) else None for one in axes if isinstance(one, (str, dict))]
    texts = [one if isinstance(one, str) else None for one in named]
    letters = named_axes(texts, len(texts))
    if letters is None:
        raise FileError(
            f"{folder} with axes {', '.join(map(str, named))[:200]}",
            expected="axes t, c, z, y and x",
            todo="give the array itself with --dataset and the shape of a frame with --shape",
        )
    steps = [1.0] * len(letters)
    told = False
    for owner in (first, level):
        transforms = owner.get("coordinateTransformations")
        for one in transforms if isinstance(transforms, list) else ():
            scale = one.get("scale") if isinstance(one, dict) else None
            if isinstance(scale, list) and len(scale) == len(steps) and all(_is_positive(step) for step in scale):
                steps = [step * float(more) for step, more in zip(steps, scale, strict=True)]
                told = True

    def step(letter: str, known: Mapping[str, float]) -> float | None:
        if not told or letter not in letters:
            return None
        unit = units[letters.index(letter)]
        factor = known.get(unit.strip().lower()) if isinstance(unit, str) else None
        return None if factor is None else steps[letters.index(letter)] * factor

    period, y, x = step("T", _S), step("Y", _UM), step("X", _UM)
    return _Scale(letters, 1 / period if period else None, (y, x) if y and x else None)


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _channel_names(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    omero = attributes.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(channels, list):
        return ()
    names = [one.get("label") for one in channels if isinstance(one, dict)]
    good = [one for one in names if isinstance(one, str)]
    return tuple(good) if len(good) == len(channels) else ()


def _below(path: Path, folder: Path, name: str) -> Path:
    """Return a path inside the Zarr folder. Raises `FileError` when it leaves it."""
    inside = folder / name.strip("/")
    if not inside.resolve().is_relative_to(path.resolve()):
        raise FileError(
            f"{name} in {folder} that lies outside {path}",
            expected="pixels in the folder itself",
            todo="copy the folder again, or give the folder that holds the pixels",
        )
    return inside


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    if path.stat().st_size > _MAX_JSON:
        raise FileError(f"{path}, larger than {_MAX_JSON} bytes", expected="metadata of a picture", todo="check it")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged ({error})", expected="intact metadata", todo="copy it again") from error
    return value if isinstance(value, dict) else {}


def _is_array(folder: Path) -> bool:
    return (folder / ".zarray").is_file() or _json(folder / "zarr.json").get("node_type") == "array"


def _ndim(folder: Path) -> int:
    shape = (_json(folder / "zarr.json") or _json(folder / ".zarray")).get("shape")
    return len(shape) if isinstance(shape, list) else 0


def _attributes(folder: Path) -> Mapping[str, Any]:
    """Return the attributes of a group; those of OME-Zarr 0.5 without their ``ome``."""
    attributes = _json(folder / "zarr.json").get("attributes")
    if not isinstance(attributes, dict):
        attributes = _json(folder / ".zattrs")
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes
