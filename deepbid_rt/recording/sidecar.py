"""The session log beside a recording: one JSON object per line, whole at every moment.

Knows nothing of TIFF, queues or engines: whoever has something to tell calls `Sidecar.note`.
"""

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
    """Return the name under which the files of a series stand: that of the raw series, also for what was made from it.

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
    """JSON-lines logs ``<directory>/<series>.jsonl``, shared by everyone who records the same session; thread-safe.

    Each line reaches the operating system before `note` returns, with no handle left open, so a kill at any moment
    leaves whole lines. `sync` forces them to the disk; it is apart because it may take long, and only recorders, which
    run in threads of their own, can wait.

    Line kinds written here: ``start`` (``info``: the whole `StreamInfo`; one per stream, so a denoised stream adds its
    own) and ``summary`` (how many lines of each kind, and what the session counted). Others come from the callers.

    Parameters
    ----------
    directory : Path or str
        Where the logs stand; created by `begin`.
    clock : callable
        Nanoseconds since the Unix epoch.
    """

    def __init__(self, directory: Path | str, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._directory = Path(directory)
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}  # per series name, lines of each kind
        self._streams: set[str] = set()  # series ids, raw and denoised, whose start was written
        self._latest: str | None = None
        self._refused: set[str] = set()  # logs that the disk refused; a further line would join a broken one
        self._closed = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """The logs written so far."""
        with self._lock:
            return tuple(self._path(name) for name in self._counts)

    def begin(self, info: StreamInfo, **facts: object) -> str:
        """Open the log of a series, or join it; return its name for `note`.

        Parameters
        ----------
        info : StreamInfo
            Written whole, once: a second call for the same stream does nothing.
        **facts
            More keys of the ``start`` line, such as the engine's digest.

        Raises
        ------
        FileError
            When the log exists from another session or cannot be created.
        StreamError
            When the series' name is no file name.
        """
        name = series_name(info)
        with self._lock:
            if name not in self._counts:
                self._create(self._path(name))
                self._counts[name] = Counter()
                self._latest = name
            if info.series not in self._streams:
                self._streams.add(info.series)
                self._write(name, "start", {"info": info, **facts})
        return name

    def note(self, kind: str, /, *, series: str | None = None, **fields: object) -> None:
        """Add a line ``{"kind", "t_ns", **fields}``; a ``t_ns`` among the fields replaces the clock's.

        Parameters
        ----------
        kind : str
            What the line tells: ``gap``, ``latency``, ``engine``, ``file`` ...
        series : str, optional
            What `begin` returned; the latest series when left out.
        **fields
            Anything that is data: numbers, text, lists, mappings, dataclasses, numpy scalars and arrays.

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
                    f"a {kind} note for {'a closed log' if self._closed else f'series {name}'}",
                    expected="notes between the start of their series and the end of the session",
                    todo="begin the series first and close the log last",
                )
            self._write(name, kind, fields)

    def sync(self, series: str) -> None:
        """Force the log of one series to the disk. Raises `StageError` when the disk refuses."""
        path = self._path(series)
        try:  # without the lock: others may write meanwhile
            with path.open("ab") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise _disk_refused(path, error) from error

    def close(self, **facts: object) -> None:
        """End every log with a ``summary`` line that carries ``facts``; may be called twice."""
        with self._lock:
            if self._closed:
                return
            for name in self._counts.keys() - self._refused:
                self._write(name, "summary", {"series": name, "lines": dict(self._counts[name]), **facts})
                self.sync(name)
            self._closed = True

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.jsonl"

    def _create(self, path: Path) -> None:
        if path.exists():
            raise FileError(
                f"{path} exists already",
                expected="a free name, as no recording is ever overwritten",
                todo="choose another folder",
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("xb").close()
        except OSError as error:
            raise FileError(
                f"{path} cannot be created ({error.strerror})",
                expected="a folder that can be written",
                todo="check the path and its rights",
            ) from error

    def _write(self, name: str, kind: str, fields: Mapping[str, object]) -> None:
        """Append one line; the lock is held."""
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
        expected="a disk that takes every line",
        todo="free space and record again; the lines before are whole",
    )


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON data; bytes become hexadecimal text, and numbers that are not finite become null."""
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
    """Return the lines of a session log; a last line that a kill or a full disk cut off is left out.

    Raises `FileError` when the file cannot be read or any other line is not a log line.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise FileError(
            f"{path} cannot be read ({error.strerror})", expected="a session log (.jsonl)", todo="check the path"
        ) from error
    lines = raw.split(b"\n")
    cut = lines.pop()  # empty when the last line is whole
    if cut and _record(cut) is not None:
        lines.append(cut)
    records = []
    for number, line in enumerate(lines, start=1):
        record = _record(line)
        if record is None:
            raise FileError(
                f"line {number} of {path} is not a log line",
                expected='JSON objects with "kind" and "t_ns", of which only the last may be cut',
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
