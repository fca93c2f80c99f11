"""``Experiment.xml`` of ThorImageLS: what a recording should hold.

Read off a real file of version 5.0; the meaning of its numbers follows the source of ThorImageLS as published
(https://github.com/cajigaslab/thorimagels_dev_vs2019, ``ExperimentData.cs``, ``ExperimentXML.cpp``): ``CaptureMode`` 1
is streaming, ``ChannelEnable`` a bit mask, ``scanMode`` 0 scans lines in both directions, planes and fly-back frames
count only with ``zFastEnable``. That ``onlyEnabledChannels`` 0 stores all four channels in a raw file is concluded from
its name and comment there; the length of the file decides where it can.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepbid_rt.errors import StreamError
from deepbid_rt.movies.safe_xml import integer_of, number_of, read_xml

ALL_CHANNELS = 4
"""Channels of a raw file that stores also those that are not enabled."""


@dataclass(frozen=True, slots=True)
class ThorExperiment:
    """What an ``Experiment.xml`` says."""

    lines: int
    pixels: int
    enabled: tuple[int, ...]
    """Numbers of the enabled channels, from 0."""
    names: tuple[str, ...]
    """Their names."""
    only_enabled: bool
    """Whether a raw file holds the enabled channels only."""
    streaming: bool
    planes: int
    flyback: int
    """Fly-back frames behind the planes of each volume."""
    frames: int | None
    """Frames that should have been recorded, with fly-back frames; None when it says nothing."""
    image_hz: float | None
    """Stored frames per second, with fly-back frames."""
    interval_s: float | None
    """Time between volumes that are not streamed."""
    pixel_um: tuple[float, float] | None
    both_directions: bool | None
    complete: bool
    """Whether the recording ended by itself."""
    software: str

    def rate_hz(self, planes: int, flyback: int) -> float | None:
        """Return frames per second over all planes without fly-back frames."""
        if self.streaming and self.image_hz:
            return self.image_hz * planes / (planes + flyback)
        if not self.streaming and self.interval_s:
            return planes / self.interval_s
        return None


def read_thor_xml(path: Path) -> ThorExperiment:
    """Read an ``Experiment.xml``.

    Raises
    ------
    FileError
        When it is damaged or none of ThorImageLS.
    StreamError
        When it is a recording of another kind than frames of a laser scanning microscope.
    """
    root = read_xml(path, "ThorImageExperiment")

    def attributes(name: str) -> dict[str, str]:
        element = root.find(name)
        return {} if element is None else element.attrib

    scan, streaming = attributes("LSM"), attributes("Streaming")
    _refuse_other_scans(path, scan, attributes("Modality"))
    lines, pixels = integer_of(scan, "pixelY", 0), integer_of(scan, "pixelX", 0)
    if lines < 1 or pixels < 1:
        raise StreamError(
            f"{path} with {lines} lines (pixelY) and {pixels} pixels (pixelX) in LSM",
            expected="the size of a frame",
            todo="give the Experiment.xml as ThorImageLS wrote it",
        )
    mask = integer_of(attributes("Wavelengths/ChannelEnable"), "Set", integer_of(scan, "channel", 0))
    enabled = tuple(i for i in range(16) if mask >> i & 1)
    names = tuple(one.get("name", "") for one in root.findall("Wavelengths/Wavelength")[:16])
    if not enabled:
        enabled = tuple(range(len(names) or 1))
    if len(names) != len(enabled):
        names = tuple(f"Chan{chr(ord('A') + i)}" for i in enabled)
    streams = integer_of(attributes("CaptureMode"), "mode", integer_of(streaming, "enable", 1)) == 1
    stage = attributes("ZStage")
    in_turn = integer_of(streaming, "zFastEnable", 0) == 1 if streams else integer_of(stage, "enable", 0) == 1
    image_hz = number_of(scan, "frameRate")
    if image_hz and integer_of(scan, "averageMode", 0) == 1:
        image_hz /= max(1, integer_of(scan, "averageNum", 1))
    frames = integer_of(streaming, "frames", 0) if streams else integer_of(attributes("Timelapse"), "timepoints", 0)
    mode = integer_of(scan, "scanMode", -1)
    return ThorExperiment(
        lines=lines,
        pixels=pixels,
        enabled=enabled,
        names=names,
        only_enabled=integer_of(attributes("RawData"), "onlyEnabledChannels", 1) != 0,
        streaming=streams,
        planes=max(1, integer_of(stage, "steps", 1)) if in_turn else 1,
        flyback=max(0, integer_of(streaming, "flybackFrames", 0)) if streams and in_turn else 0,
        frames=frames if frames > 0 else None,
        image_hz=image_hz if image_hz and image_hz > 0 else None,
        interval_s=number_of(attributes("Timelapse"), "intervalSec") or None,
        pixel_um=_pixel_um(scan),
        both_directions={0: True, 1: False, 2: False}.get(mode),
        complete=attributes("ExperimentStatus").get("value", "Complete") == "Complete",
        software=f"ThorImageLS {attributes('Software').get('version', '')}".strip(),
    )


def _refuse_other_scans(path: Path, scan: dict[str, str], modality: dict[str, str]) -> None:
    kind = None
    if integer_of(scan, "areaMode", 0) in (2, 3):
        kind = "a line scan, whose rows are times and no frames"
    elif integer_of(modality, "primaryDetectorType", 1) == 0:
        kind = "a recording of a camera"
    elif integer_of(scan, "ThreePhotonEnable", 0) == 1 and integer_of(scan, "NumberOfPlanes", 1) > 1:
        kind = "a recording whose frames hold several planes side by side"
    if kind:
        raise StreamError(
            f"{path} of {kind}",
            expected="frames of a laser scanning microscope",
            todo="give a recording of frames, or save its frames as TIFF files and give those",
        )


def _pixel_um(scan: dict[str, str]) -> tuple[float, float] | None:
    both = number_of(scan, "pixelSizeUM", 0.0) or 0.0
    y = number_of(scan, "pixelHeightUM", 0.0) or both
    x = number_of(scan, "pixelWidthUM", 0.0) or both
    return (y, x) if y > 0 and x > 0 else None
