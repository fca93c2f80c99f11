"""The session log beside a recording: one JSON object per line."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.recording.log_file import LogFile
from deepbid_rt.recording.recording_name import RecordingName, check_session_name, log_beside, series_name

OPEN_LOGS = 4
"""Logs that stay open at the same time. Recorders that lag behind still write to the series before the latest."""


class Sidecar:
    """JSON-lines logs beside the recordings, one per series, shared by all recorders of a session; thread-safe.

    Each line reaches the operating system before `write` returns, so that a killed process leaves complete lines. A
    disk that refuses lines raises nothing before `close`: they wait, are tried again, and go into a new part of the
    log, see `LogFile`. So a log cannot end a session or a recording. `sync` forces a log to the disk. It is separate
    because it may take long.

    This class writes three kinds of lines: ``start`` (``info``: the `StreamInfo`; one each for the raw and the denoised
    stream), ``part`` (a later part of the log begins) and ``summary`` (the number of lines of each kind, and the totals
    of the session). Callers write others.

    Parameters
    ----------
    directory : Path or str
        Folder of the logs; created when the first line is written.
    name : str
        Name of the session, in the names of the files; may be empty. See `check_session_name`.
    trouble : callable, optional
        Called with one sentence when the disk refuses lines, and with None when it has taken all of them. Called
        without the lock, in the thread that wrote.
    clock : callable
        Returns nanoseconds since the Unix epoch.

    Raises
    ------
    FileError
        When the name cannot be in a file name.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        name: str = "",
        trouble: Callable[[str | None], None] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.directory = Path(directory)
        """Folder of the logs."""
        self._session = check_session_name(name)
        self._trouble = trouble
        self._clock = clock
        self._lock = threading.Lock()
        self._telling = threading.RLock()  # taken before `_lock`; `trouble` may write a line
        self._logs: dict[str, LogFile] = {}  # by series, the one used last at the end
        self._counts: dict[str, Counter[str]] = {}  # per series, lines of each kind
        self._streams: set[str] = set()  # series ids, raw and denoised, whose start was written
        self._latest: str | None = None
        self._sync_error: str | None = None
        self._told: str | None = None  # what `trouble` was called with last
        self._closed = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files written so far."""
        with self._lock:
            return tuple(path for series in self._counts for path in self._logs[series].paths)

    def begin(self, info: StreamInfo, **fields: object) -> str:
        """Begin the log of a series unless it has begun; return the series' name for `write`.

        Parameters
        ----------
        info : StreamInfo
            Written once: a second call for the same stream writes nothing.
        **fields
            Further keys of the ``start`` line.

        Raises
        ------
        StreamError
            When the name of the series cannot be in a file name.
        """
        series = series_name(info)
        with self._lock:
            if series not in self._logs:
                name = RecordingName.of_series(self.directory, series, self._session, self._clock())
                self._logs[series] = LogFile(name, self._part_line)
                self._counts[series] = Counter()
                self._latest = series
            if info.series not in self._streams:
                self._streams.add(info.series)
                self._append(series, "start", {"info": info, **fields}, head=True)
        self._tell()
        return series

    def name(self, series: str) -> RecordingName:
        """Return the name of the files of a series that `begin` has returned."""
        with self._lock:
            return self._logs[series].name

    def write(self, kind: str, /, *, series: str | None = None, **fields: object) -> None:
        """Append the line ``{"kind", "t_ns", **fields}``; a ``t_ns`` among the fields replaces the time of the clock.

        Parameters
        ----------
        kind : str
            Kind of the line: ``gap``, ``total``, ``engine``, ``file`` ...
        series : str, optional
            Name returned by `begin`; by default that of the latest series.
        **fields
            Numbers, text, lists, mappings, dataclasses, numpy scalars and arrays.

        Raises
        ------
        StreamError
            When no such series has begun, or the log is closed.
        """
        with self._lock:
            series = series or self._latest
            if self._closed or series is None or series not in self._logs:
                raise StreamError(
                    f"a {kind} line for {'a closed log' if self._closed else f'series {series}'}",
                    expected="lines between the start of their series and the end of the session",
                    todo="begin the series first and close the log last",
                )
            self._append(series, kind, fields, head=kind == "engine")
        self._tell()

    def sync(self, series: str) -> None:
        """Force the log of a series to the disk. An error is reported as trouble."""
        try:  # without the lock, so that other threads can write meanwhile
            with self._lock:
                descriptor = self._logs[series].descriptor()
            if descriptor is not None:
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            self._sync_error = error.strerror or str(error)
        else:
            self._sync_error = None
        self._tell()

    def close(self, **fields: object) -> None:
        """End every log with a ``summary`` line that contains `fields`; may be called twice.

        Raises
        ------
        StageError
            When lines were lost, or the disk still refuses some.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for series, log in list(self._logs.items()):
                counts = dict(self._counts[series])
                self._append(series, "summary", {"series": series, "lines": counts, "lines_lost": log.lost, **fields})
                log.flush(now=True)
        for series, log in self._logs.items():
            self.sync(series)
            log.release()
        if missing := sum(log.lost + log.waiting for log in self._logs.values()):
            reason = next((log.trouble for log in self._logs.values() if log.trouble), "the disk refused them for long")
            raise StageError(
                f"{missing} lines of the session log in {self.directory} could not be written ({reason})",
                expected="a disk that accepts every line",
                todo="check the disk; the pages of the recordings state the number and time of each frame as well",
            )

    def _append(self, series: str, kind: str, fields: Mapping[str, object], head: bool = False) -> None:
        """Append one line; the caller holds the lock."""
        log = self._logs[series] = self._logs.pop(series)  # the end of the dictionary is the one used last
        log.append(self._line(kind, fields), head=head)
        self._counts[series][kind] += 1
        opened = [log for log in self._logs.values() if log.open]
        for log in opened[:-OPEN_LOGS]:  # hundreds of short series would use up the descriptors of the process
            log.release()

    def _line(self, kind: str, fields: Mapping[str, object]) -> bytes:
        text = json.dumps(_plain({"kind": kind, "t_ns": self._clock(), **fields}), allow_nan=False)
        return f"{text}\n".encode("ascii")

    def _part_line(self, part: int, reason: str) -> bytes:
        return self._line("part", {"part": part, "reason": reason})

    def _tell(self) -> None:
        """Report trouble that began, changed or ended."""
        with self._telling:  # so that the last call of two threads tells the present state
            with self._lock:
                text = self._describe_trouble()
                told, self._told = self._told, text
            if self._trouble and text != told:
                self._trouble(text)

    def _describe_trouble(self) -> str | None:
        failed = next((log for log in self._logs.values() if log.trouble), None)
        if failed is not None:
            return (
                f"the session log in {self.directory} takes no lines ({failed.trouble}); they are kept and tried "
                "again; the recordings go on"
            )
        if self._sync_error:
            return f"the session log in {self.directory} cannot be forced to the disk ({self._sync_error})"
        return None


