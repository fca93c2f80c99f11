"""Well-known formats that are not read: each is refused with what to do instead."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from deepbid_rt.errors import FileError
from deepbid_rt.movies.wanted import Wanted

_EXPORT = "export it to OME-TIFF with {} or with Fiji (Bio-Formats), and give that"
_VIDEO = "a compressed video, whose pixels are no longer the counts that were recorded"
_PICTURE = "a picture, not a movie of counts"
_NOTES = "a file of settings or notes"
_FORMATS: dict[str, tuple[str, str]] = {
    ".mrc": ("an MRC stack", "convert it to TIFF with Fiji (Bio-Formats) or with the Python package mrcfile"),
    ".czi": ("a Zeiss file", _EXPORT.format("ZEN")),
    ".lsm": ("a Zeiss file", _EXPORT.format("ZEN")),
    ".nd2": ("a Nikon file", _EXPORT.format("NIS-Elements")),
    ".lif": ("a Leica file", _EXPORT.format("LAS X")),
    ".lof": ("a Leica file", _EXPORT.format("LAS X")),
    ".xlef": ("a Leica file", _EXPORT.format("LAS X")),
    ".oif": ("an Olympus file", _EXPORT.format("FluoView")),
    ".oib": ("an Olympus file", _EXPORT.format("FluoView")),
    ".oir": ("an Olympus file", _EXPORT.format("FluoView")),
    ".vsi": ("an Olympus file", _EXPORT.format("cellSens")),
    ".ims": ("an Imaris file", _EXPORT.format("Imaris")),
    ".dv": ("a DeltaVision file", _EXPORT.format("softWoRx")),
    ".sld": ("a SlideBook file", _EXPORT.format("SlideBook")),
    ".sldy": ("a SlideBook file", _EXPORT.format("SlideBook")),
    ".mdf": ("a Sutter MScan file", _EXPORT.format("MView")),
    ".mes": ("a Femtonics MES file", "export it to .mesc or TIFF with MESc"),
    ".isxd": ("an Inscopix movie", "export it to TIFF with Inscopix Data Processing"),
    ".tdms": ("a LabVIEW file", "export its pixels to TIFF, or to a raw file that is given with --shape and --dtype"),
    ".mat": ("a MATLAB file", "save the movie as HDF5 (save with -v7.3) or TIFF, and of a Scanbox give the .sbx file"),
    ".zip": ("an archive", "unpack it and give the recording inside"),
    ".gz": ("an archive", "unpack it and give the recording inside"),
    ".tar": ("an archive", "unpack it and give the recording inside"),
    ".7z": ("an archive", "unpack it and give the recording inside"),
    **dict.fromkeys(
        (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".jp2"),
        (_PICTURE, "give the TIFF or raw file of the microscope, or save the pictures as one TIFF stack"),
    ),
    **dict.fromkeys(
        (".avi", ".mp4", ".mov", ".mkv", ".wmv", ".webm", ".m4v"), (_VIDEO, "give the recording it was made from")
    ),
    **dict.fromkeys(
        (".xml", ".json", ".txt", ".csv", ".md", ".ini", ".yaml", ".yml", ".toml", ".env", ".log"),
        (_NOTES, "give the recording itself, or the folder that the microscope's software wrote"),
    ),
}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MATLAB_BLOCK = 512
"""Where HDF5 begins in a MATLAB file of version 7.3."""


def claims(path: Path) -> bool:
    """Tell whether a file is of such a format, by its name and, for .mat and .xml, its first bytes and neighbours."""
    suffix = path.suffix.lower()
    if suffix not in _FORMATS or not path.is_file():
        return False
    try:
        if suffix == ".mat":
            return not (path.with_suffix(".sbx").exists() or _begins_hdf5(path))
        if suffix == ".xml":
            return not _is_microscope_xml(path)
        if suffix == ".json":
            return path.name != "zarr.json"
    except OSError:
        return True
    return True


def _begins_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_MATLAB_BLOCK + len(_HDF5))
    return _HDF5 in (head[: len(_HDF5)], head[_MATLAB_BLOCK:])


def _is_microscope_xml(path: Path) -> bool:
    if path.name.lower() == "experiment.xml" or path.name.lower().endswith(".ome.xml"):
        return True
    with path.open("rb") as file:
        head = file.read(4096)
    return b"PVScan" in head.replace(b"\0", b"")


def open_movie(path: Path, wanted: Wanted) -> NoReturn:
    """Refuse a file of such a format.

    Raises
    ------
    FileError
        Always.
    """
    what, todo = _FORMATS[path.suffix.lower()]
    raise FileError(
        f"{path}, {what}",
        expected="a recording in one of the formats of docs/reference/formats.md",
        todo=todo,
    )
