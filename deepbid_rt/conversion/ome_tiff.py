"""OME-TIFF: a BigTIFF with one page per image, and an OME-XML that says what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from deepbid_rt.conversion.volumes import Volumes
from deepbid_rt.recording.tiff_writer import SOFTWARE

MAX_TIMED_PAGES = 500_000
"""Most pages whose times are in the OME-XML: each takes 90 bytes there, and readers hold all of it in memory."""


def write_ome_tiff(volumes: Volumes, path: Path) -> list[str]:
    """Write a recording as an OME-TIFF; return what a user has to know about it.

    Pages are in the order channel, plane, time. Frame numbers are in the description, as runs such as ``1-50 52-99``.

    Raises
    ------
    StageError
        When a frame cannot be read.
    OSError
        When the disk refuses.
    """
    said, notes = _metadata(volumes)
    with tifffile.TiffWriter(path, bigtiff=True, byteorder="<", ome=True) as writer:
        writer.write(
            volumes.pages(),
            shape=volumes.shape,
            dtype=volumes.dtype,
            photometric="minisblack",
            software=SOFTWARE,
            metadata=said,
        )
    return notes


def _metadata(volumes: Volumes) -> tuple[dict[str, Any], list[str]]:
    """Return the metadata as tifffile takes them, and notes."""
    channels = volumes.shape[2]
    said: dict[str, Any] = {"axes": "TZCYX", "Name": volumes.name, "Creator": SOFTWARE}
    notes = []
    if volumes.pixel_um is not None:
        said |= dict(zip(("PhysicalSizeY", "PhysicalSizeX"), volumes.pixel_um, strict=True))
        said |= {"PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm"}
    if volumes.rate_hz is not None:
        said |= {"TimeIncrement": 1 / volumes.rate_hz, "TimeIncrementUnit": "s"}
    if volumes.channel_names:
        said["Channel"] = {"Name": list(volumes.channel_names)}
    if volumes.times_s is not None:
        times = np.repeat(volumes.times_s.reshape(-1), channels).tolist()
        if len(times) <= MAX_TIMED_PAGES:
            said["Plane"] = {"DeltaT": times, "DeltaTUnit": ["s"] * len(times)}
        else:
            notes.append(f"the times of {len(times)} pages are left out: they are too many for an OME-XML")
    numbers = [] if volumes.numbers is None else [f"frame numbers {runs(volumes.numbers.reshape(-1))}"]
    if description := "; ".join((*volumes.notes, *numbers)):
        said["Description"] = description
    return said, notes


def runs(numbers: NDArray[np.int64]) -> str:
    """Return whole numbers as text, runs of consecutive ones as their ends: ``1-50 52 60-99``."""
    ends = np.flatnonzero(np.diff(numbers) != 1)
    firsts, lasts = [0, *(ends + 1).tolist()], [*ends.tolist(), len(numbers) - 1]
    pairs = ((int(numbers[a]), int(numbers[b])) for a, b in zip(firsts, lasts, strict=True))
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in pairs)
