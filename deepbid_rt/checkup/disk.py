"""The disk of the recordings: whether it takes files, how fast, and for how long."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from deepbid_rt.checkup.finding import Finding

TEST_BYTES = 256 * 2**20
"""Bytes that are written to measure the speed."""
BLOCK_BYTES = 4 * 2**20
LEAST_MINUTES = 60.0
"""Room for less recording than this is a warning."""
SPARE = 3.0
"""How much faster than the recordings a disk should be: it also writes what other programs send."""
SLOW_SYNC_S = 1.0
"""A wait for the disk of more than this is a warning."""


def check_disk(
    folder: Path,
    bytes_per_s: float,
    *,
    test_bytes: int | None = None,
    usage: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Finding]:
    """Write a file into a folder and remove it again.

    Parameters
    ----------
    folder : Path
        Folder of the recordings. The first folder above it that exists is used when it does not; nothing is made.
    bytes_per_s : float
        Bytes per second that a session records.
    test_bytes : int, optional
        Size of the file; `TEST_BYTES` if left out.
    usage : callable
        Returns total, used and free bytes.
    clock : callable
        Returns monotonic seconds.
    """
    folder = folder.absolute()
    place = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not place.is_dir():
        return [Finding("disk", "problem", f"{place} is a file", "name a folder")]
    free = usage(place)[2]
    minutes = free / bytes_per_s / 60
    room = f"{free / 1e9:.1f} GB free at {place}, {minutes:.0f} minutes of recording at {bytes_per_s / 1e6:.1f} MB/s"
    todo = "remove files, or record to another disk"
    found = [Finding("room", "ok", room) if minutes >= LEAST_MINUTES else Finding("room", "warning", room, todo)]
    size = min(test_bytes or TEST_BYTES, free // 4)
    try:
        write_s, sync_s = _write(place, size, clock)
    except OSError as error:
        text = f"{place} takes no file ({error.strerror})"
        return [*found, Finding("disk", "problem", text, "name a folder that may be written")]
    rate = size / (write_s + sync_s) if write_s + sync_s > 0 else float("inf")
    text = f"{rate / 1e6:.0f} MB/s at {place}; the last wait for the disk took {1000 * sync_s:.0f} ms"
    if rate < bytes_per_s:
        return [*found, Finding("disk", "problem", text, "record to another disk: this one loses frames")]
    if rate < SPARE * bytes_per_s or sync_s > SLOW_SYNC_S:
        return [*found, Finding("disk", "warning", text, "record to a local disk that nothing else uses")]
    return [*found, Finding("disk", "ok", text)]


def _write(folder: Path, size: int, clock: Callable[[], float]) -> tuple[float, float]:
    """Write a file of so many bytes and remove it; return the seconds of the writing and of the last sync."""
    block = os.urandom(BLOCK_BYTES)  # disks and file systems compress zeros
    with tempfile.TemporaryFile(dir=folder) as file:
        begun = clock()
        for _ in range(max(1, size // BLOCK_BYTES)):
            file.write(block)
            file.flush()
        written = clock()
        os.fsync(file.fileno())
        return written - begun, clock() - written
