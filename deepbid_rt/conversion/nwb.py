"""NWB: one `TwoPhotonSeries` per channel, https://nwb-schema.readthedocs.io.

The schema calls the axes of the pixels (frame, x, y, z); Suite2p, CaImAn and most programs that write NWB take the
second axis as lines. These files are (frame, y, x) and (frame, y, x, z), as those programs read them, and
``dimension`` states which is which.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries
from pynwb.file import Subject
from pynwb.ophys import OpticalChannel, TwoPhotonSeries

from deepbid_rt.conversion.nwb_facts import NwbFacts, of_channel
from deepbid_rt.conversion.volumes import Volumes
from deepbid_rt.errors import StreamError
from deepbid_rt.recording.tiff_writer import SOFTWARE

BLOCK_BYTES = 2**26
"""Pixels that are in memory at a time, unless a volume is larger."""
CHUNK_BYTES = 2**20
"""Pixels that are compressed together, unless an image is larger."""
_REGULAR_S = 1e-6
"""Times that follow each other this evenly are stated as a rate: the digits of the recording give no more."""


def write_nwb(volumes: Volumes, path: Path, facts: NwbFacts, changed: datetime) -> list[str]:
    """Write a recording as an NWB file; return what a user has to know about it.

    Parameters
    ----------
    volumes : Volumes
    path : Path
        File to write.
    facts : NwbFacts
        What the recording does not say.
    changed : datetime
        When the recording was last changed: the start of the session, unless the facts say it.

    Raises
    ------
    StreamError
        When the recording states neither times nor a rate.
    OptionError
        When there are facts for another number of channels.
    StageError
        When a frame cannot be read.
    OSError
        When the disk refuses.
    """
    facts.check_channels(volumes.shape[2])
    timing = _timing(volumes)
    notes = []
    if facts.session_start is None:
        notes.append(f"the session is said to begin at {changed.isoformat(timespec='seconds')}, when the file changed")
    if "rate" in timing and volumes.times_s is not None and not _even(volumes.times_s[:, 0]):
        notes.append("the times of the frames do not increase; the frame rate is written in their place")
    file = NWBFile(
        session_description=facts.session_description or f"two-photon recording {volumes.name}",
        identifier=facts.identifier,
        session_start_time=facts.session_start or changed,
        notes="\n".join(volumes.notes) or None,
        source_script=f"deepbid-rt convert {volumes.name}",
        source_script_file_name=SOFTWARE,
        experimenter=list(facts.experimenter) or None,
        institution=facts.institution,
        subject=_subject(facts),
    )
    series = _add_series(file, volumes, facts, timing)
    _add_frames(file, volumes, series[0])
    length = _block_length(volumes)
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
        stored = [one.data.dataset for one in series]
        for first, block in volumes.blocks(length):
            for channel, target in enumerate(stored):
                # (t, Z, Y, X) becomes (t, Y, X, Z), without the last axis where there is one plane.
                images = np.moveaxis(block[:, :, channel], 1, 3)
                target[first : first + len(block)] = images if target.ndim == 4 else images[..., 0]
    return notes


def _subject(facts: NwbFacts) -> Subject | None:
    said = {name: getattr(facts, name) for name in ("subject_id", "species", "sex", "age")}
    return Subject(**said) if any(said.values()) else None


def _timing(volumes: Volumes) -> dict[str, Any]:
    """Return the times of the volumes as `TimeSeries` takes them. Raises `StreamError` when nothing is known."""
    times = None if volumes.times_s is None else volumes.times_s[:, 0]
    if times is not None and len(times) > 1 and (np.diff(times) > 0).all() and not _even(times):
        return {"timestamps": times}
    if times is not None and _even(times):
        rate = (len(times) - 1) / float(times[-1] - times[0])
        return {"starting_time": float(times[0]), "rate": rate}
    if volumes.rate_hz is None:
        raise StreamError(
            f"{volumes.name}, which states no frame rate, to become an NWB file",
            expected="times or a rate, which NWB requires",
            todo="give the frames per second with --rate, or rate_hz in Python",
        )
    return {"starting_time": 0.0, "rate": float(volumes.rate_hz)}


def _even(times: NDArray[np.float64]) -> bool:
    steps = np.diff(times)
    return len(steps) > 0 and float(steps.min()) > 0 and float(np.ptp(steps)) < _REGULAR_S


def _add_series(file: NWBFile, volumes: Volumes, facts: NwbFacts, timing: dict[str, Any]) -> list[TwoPhotonSeries]:
    device = file.create_device(name="Microscope", description=facts.device)
    planes, channels, lines, pixels = volumes.shape[1:]
    sides = [pixels, lines, planes] if planes > 1 else [pixels, lines]
    space = {}
    if volumes.pixel_um is not None:
        spacing = [volumes.pixel_um[1] * 1e-6, volumes.pixel_um[0] * 1e-6]
        space = {"grid_spacing": spacing, "grid_spacing_unit": "meters"}
    names = [_in_a_name(name) for name in volumes.channel_names]
    if not all(names) or len(set(names)) < channels:
        names = [f"Channel{channel}" for channel in range(channels)]
    series = []
    for channel in range(channels):
        name = volumes.channel_names[channel] if volumes.channel_names else f"channel {channel}"
        end = names[channel] if channels > 1 else ""
        plane = file.create_imaging_plane(
            name=f"ImagingPlane{end}",
            optical_channel=OpticalChannel(
                name=names[channel],
                description=f"detector {name}",
                emission_lambda=of_channel(facts.emission_nm, channel),
            ),
            description=f"two-photon scan, {planes} planes in turn" if planes > 1 else "two-photon scan",
            device=device,
            excitation_lambda=of_channel(facts.excitation_nm, channel),
            indicator=of_channel(facts.indicator, channel),
            location=facts.location,
            imaging_rate=None if volumes.rate_hz is None else float(volumes.rate_hz),
            **space,
        )
        one = TwoPhotonSeries(
            name=f"TwoPhotonSeries{end}",
            description=f"{name} of {volumes.name} ({volumes.format}), (frame, y, x{', z' if planes > 1 else ''})",
            comments="; ".join(volumes.notes) or "no comments",
            data=_empty(volumes),
            unit="n.a.",
            imaging_plane=plane,
            dimension=sides,
            **({"field_of_view": _field_of_view(volumes)} if volumes.pixel_um is not None else {}),
            **timing,
        )
        file.add_acquisition(one)
        series.append(one)
    return series


def _field_of_view(volumes: Volumes) -> list[float]:
    y_um, x_um = volumes.pixel_um or (math.nan, math.nan)
    return [volumes.shape[4] * x_um * 1e-6, volumes.shape[3] * y_um * 1e-6]


def _add_frames(file: NWBFile, volumes: Volumes, series: TwoPhotonSeries) -> None:
    """Add the numbers of the frames, and the times of all planes, where they are known."""
    timing = {"rate": series.rate, "starting_time": series.starting_time} if series.rate else {"timestamps": series}
    several = volumes.shape[1] > 1
    if volumes.numbers is not None:
        file.add_acquisition(
            TimeSeries(
                name="FrameNumbers",
                description="number of each frame, as the recording counts them" + (", (frame, z)" if several else ""),
                data=volumes.numbers if several else volumes.numbers[:, 0],
                unit="n.a.",
                **timing,
            )
        )
    if volumes.times_s is not None and several:
        file.add_acquisition(
            TimeSeries(
                name="PlaneTimes",
                description="time of each plane of a volume, (frame, z)",
                data=volumes.times_s,
                unit="seconds",
                **timing,
            )
        )


def _empty(volumes: Volumes) -> H5DataIO:
    """Return a dataset that is filled after the rest of the file was written."""
    points, planes, _, lines, pixels = volumes.shape
    image = lines * pixels * volumes.dtype.itemsize
    length = min(points, max(1, CHUNK_BYTES // image))
    return H5DataIO(
        shape=(points, lines, pixels, planes) if planes > 1 else (points, lines, pixels),
        dtype=volumes.dtype,
        chunks=(length, lines, pixels, 1) if planes > 1 else (length, lines, pixels),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )


def _block_length(volumes: Volumes) -> int:
    """Return how many volumes are written at a time: whole chunks, which are compressed once then."""
    image = volumes.shape[3] * volumes.shape[4] * volumes.dtype.itemsize
    chunk = min(volumes.shape[0], max(1, CHUNK_BYTES // image))
    return chunk * max(1, BLOCK_BYTES // (chunk * volumes.volume_bytes))


def _in_a_name(text: str) -> str:
    """Return what may be in the name of an object: NWB allows neither / nor :."""
    return "".join(word.capitalize() if word.islower() else word for word in re.findall(r"[A-Za-z0-9]+", text))


def time_of_change(path: Path) -> datetime:
    """Return when a file or folder was last changed; the present when that is unknown."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:  # a pattern of files, for instance
        return datetime.now(UTC)
