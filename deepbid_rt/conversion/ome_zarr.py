"""OME-Zarr 0.5: a folder with one Zarr 3 array, and metadata as https://ngff.openmicroscopy.org/0.5 defines them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.codecs

from deepbid_rt.conversion.volumes import Volumes
from deepbid_rt.recording.tiff_writer import SOFTWARE

SHARD_BYTES = 2**26
"""Pixels that are stored together in one file, unless a volume is larger. A shard is in memory while it is written."""
_LARGEST_SHARD_BYTES = 2**29
_COLORS = ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF", "FFFFFF", "FF8000")


def write_ome_zarr(volumes: Volumes, path: Path) -> list[str]:
    """Write a recording as an OME-Zarr picture of one resolution; return what a user has to know about it.

    The array ``0`` has the axes (t, c, z, y, x), as OME-Zarr asks for, one image per chunk, and as many volumes in a
    file as `SHARD_BYTES` holds. Beside it are the arrays ``frame_times_s`` and ``frame_numbers`` (t, z), where the
    recording has them.

    Raises
    ------
    StageError
        When a frame cannot be read.
    OSError
        When the disk refuses.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(1, "zarr writer") as pool:
        writing = pool.submit(_write, volumes, path, stop)
        try:
            writing.result()
        finally:
            # Zarr has threads of its own, which an interrupt of the main thread does not stop. The thread waits for
            # them, and the end of this block for the thread, so that nobody writes into a folder that is removed.
            stop.set()
    return []


def _write(volumes: Volumes, path: Path, stop: threading.Event) -> None:
    points, planes, channels, lines, pixels = volumes.shape
    group = zarr.create_group(path, zarr_format=3, attributes=_attributes(volumes))
    length = min(points, max(1, SHARD_BYTES // volumes.volume_bytes))
    sharded = volumes.volume_bytes <= _LARGEST_SHARD_BYTES
    array = group.create_array(
        "0",
        shape=(points, channels, planes, lines, pixels),
        dtype=volumes.dtype,
        chunks=(1, 1, 1, lines, pixels),
        shards=(length, channels, planes, lines, pixels) if sharded else None,
        compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
        dimension_names=("t", "c", "z", "y", "x"),
        config={"write_empty_chunks": True},  # else frames of zeros would look as if their files were lost
    )
    for first, block in volumes.blocks(length):
        if stop.is_set():
            return
        array[first : first + len(block)] = block.transpose(0, 2, 1, 3, 4)
    for name, values in (("frame_times_s", volumes.times_s), ("frame_numbers", volumes.numbers)):
        if values is not None:
            beside = group.create_array(
                name, shape=values.shape, dtype=values.dtype, chunks=values.shape, dimension_names=("t", "z")
            )
            beside[:] = values


def _attributes(volumes: Volumes) -> dict[str, Any]:
    """Return the metadata of the picture."""
    axes: list[dict[str, str]] = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space"} for name in "zyx"]
    scale = [1.0] * 5
    if volumes.rate_hz is not None:
        axes[0]["unit"], scale[0] = "second", 1 / volumes.rate_hz
    if volumes.pixel_um is not None:
        axes[3]["unit"] = axes[4]["unit"] = "micrometer"
        scale[3:] = volumes.pixel_um
    levels = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    ome: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [{"name": volumes.name, "axes": axes, "datasets": levels}],
    }
    if volumes.channel_names:
        ome["omero"] = {"channels": _channels(volumes)}
    return {"ome": ome, "deepbid_rt": {"software": SOFTWARE, "source": volumes.name, "notes": list(volumes.notes)}}


def _channels(volumes: Volumes) -> list[dict[str, Any]]:
    """Return name, color and contrast of each channel, as viewers take them."""
    sample = volumes.sample()
    colors = ("FFFFFF",) if len(volumes.channel_names) == 1 else _COLORS
    channels = []
    for c, name in enumerate(volumes.channel_names):
        start, end = (float(value) for value in np.percentile(sample[:, c], (1, 99.7)))
        if volumes.dtype.kind == "f":
            low, high = float(sample[:, c].min()), float(sample[:, c].max())
        else:
            low, high = float(np.iinfo(volumes.dtype).min), float(np.iinfo(volumes.dtype).max)
        window = {"min": low, "max": max(high, start + 1), "start": start, "end": max(end, start + 1)}
        channels.append({"label": name, "color": colors[c], "active": True, "window": window})
    return channels
