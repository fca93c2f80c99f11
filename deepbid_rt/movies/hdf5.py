"""Movies in HDF5 files of any program, among them MATLAB's .mat files of version 7.3.

The one dataset that can be a movie is taken; among several the user chooses. Names of axes, rate and pixel size are
taken where the file says them: dimension labels and scales of HDF5 itself, ``fr`` of CaImAn (read off
https://github.com/flatironinstitute/CaImAn), ``element_size_um`` of the HDF5 plugin of Fiji
(https://imagej.net/plugins/hdf5), ``MATLAB_class`` of MATLAB, which stores its axes in reverse order.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from deepbid_rt.errors import FileError
from deepbid_rt.movies.array_axes import Axes, named_axes, plain_axes
from deepbid_rt.movies.array_movie import ArrayMovie, opening
from deepbid_rt.movies.array_pixels import ArrayPixels
from deepbid_rt.movies.hdf5_file import Hdf5File, begins_hdf5
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.wanted import Wanted

SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
_OTHERS = (".nwb", ".mesc", ".ims")
_MATLAB_BLOCK = 512
_MIN_SIDE = 8
_SMALL = 100
"""A dataset this many times smaller than the largest one is no rival to it."""
_RATES = ("fr", "fps", "frame_rate", "framerate", "frame_rate_hz", "rate_hz", "sampling_rate")
_MAX_LISTED = 8


def claims(path: Path) -> bool:
    """Tell whether a file is HDF5 and of no program with a reader of its own, by its name and first bytes."""
    suffix = path.suffix.lower()
    if suffix == ".mat":
        return not path.with_suffix(".sbx").exists() and begins_hdf5(path, user_block=_MATLAB_BLOCK)
    if suffix in SUFFIXES:
        return path.is_file()
    return suffix not in _OTHERS and begins_hdf5(path)


def open_movie(path: Path, wanted: Wanted) -> MovieFile:
    """Open a dataset of an HDF5 file; `wanted.dataset` chooses among several.

    Raises
    ------
    FileError
        When the file is cut, damaged or being written, no or several datasets can be a movie, its pixels lie in other
        files, or a filter is missing.
    StreamError
        When the dataset is no movie.
    """
    with opening(path, "an HDF5 file"):
        file = Hdf5File(path)
        try:
            return _open(file, wanted)
        except BaseException:
            file.close()
            raise


def _open(file: Hdf5File, wanted: Wanted) -> MovieFile:
    dataset, aside = _choose(file, wanted)
    source = file.source(dataset)
    matlab = "MATLAB_class" in dataset.attrs
    axes = _axes(dataset, matlab, wanted, source.name)
    pixels = ArrayPixels(source, axes.letters, wanted, source.name)
    rate, where = _rate(file, dataset)
    notes = [f"{', '.join(aside)} is left aside; give it with --dataset to read it"] if aside else []
    facts = MovieFacts(
        "MATLAB 7.3" if matlab else "HDF5",
        f"dataset {dataset.name}, {pixels.pages}, {axes.source}{where}",
        planes=pixels.planes,
        rate_hz=pixels.rate_hz(rate),
        pixel_um=_pixel_um(dataset, axes.letters),
        warnings=(*axes.warnings, *source.warnings, *pixels.warnings, *notes),
    )
    movie = ArrayMovie(file.path, pixels, facts, uncompressed=not source.compressed)
    if source.compressed:
        movie.frame(0)  # what cannot be decoded is found now
    return movie


def is_candidate(dataset: Any) -> bool:
    """Tell whether a dataset of an HDF5 file can be a movie: numbers, 3 to 5 axes, several frames, not tiny."""
    shape = dataset.shape
    if shape is None or dataset.dtype.kind not in "biufc" or len(shape) not in (3, 4, 5):
        return False
    return bool(min(shape) >= 1 and sorted(shape)[-2] >= _MIN_SIDE and math.prod(shape) > max(shape) * _MIN_SIDE)


def listed(datasets: list[Any]) -> str:
    """Return datasets with shape and type, in words."""
    words = [f"{one.name} {one.shape} {one.dtype}" for one in datasets[:_MAX_LISTED]]
    more = len(datasets) - len(words)
    return ", ".join(words) + (f" and {more} more" if more > 0 else "")


def _choose(file: Hdf5File, wanted: Wanted) -> tuple[Any, list[str]]:
    """Return the dataset that is asked for or the only candidate, and names of small ones beside it."""
    start = None
    if wanted.dataset is not None:
        start = file.member(wanted.dataset)
        if start is None:
            there = listed([one for one in file.datasets() if is_candidate(one)])
            raise FileError(
                f"no dataset {wanted.dataset} in {file.path}",
                expected=f"one of {there or 'its datasets, of which none can be a movie'}",
                todo="give one of them with --dataset",
            )
        if not hasattr(start, "keys"):
            return start, []
    found = [one for one in file.datasets(start) if is_candidate(one)]
    largest = max((one.nbytes for one in found), default=0)
    rivals = [one for one in found if one.nbytes * _SMALL >= largest]
    if len(rivals) == 1:
        return rivals[0], [one.name for one in found if one.name != rivals[0].name][:_MAX_LISTED]
    if rivals:
        raise FileError(
            f"{file.path} with {len(rivals)} datasets that can be the movie: {listed(rivals)}",
            expected="one, or a choice",
            todo=f"give one of them with --dataset, such as --dataset {rivals[0].name}",
        )
    outside = file.leaving()
    raise FileError(
        f"{file.path}, in which no dataset can be a movie"
        + (f" ({outside[0]} lies in another file)" if outside else ""),
        expected="numbers with axes (T, Y, X), (T, C, Y, X) or (T, Z, C, Y, X)",
        todo="give the file that holds the pixels",
    )


def _axes(dataset: Any, matlab: bool, wanted: Wanted, name: str) -> Axes:
    labels = [dim.label for dim in dataset.dims]
    letters = named_axes(labels, len(labels))
    if letters is not None and wanted.shape is None:
        return Axes(letters, "by its dimension labels")
    if not matlab:
        return plain_axes(dataset.shape, dataset.dtype, wanted, name)
    shape = wanted.shape and (*wanted.shape[:-2], wanted.shape[-1], wanted.shape[-2])
    turned = Wanted(wanted.channels, wanted.planes, wanted.flyback, shape=shape)
    axes = plain_axes(dataset.shape, dataset.dtype, turned, name)
    order = axes.letters.translate(str.maketrans("XY", "YX"))
    words = f"MATLAB stores its axes {','.join(order[::-1])} in reverse"
    return Axes(order, words, axes.warnings)


def _rate(file: Hdf5File, dataset: Any) -> tuple[float | None, str]:
    """Return steps of the time axis per second and where that is known from."""
    for attributes in (dataset.attrs, file.file.attrs):
        for name in _RATES:
            rate = number(attributes, name)
            if rate is not None and 0 < rate < 1e6:
                return rate, f", rate by attribute {name}"
    return None, ""


def _pixel_um(dataset: Any, letters: str) -> tuple[float, float] | None:
    sizes = dataset.attrs.get("element_size_um")
    if not isinstance(sizes, np.ndarray) or sizes.shape != (3,) or sizes.dtype.kind not in "fiu":
        return None
    y, x = float(sizes[1]), float(sizes[2])
    return (y, x) if 0 < y < 1e4 and 0 < x < 1e4 and letters.index("Y") < letters.index("X") else None


def number(attributes: Any, name: str) -> float | None:
    """Return an attribute that is one finite number; None when there is no such attribute."""
    if name not in attributes:
        return None
    value = np.asarray(attributes[name])
    if value.size != 1 or value.dtype.kind not in "fiu":
        return None
    one = float(value.reshape(-1)[0])
    return one if math.isfinite(one) else None
