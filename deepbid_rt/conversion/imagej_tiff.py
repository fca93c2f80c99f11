"""ImageJ hyperstacks: the TIFF that ImageJ itself writes, since it opens no BigTIFF.

Above 4 GB the file has one page directory, and the pixels of all images follow each other behind it. That is how
ImageJ writes such stacks, and ImageJ, Fiji, tifffile and deepbid-rt read them. Others find one page.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import tifffile

from deepbid_rt.conversion.volumes import Volumes
from deepbid_rt.recording.tiff_writer import SOFTWARE

LARGEST_TIFF = 2**32 - 2**20
"""Bytes that page directories of a classic TIFF can point to, less some room."""
_DIRECTORY_BYTES = 400
_MAX_LABELS = 300_000
"""Most images that get a label each."""


def write_imagej(volumes: Volumes, path: Path) -> list[str]:
    """Write a recording as a hyperstack of ImageJ; return what a user has to know about it.

    Images are in the order channel, slice (plane), frame (time point). Each has a label with the name of its channel,
    the number of its frame and its time.

    Raises
    ------
    StageError
        When a frame cannot be read.
    OSError
        When the disk refuses.
    """
    points, planes, channels, *_ = volumes.shape
    count = points * planes * channels
    labels = _labels(volumes) if count <= _MAX_LABELS else []
    size = volumes.nbytes + count * _DIRECTORY_BYTES + sum(2 * len(label) for label in labels)
    one_directory = size > LARGEST_TIFF
    y_um, x_um = volumes.pixel_um or (1.0, 1.0)
    with tifffile.TiffWriter(path, bigtiff=False, byteorder="<", imagej=True) as writer:
        writer.write(
            volumes.pages(),
            shape=volumes.shape,
            dtype=volumes.dtype,
            photometric="minisblack",
            software=SOFTWARE,
            truncate=one_directory,
            resolution=(1 / x_um, 1 / y_um),
            metadata=_metadata(volumes, labels),
        )
    notes = ["the names of the channels, frame numbers and times are left out: too many images"] if not labels else []
    if one_directory:
        notes.append(
            "the file is larger than 4 GB: ImageJ, Fiji, tifffile and deepbid-rt read it, other programs find one image"
        )
    return notes


def _metadata(volumes: Volumes, labels: list[str]) -> dict[str, Any]:
    said: dict[str, Any] = {"axes": "TZCYX", "mode": "composite" if volumes.shape[2] > 1 else "grayscale"}
    said["unit"] = "um" if volumes.pixel_um is not None else "pixel"
    if volumes.rate_hz is not None:
        said["finterval"] = 1 / volumes.rate_hz
    said["Info"] = "\n".join((f"converted from {volumes.name} by {SOFTWARE}", *volumes.notes))
    if labels:
        said["Labels"] = labels
    return said


def _labels(volumes: Volumes) -> list[str]:
    """Return a text for each image, which ImageJ shows above it."""
    points, planes, channels, *_ = volumes.shape
    labels = []
    for t, z, c in itertools.product(range(points), range(planes), range(channels)):
        words = [volumes.channel_names[c]] if volumes.channel_names else []
        words.append(f"frame {t * planes + z if volumes.numbers is None else volumes.numbers[t, z]}")
        if volumes.times_s is not None:
            words.append(f"{volumes.times_s[t, z]:.6f} s")
        labels.append(", ".join(words))
    return labels
