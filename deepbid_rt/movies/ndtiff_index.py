"""``NDTiff.index``: where each image of an NDTiff dataset lies, and its place along the axes.

One entry per image, little-endian, as Micro-Manager and pycro-manager write them (NDTiff versions 2 and 3, after
https://github.com/micro-manager/NDTiffStorage, ``IndexEntryData.java`` and ``ndtiff_index.py``): length and text of the
axes (JSON), length and text of the file's name, then eight 32-bit numbers: offset of the pixels, width, height, pixel
type, compression, offset of the metadata, their length, their compression.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from deepbid_rt.errors import FileError
from deepbid_rt.movies.image_axes import are_axes

MAX_INDEX_BYTES = 2**29
"""Largest index that is read: about three million images."""
_MAX_TEXT = 2**16
_NUMBERS = struct.Struct("<8I")

Axes = dict[str, int | str]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One image."""

    axes: Axes
    file_name: str
    offset: int
    """Of its pixels."""
    width: int
    height: int
    pixel_type: int
    """0: 8 bits, 1: 16 bits, 2: RGB, 3 to 6: 10, 12, 14 and 11 bits in 16."""
    compression: int
    metadata_offset: int
    metadata_length: int


def read_ndtiff_index(path: Path, *, salvage: bool = False) -> tuple[list[IndexEntry], str | None]:
    """Read an index.

    Parameters
    ----------
    path : Path
        The index.
    salvage : bool
        Return the entries before a damaged one.

    Returns
    -------
    entries : list of IndexEntry
        The images in the order of their writing.
    problem : str or None
        Why there may have been more, as when the acquisition still runs or ended abruptly; None when it is whole.

    Raises
    ------
    FileError
        When the index cannot be read, is too large, is damaged, or has no entry.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_INDEX_BYTES + 1)
    except OSError as error:
        raise FileError(
            f"{path} cannot be read ({error.strerror or error})",
            expected="a file that may be read",
            todo="check the path and the rights",
        ) from error
    entries: list[IndexEntry] = []
    problem = "it is too large" if len(raw) > MAX_INDEX_BYTES else None
    at = 0
    while problem is None and at < len(raw):
        if not any(raw[at : at + 4]) and not raw[at:].strip(b"\0"):
            problem = "it was not closed, so the acquisition ended abruptly"
            break
        try:
            entry, at = _entry(raw, at)
        except EOFError:
            problem = f"entry {len(entries)} is cut off, as while it is written"
            break
        except (ValueError, RecursionError) as error:
            problem = f"entry {len(entries)} is damaged ({error})"
            if not salvage:
                entries.clear()
            break
        entries.append(entry)
    if not entries:
        raise FileError(
            f"{path} has no entry, or is damaged" + (f": {problem}" if problem else ""),
            expected="an intact index with at least one image",
            todo="copy the folder again, or use the images before the damage with --salvage",
        )
    return entries, problem


def _entry(raw: bytes, at: int) -> tuple[IndexEntry, int]:
    text, at = _text(raw, at)
    axes = json.loads(text)
    if not are_axes(axes):
        raise ValueError("its axes are no names with numbers")
    name, at = _text(raw, at)
    if at + _NUMBERS.size > len(raw):
        raise EOFError
    offset, width, height, pixel_type, compression, metadata_offset, metadata_length, _ = _NUMBERS.unpack_from(raw, at)
    entry = IndexEntry(axes, name, offset, width, height, pixel_type, compression, metadata_offset, metadata_length)
    return entry, at + _NUMBERS.size


def _text(raw: bytes, at: int) -> tuple[str, int]:
    length = int.from_bytes(raw[at : at + 4], "little")
    at += 4
    if at <= len(raw) and not 0 < length <= _MAX_TEXT:
        raise ValueError(f"a text of {length} bytes")
    if at + length > len(raw):
        raise EOFError
    return raw[at : at + length].decode(), at + length
