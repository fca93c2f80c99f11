"""A recording of any format that can be read, written in a format that other programs read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepbid_rt.conversion.nwb_facts import NwbFacts
from deepbid_rt.conversion.target import Format, Target
from deepbid_rt.conversion.volumes import Progress, Volumes
from deepbid_rt.errors import FileError, require_effect
from deepbid_rt.movies.movie_file import MovieFile

_UNCOMPRESSED = ("ome-tiff", "imagej")


@dataclass(frozen=True)
class Conversion:
    """What was written."""

    path: Path
    format: Format
    shape: tuple[int, int, int, int, int]
    """(T, Z, C, Y, X)."""
    notes: tuple[str, ...]
    """What a user has to know about the file."""


def check_nwb(option: str, given: Mapping[str, object], target: Target) -> NwbFacts:
    """Return the facts for an NWB file. Raises `OptionError` when they are wrong, or the file is none."""
    require_effect(
        option,
        given,
        target.format == "nwb",
        why=f"for {target.path.name}, which is no NWB file",
        expected="a name that ends in .nwb",
        todo="change the name",
    )
    return NwbFacts.of(given)


def convert(
    movie: MovieFile,
    target: Target,
    *,
    rate_hz: float | None = None,
    nwb: NwbFacts | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Write a recording in the format of a target. Memory does not grow with its length.

    Parameters
    ----------
    movie : MovieFile
        Open; it stays open.
    target : Target
        Where to write. It has its name only when it is whole.
    rate_hz : float, optional
        Frames per second over all planes, in place of the rate and times that the recording states.
    nwb : NwbFacts, optional
        What an NWB file has to state.
    progress : callable, optional
        Called with the number of frames written so far.

    Raises
    ------
    FileError
        When the recording would be overwritten, there is no room, or a package is missing that writes the format.
    StreamError
        When the recording lacks what the format requires.
    OptionError
        When there are NWB facts for another number of channels.
    StageError
        When a frame cannot be read, or the disk refuses.
    """
    target.refuse_source(movie.path)
    volumes = Volumes(movie, rate_hz=rate_hz, progress=progress)
    if target.format in _UNCOMPRESSED:
        target.check_room(volumes.nbytes)
    try:
        with target.writing() as part:
            notes = _write(volumes, target.format, part, nwb or NwbFacts(), movie.path)
    except ImportError as error:
        extra = "nwb" if target.format == "nwb" else "formats"
        raise FileError(
            f"{target.path.name} without the Python package {error.name}",
            expected="the packages that write this format",
            todo=f'install them: pip install "deepbid-rt[{extra}]"',
        ) from error
    return Conversion(target.path, target.format, volumes.shape, tuple(notes))


def _write(volumes: Volumes, format_: Format, part: Path, nwb: NwbFacts, source: Path) -> list[str]:
    """Write the file; return notes. The modules are imported when they are needed: their packages are large."""
    match format_:
        case "ome-tiff":
            from deepbid_rt.conversion.ome_tiff import write_ome_tiff

            return write_ome_tiff(volumes, part)
        case "imagej":
            from deepbid_rt.conversion.imagej_tiff import write_imagej

            return write_imagej(volumes, part)
        case "ome-zarr":
            from deepbid_rt.conversion.ome_zarr import write_ome_zarr

            return write_ome_zarr(volumes, part)
        case "nwb":
            from deepbid_rt.conversion.nwb import time_of_change, write_nwb

            return write_nwb(volumes, part, nwb, time_of_change(source))