def _plain(value: Any) -> Any:
    """Return `value` as JSON data. Bytes become hexadecimal text; numbers that are not finite become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.dtype):
        return value.str
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_sidecar(path: Path | str) -> list[dict[str, Any]]:
    """Return the lines of a session log. An incomplete last line, left by a kill or a full disk, is omitted.

    A log may have several parts, see `read_log_beside`. Raises `FileError` when the file cannot be read or another line
    is not a log line.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise FileError(
            f"{path} cannot be read ({error.strerror})", expected="a session log (.jsonl)", todo="check the path"
        ) from error
    lines = raw.split(b"\n")
    last = lines.pop()  # empty when the file ends with a line break
    if last and _record(last) is not None:
        lines.append(last)
    records = []
    for number, line in enumerate(lines, start=1):
        record = _record(line)
        if record is None:
            raise FileError(
                f"line {number} of {path} is not a log line",
                expected='JSON objects with "kind" and "t_ns", of which only the last may be incomplete',
                todo="run deepbid-rt recover on its folder, which writes the whole lines to a new file",
            )
        records.append(record)
    return records


def read_log_beside(movie: Path | str) -> list[dict[str, Any]]:
    """Return the lines of all parts of the session log of a recording. Raises `FileError`, see `read_sidecar`."""
    try:
        paths = log_beside(Path(movie))
    except OSError as error:
        raise FileError(
            f"the folder of {movie} cannot be read ({error.strerror})", expected="a recording", todo="check the path"
        ) from error
    if not paths:
        raise FileError(
            f"{movie} has no session log beside it",
            expected="a recording of a session, with its .jsonl in the same folder",
            todo="keep the files of a session together, under their names",
        )
    return [line for path in paths for line in read_sidecar(path)]


def read_whole_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the lines of a session log that are whole, and the number of the others. Raises `FileError`."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise FileError(
            f"{path} cannot be read ({error.strerror})", expected="a session log (.jsonl)", todo="check the path"
        ) from error
    records = [_record(line) for line in lines if line]
    whole = [record for record in records if record is not None]
    return whole, len(records) - len(whole)


def write_lines(path: Path, lines: Iterable[Mapping[str, object]]) -> None:
    """Write a new session log in one piece. Raises `FileError` when that is impossible."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="ascii") as file:
            file.writelines(f"{json.dumps(_plain(line), allow_nan=False)}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise FileError(
            f"{path} cannot be written ({error.strerror})", expected="a folder with room", todo="free some space"
        ) from error


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(record, dict) and isinstance(record.get("kind"), str) and isinstance(record.get("t_ns"), int)
    return record if whole else None
