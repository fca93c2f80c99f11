"""Which TIFF files are one recording: a file, a folder of numbered files, or a pattern with ``*``."""

from __future__ import annotations

import fnmatch
import itertools
import re
from pathlib import Path

from deepbid_rt.errors import FileError, StreamError

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".tf2")
"""Endings of TIFF files."""
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DIGITS = re.compile(r"(\d+)")


def is_tiff_name(path: Path) -> bool:
    """Tell whether a name is that of a TIFF file that is not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def has_tiff_magic(path: Path) -> bool:
    """Tell whether a file begins as a TIFF does; raises nothing."""
    try:
        with path.open("rb") as file:
            return file.read(4) in _MAGIC
    except (OSError, ValueError):
        return False


def tiffs_in(path: Path) -> list[Path]:
    """Return the TIFF files of a folder or a pattern in natural order, so that 10 comes behind 9; raises nothing."""
    folder = path if "*" not in path.name else path.parent
    try:
        found = [one for one in folder.iterdir() if is_tiff_name(one) and one.is_file()]
    except (OSError, ValueError):
        return []
    if folder != path:
        found = [one for one in found if fnmatch.fnmatchcase(one.name, _only_stars(path.name))]
    return sorted(found, key=lambda one: (_numbers(one), one.name))


def files_of(path: Path, *, salvage: bool = False) -> list[Path]:
    """Return the files of one recording, in order.

    Parameters
    ----------
    path : Path
        A file; a folder, whose TIFF files have to be one series (equal names but for one number); or a pattern, which
        may match several acquisitions, which then follow each other.
    salvage : bool
        Accept that files in between are missing.

    Raises
    ------
    FileError
        When there is no TIFF file, or one in between is missing, which is named.
    StreamError
        When a folder holds several series, or the names that a pattern matches differ in more than numbers.
    """
    pattern = "*" in path.name
    if not pattern and not path.is_dir():
        return [path]
    found = tiffs_in(path)
    if not found:
        raise FileError(
            f"no TIFF file {'matches' if pattern else 'in'} {path}",
            expected=f"files that end in {', '.join(SUFFIXES)}",
            todo="check the path",
        )
    texts = {_series(one) for one in found}
    columns = list(zip(*(_numbers(one) for one in found), strict=True)) if len(texts) == 1 else []
    varying = [at for at, column in enumerate(columns) if len(set(column)) > 1]
    if len(texts) > 1 or (len(varying) > 1 and not pattern):
        example = _star(found, varying[-1] if varying else None)
        other = next((one for one in found if _series(one) != _series(found[0])), found[-1])
        raise StreamError(
            f"{path} with TIFF files of several recordings, such as {found[0].name} and {other.name}",
            expected="the numbered files of one recording",
            todo=f"give one file, or a pattern such as {example}",
        )
    if varying and not salvage:
        _refuse_gap(found, varying[-1])
    return found


def _refuse_gap(found: list[Path], at: int) -> None:
    """Refuse a series of which files in between are missing; the step is the smallest one between two files."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for one in found:
        groups.setdefault(_numbers(one)[:at], []).append(_numbers(one)[at])
    for before, numbers in groups.items():
        steps = [late - early for early, late in itertools.pairwise(numbers)]
        step = min(steps, default=1)
        late = next((k for k, one in enumerate(steps) if one != step), None)
        if late is not None and step > 0:
            example = next(one for one in found if _numbers(one)[: at + 1] == (*before, numbers[late]))
            raise FileError(
                f"no file {example.with_name(_with_number(example.name, at, numbers[late] + step))}, which is between "
                f"{example.name} and the next one",
                expected=f"all files of the series ({len(found)} are there)",
                todo="copy the missing files, or open what is there with --salvage",
            )


def _with_number(name: str, at: int, number: int) -> str:
    parts = _DIGITS.split(name)
    parts[2 * at + 1] = f"{number:0{len(parts[2 * at + 1])}d}"
    return "".join(parts)


def _star(found: list[Path], at: int | None) -> str:
    """Return a pattern for the recording of the first file."""
    parts = _DIGITS.split(found[0].name)
    if at is None:
        at = len(parts) // 2 - 1
    if at >= 0:
        parts[2 * at + 1] = "*"
    return "".join(parts)


def _series(path: Path) -> str:
    """Return a name without its numbers."""
    return _DIGITS.sub("#", path.name)


def _numbers(path: Path) -> tuple[int, ...]:
    return tuple(int(digits) for digits in _DIGITS.findall(path.name))


def _only_stars(pattern: str) -> str:
    """Return a pattern in which only ``*`` has a meaning, as brackets are common in file names."""
    return re.sub(r"([\[?])", r"[\1]", pattern)
