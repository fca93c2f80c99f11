"""Names of the files of a recording: date, time, name of the session, series; then what is in the file.

All files of a series share the stem, ``2026-11-29_21-54-46_mouse7_3f2a9c``::

    <stem>.jsonl             the session log; its later parts end in _part002.jsonl, _part003.jsonl ...
    <stem>_raw.tif           the raw movie, or <stem>_raw_00001.tif ... when it is in files of a fixed length
    <stem>_raw_part002.tif   the raw movie after an interruption, or <stem>_raw_part002_00001.tif ...
    <stem>_denoised.tif      the denoised movie, likewise

Sorted by name, the files of a series follow each other in the order of writing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.frame import StreamInfo

Stream = Literal["raw", "denoised"]

_DATE = r"\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}"
_STEM = rf"(?P<stem>{_DATE}_[A-Za-z0-9_-]+?)"
_PART = r"(?:_part(?P<part>\d{3,}))?"
_MOVIE = re.compile(rf"{_STEM}_(?P<stream>raw|denoised){_PART}(?:_(?P<number>\d{{5,}}))?\.tif")
_LOG = re.compile(rf"{_STEM}{_PART}\.jsonl")


def check_session_name(name: str) -> str:
    """Return the name of a session, which may be empty. Raises `FileError` when it cannot be in a file name."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,64}", name):
        raise FileError(
            f"a session named {name[:80]!r}",
            expected="up to 64 letters, digits, _ and -",
            todo="choose a name such as mouse7_day2",
        )
    return name


def series_name(info: StreamInfo) -> str:
    """Return the name of a series in file names: the identifier of the raw series, also for a denoised one.

    Raises `StreamError` when it is not safe in a file name; it comes from the sender.
    """
    name = info.parent or info.series
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name):
        raise StreamError(
            f"a series named {name[:140]!r}",
            expected="1..128 letters, digits, _ and -",
            todo="let the sender name its series with a UUID in hexadecimal",
        )
    return name


@dataclass(frozen=True)
class RecordingName:
    """The files of one series in one folder."""

    directory: Path
    stem: str

    @classmethod
    def of_series(cls, directory: Path, series: str, session: str, t_ns: int) -> RecordingName:
        """Return the name of a series that is recorded from now on.

        When the folder has files of this series and session, the stem is theirs, so that the new files become their
        next parts. A folder that cannot be read counts as empty.

        Parameters
        ----------
        directory : Path
        series : str
            Result of `series_name`.
        session : str
            See `check_session_name`.
        t_ns : int
            Time at which the series begins, nanoseconds since the Unix epoch. The name has it in local time, as clock
            and notebook in the laboratory do; the times in the log are in UTC.
        """
        label = f"{session}_{series}" if session else series
        began = re.compile(rf"{_DATE}_{re.escape(label)}")
        stems = {m["stem"] for m in _matches(directory) if began.fullmatch(m["stem"])}
        date = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(t_ns / 1e9))
        return cls(directory, max(stems, default=f"{date}_{label}"))

    @classmethod
    def of_file(cls, path: Path) -> RecordingName | None:
        """Return the name to which a movie or a log belongs; None for a file with another kind of name."""
        match = _MOVIE.fullmatch(path.name) or _LOG.fullmatch(path.name)
        return cls(path.parent, match["stem"]) if match else None

    def movie(self, stream: Stream, part: int = 1, number: int | None = None) -> Path:
        """Return the path of a movie; `part` counts from 1, and `number` from 1 within a part."""
        end = "" if number is None else f"_{number:05d}"
        return self.directory / f"{self.stem}_{stream}{_part(part)}{end}.tif"

    def log(self, part: int = 1) -> Path:
        """Return the path of a part of the log, counted from 1."""
        return self.directory / f"{self.stem}{_part(part)}.jsonl"

    def movies(self, stream: Stream) -> list[Path]:
        """Return the movies in the folder, in the order of writing. Raises `OSError` when it cannot be read."""
        movies = map(_MOVIE.fullmatch, _names(self.directory))
        return self._sorted(m for m in movies if m and m["stream"] == stream)

    def logs(self) -> list[Path]:
        """Return the parts of the log in the folder, in the order of writing. Raises `OSError`."""
        return self._sorted(m for m in map(_LOG.fullmatch, _names(self.directory)) if m)

    def next_part(self, of: Stream | Literal["log"]) -> int:
        """Return the number of the part that follows those in the folder. Raises `OSError`."""
        paths = self.logs() if of == "log" else self.movies(of)
        return max((_number_of_part(_match(path)) for path in paths), default=0) + 1

    def _sorted(self, matches: Iterable[re.Match[str]]) -> list[Path]:
        found = [m for m in matches if m["stem"] == self.stem]
        return [self.directory / m.string for m in sorted(found, key=_order)]


def log_beside(movie: Path) -> list[Path]:
    """Return the parts of the session log of a recording, in the order of writing. Raises `OSError`."""
    name = RecordingName.of_file(movie)
    return name.logs() if name else []


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def _matches(directory: Path) -> list[re.Match[str]]:
    try:
        names = _names(directory)
    except OSError:
        return []
    return [m for name in names if (m := _MOVIE.fullmatch(name) or _LOG.fullmatch(name))]


def _match(path: Path) -> re.Match[str]:
    match = _MOVIE.fullmatch(path.name) or _LOG.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path} is no file of a recording")
    return match


def _number_of_part(match: re.Match[str]) -> int:
    return int(match["part"] or 1)


def _order(match: re.Match[str]) -> tuple[int, int]:
    return _number_of_part(match), int(match.groupdict().get("number") or 0)


def _part(part: int) -> str:
    return f"_part{part:03d}" if part > 1 else ""
