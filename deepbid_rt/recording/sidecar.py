"""The session log beside a recording: one JSON object per line."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.frame import StreamInfo


def series_name(info: StreamInfo) -> str:
    """Return the file name (without ending) of a series: the identifier of the raw series, also for a denoised one.

    Raises `StreamError` when it is not safe as a file name; it comes from the sender.
    """
    name = info.parent or info.series
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name):
        raise StreamError(
            f"a series named {name[:140]!r}",
            expected="1..128 letters, digits, _ and -",
            todo="let the sender name its series with a UUID in hexadecimal",
        )
    return name


class Sidecar:
    """JSON-lines logs ``<directory>/<series>.jsonl``, shared by all recorders of a session; thread-safe.

    Each line reaches the operating system before `write` returns, and no file stays open, so that a killed process
    leaves complete lines. `sync` forces them to the disk. It is separate because it may take long, and only
    recorders, which have threads of their own, can wait.

    This class writes two kinds of lines: ``start`` (``info``: the `StreamInfo`; one each for the raw and the denoised
    stream) and ``summary`` (the number of lines of each kind, and the totals of the session). Callers write others.

    Parameters
    ----------
    directory : Path or str
        Folder of the logs; `begin` creates it.
    clock : callable
        Returns nanoseconds since the Unix epoch.
    """

    def __init__(self, directory: Path | str, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._directory = Path(directory)
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}  # per series name, lines of each kind
        self._streams: set[str] = set()  # series ids, raw and denoised, whose start was written
        self._latest: str | None = None
        self._refused: set[str] = (
            set()
        )  # logs that could not be written; a further line would be appended to a broken one
        self._closed = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """The logs written so far."""
        with self._lock:
            return tuple(self._path(name) for name in self._counts)

    def begin(self, info: StreamInfo, **fields: object) -> str:
        """Create the log of a series unless it exists; return the series' name for `write`.

        Parameters
        ----------
        info : StreamInfo
            Written once: a second call for the same stream writes nothing.
        **fields
            Further keys of the ``start`` line.

        Raises
        ------
        FileError
            When another session has written this log, or when it cannot be created.
        StreamError
            When the name of the series cannot be a file name.
        """
        name = series_name(info)
        with self._lock:
            if name not in self._counts:
                self._create(self._path(name))
                self._counts[name] = Counter()
                self._latest = name
            if info.series not in self._streams:
                self._streams.add(info.series)
                self._append(name, "start", {"info": info, **fields})
        return name

    def write(self, kind: str, /, *, series: str | None = None, **fields: object) -> None:
        """Append the line ``{"kind", "t_ns", **fields}``; a ``t_ns`` among the fields replaces the time of the clock.

        Parameters
        ----------
        kind : str
            Kind of the line: ``gap``, ``latency``, ``engine``, ``file`` ...
        series : str, optional
            Name returned by `begin`; by default that of the latest series.
        **fields
            Numbers, text, lists, mappings, dataclasses, numpy scalars and arrays.

        Raises
        ------
        StageError
            When the disk refuses the line.
        StreamError
            When no such series has begun, or the log is closed.
        """
        with self._lock:
            name = series or self._latest
            if self._closed or name is None or name not in self._counts:
                raise StreamError(
                    f"a {kind} line for {'a closed log' if self._closed else f'series {name}'}",
                    expected="lines between the start of their series and the end of the session",
                    todo="begin the series first and close the log last",
                )
            self._append(name, kind, fields)

    def sync(self, series: str) -> None:
        """Force the log of a series to the disk. Raises `StageError` when the disk refuses."""
        path = self._path(series)
        try:  # without the lock, so that other threads can write meanwhile
            with path.open("ab") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise _disk_refused(path, error) from error

    def close(self, **fields: object) -> None:
        """End every log with a ``summary`` line that contains `fields`; may be called twice."""
        with self._lock:
            if self._closed:
                return
            for name in self._counts.keys() - self._refused:
                self._append(name, "summary", {"series": name, "lines": dict(self._counts[name]), **fields})
                self.sync(name)
            self._closed = True

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.jsonl"

    def _create(self, path: Path) -> None:
        if path.exists():
            raise FileError(
                f"{path} exists already",
                expected="a new name, since recordings are never overwritten",
                todo="choose another folder",
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("xb").close()
        except OSError as error:
            raise FileError(
                f"{path} cannot be created ({error.strerror})",
                expected="a folder that can be written",
                todo="check the path and its permissions",
            ) from error

    def _append(self, name: str, kind: str, fields: Mapping[str, object]) -> None:
        """Append one line; the caller holds the lock."""
        line = json.dumps(_plain({"kind": kind, "t_ns": self._clock(), **fields}), allow_nan=False) + "\n"
        try:
            with self._path(name).open("ab") as file:
                file.write(line.encode("ascii"))
        except OSError as error:
            self._refused.add(name)
            raise _disk_refused(self._path(name), error) from error
        self._counts[name][kind] += 1


def _disk_refused(path: Path, error: OSError) -> StageError:
    return StageError(
        f"{path} could not be written ({error.strerror or error})",
        expected="a disk that accepts every line",
        todo="free some space and record again; the lines before this one are complete",
    )


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

    Raises `FileError` when the file cannot be read or another line is not a log line.
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
                todo="restore the file from a copy",
            )
        records.append(record)
    return records


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(record, dict) and isinstance(record.get("kind"), str) and isinstance(record.get("t_ns"), int)
    return record if whole else None
