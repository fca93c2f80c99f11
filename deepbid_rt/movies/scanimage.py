"""ScanImage files, 3.8 to 2023: how pages become frames, and what the header says about the scan.

The order of pages, read off real files: channels are the fastest, then the frames of a slice, then slices, then
fly-back frames, then volumes. A file series is one stream: a volume may begin in one file and end in the next.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.given_order import given_order, pages_in_words
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.page_descriptions import (
    FrameNumbers,
    WholeVolumes,
    frame_numbers,
    median_rate_hz,
    number_of,
    pages_per_number,
    refuse_unlike_channels,
    whole_volumes,
)
from deepbid_rt.movies.page_list import PageList
from deepbid_rt.movies.scanimage_header import ScanImageHeader
from deepbid_rt.movies.wanted import Wanted

_FILE = re.compile(r"(.+_\d{5})_(\d{5})\.tiff?", re.IGNORECASE)
_UNLIKE_RATE = 0.05


@dataclass(frozen=True, slots=True)
class _Scan:
    """What a header says about the order of pages."""

    channels: int
    planes: int = 1
    frames_per_slice: int = 1
    """Stored frames, after averaging."""
    flyback: int = 0
    averaged: int = 1
    """Acquired frames that were averaged into one stored frame."""
    announced: int | None = None
    """Stored frames that the acquisition was to have, fly-back frames not counted."""
    by: str = "hChannels.channelSave"
    """Where that is known from."""

    @property
    def places(self) -> int:
        """Stored frames of a volume without fly-back frames."""
        return self.planes * self.frames_per_slice


def read_scanimage(pages: PageList, header: ScanImageHeader, wanted: Wanted) -> tuple[NDArray[np.int64], MovieFacts]:
    """Order the pages of a ScanImage recording.

    Frame numbers in the descriptions of pages decide where a volume begins, so that a file from the middle of a series
    and lost frames do not shift planes. Without them pages are counted.

    Parameters
    ----------
    pages : PageList
        All files of the recording, in order.
    header : ScanImageHeader
        Of the first file.
    wanted : Wanted
        Channels, planes and fly-back frames other than the header says replace its order; the pages then have to be
        whole volumes.

    Returns
    -------
    ndarray
        (N, C) int64, which page shows which channel of which frame. Frames of a slice are dealt out: (volume, frame of
        the slice, slice), so that plane = i % planes.
    MovieFacts
        ``numbers`` count without fly-back frames, as acquired; gaps are lost frames. `times_s` are those of ScanImage.

    Raises
    ------
    StreamError
        When several ROIs lie in one page, or header, pages and wishes contradict each other.
    """
    scan = _legacy_scan(header) if header.legacy else _scan(pages, header, wanted)
    _refuse_rois(pages, header)
    _refuse_unlike_size(pages, header)
    facts = _facts(pages, header, scan)
    given = given_order(
        pages.count, wanted, name=pages.name, channels=scan.channels, planes=scan.planes, flyback=scan.flyback
    )
    if given is not None:
        channels = given.order.shape[1]
        numbers = frame_numbers(pages, given.order[:, 0])
        facts = replace(
            facts,
            pages=given.pages,
            planes=given.planes,
            rate_hz=_frame_rate(header, scan),
            channel_names=facts.channel_names if channels == scan.channels else (),
            times_s=numbers.times_s,
            numbers=numbers.numbers if given.planes == 1 and numbers.rising else None,
            warnings=(*facts.warnings, *given.warnings),
        )
        return given.order, facts
    if wanted.channels is None:
        refuse_unlike_channels(pages, scan.channels, pages_per_number(pages), "header")
    return _ordered(pages, scan, facts)


def frames_per_volume(pages: PageList, header: ScanImageHeader, wanted: Wanted) -> int:
    """Return the stored frames of a volume, fly-back frames included; raises as `read_scanimage`."""
    scan = _legacy_scan(header) if header.legacy else _scan(pages, header, wanted)
    planes = scan.places if wanted.planes is None else wanted.planes
    flyback = (scan.flyback if wanted.planes is None else 0) if wanted.flyback is None else wanted.flyback
    return planes + flyback


def position_in_series(path: Path) -> tuple[int, int] | None:
    """Return which file of how many of its series a file is (1-based), by the names beside it.

    None for a file that is alone or has no such name (``stem_00001_00002.tif``).
    """
    match = _FILE.fullmatch(path.name)
    if match is None:
        return None
    try:
        names = [one.name for one in path.parent.iterdir()]
    except OSError:
        return None
    numbers = sorted(int(m[2]) for name in names if (m := _FILE.fullmatch(name)) and m[1] == match[1])
    return (numbers.index(int(match[2])) + 1, len(numbers)) if len(numbers) > 1 else None


def refuse_acquisitions(pages: PageList) -> None:
    """Refuse files of several acquisitions, which count their frames anew. Raises `StreamError`."""
    beginnings = _beginnings(pages)
    if len(beginnings) > 1:
        raise StreamError(
            f"{pages.paths[0].parent} with {len(beginnings)} acquisitions of ScanImage, the second one from "
            f"{pages.paths[beginnings[1]].name} on",
            expected="the files of one acquisition",
            todo="give one file, or a pattern with * that matches the files of one acquisition; a pattern that matches "
            "several joins them",
        )


def _beginnings(pages: PageList) -> list[int]:
    """Return the files with which acquisitions begin: those whose first frame number is not above the last one."""
    found, last, start = [0], -1, 0
    for file, count in enumerate(pages.counts):
        first, end = (number_of(pages.description(page)) for page in (start, start + count - 1))
        if first is not None and first <= last:
            found.append(file)
        last = last if end is None else end
        start += count
    return found


def _scan(pages: PageList, header: ScanImageHeader, wanted: Wanted) -> _Scan:
    """Read the order of pages from the header of ScanImage 4 and later."""
    channels = len(header.numbers("hChannels.channelSave", "channelsSave")) or wanted.channels
    channels = channels or pages_per_number(pages)
    if not channels:
        raise FileError(
            f"{pages.name} with a ScanImage header without hChannels.channelSave",
            expected="a header that names the saved channels",
            todo="give the number of channels with --channels",
        )
    averaged = max(1, header.count("hScan2D.logAverageFactor", "acqNumAveragedFrames") or 1)
    fast = header.flag("hFastZ.enable", "fastZEnable") or False
    on = header.flag("hStackManager.enable")
    slices = header.count("hStackManager.actualNumSlices") or 0
    slices = slices or header.count("hStackManager.numSlices", "hStackManager.slicesPerAcq", "stackNumSlices") or 1
    per_slice = header.count("hStackManager.framesPerSlice", "acqNumFrames")
    if on is None:  # before hStackManager had a switch of its own
        on = fast or (header.count("hStackManager.slicesPerAcq", "stackNumSlices") or 1) > 1
    if not (on or fast) or slices <= 1:
        return _Scan(channels, averaged=averaged, announced=per_slice // averaged if per_slice else None)
    volume = header.count("hStackManager.numFramesPerVolume")
    stored = 1 if fast else per_slice or 1
    if volume and volume % slices == 0:
        stored = volume // slices
    stored = stored // averaged if stored % averaged == 0 else 1
    with_flyback = header.count("hStackManager.numFramesPerVolumeWithFlyback")
    flyback = header.count("hFastZ.numDiscardFlybackFrames", "fastZNumDiscardFrames") or 0
    discards = header.flag("hFastZ.discardFlybackFrames", "fastZDiscardFlybackFrames")
    if volume and with_flyback and with_flyback >= volume:
        flyback = with_flyback - volume
    elif not fast or discards is False:
        flyback = 0
    volumes = header.count("hStackManager.actualNumVolumes", "hStackManager.numVolumes", "hFastZ.numVolumes")
    volumes = volumes or header.count("fastZNumVolumes")
    return _Scan(
        channels,
        slices,
        stored,
        flyback,
        averaged,
        slices * stored * volumes if volumes else None,
        "hChannels.channelSave and hStackManager",
    )


def _legacy_scan(header: ScanImageHeader) -> _Scan:
    """Read the order of pages from the header of ScanImage 3."""
    channels = sum(header.flag(f"acq.savingChannel{number}") or False for number in range(1, 5))
    channels = channels or header.count("acq.numberOfChannelsSave") or 1
    slices = max(1, header.count("acq.numberOfZSlices") or 1)
    frames = header.count("acq.numberOfFrames")
    averaged = max(1, header.count("acq.numAvgFramesSave") or 1) if header.flag("acq.averaging") else 1
    stored = max(1, frames // averaged) if frames else 1
    announced = stored * slices if frames else None
    if slices == 1:
        return _Scan(channels, averaged=averaged, announced=announced, by="state.acq.savingChannel")
    return _Scan(channels, slices, stored, 0, averaged, announced, "state.acq.savingChannel and numberOfZSlices")


def _refuse_rois(pages: PageList, header: ScanImageHeader) -> None:
    rois = header.imaging_rois
    several = any(isinstance(roi["scanfields"], list) and len(roi["scanfields"]) > 1 for roi in rois)
    if len(rois) + several > 1 and header.flag("hRoiManager.mroiEnable") is not False:
        raise StreamError(
            f"{pages.name} with {max(2, len(rois))} regions (mROI), which lie below each other in each page with "
            "fly-back lines between them",
            expected="one region per page, since places that do not touch each other would be denoised as neighbours",
            todo="save each region as a movie of its own, and open those",
        )


def _refuse_unlike_size(pages: PageList, header: ScanImageHeader) -> None:
    lines = header.count("hRoiManager.linesPerFrame", "acq.linesPerFrame", "scanLinesPerFrame")
    pixels = header.count("hRoiManager.pixelsPerLine", "acq.pixelsPerLine", "scanPixelsPerLine")
    rows, columns = pages.shape
    if header.imaging_rois and header.flag("hRoiManager.mroiEnable"):
        return  # a region has its own size
    if (lines, pixels) == (columns, rows) and rows != columns:
        raise StreamError(
            f"{pages.name} with pages of {rows} lines and {columns} pixels, where its header states {lines} and "
            f"{pixels}",
            expected="pages (Y, X) as they were scanned",
            todo="save the movie again with lines and pixels the other way round",
        )


def _refuse_torn_frames(pages: PageList, table: NDArray[np.int64], numbers: FrameNumbers) -> None:
    """Refuse frames whose channels have different numbers: a page is missing, and all behind it are shifted.

    Raises
    ------
    StreamError
        Names the first page of such a frame.
    """
    for channel in range(1, table.shape[1]):
        others = frame_numbers(pages, table[:, channel]).numbers
        if numbers.numbers is None or others is None:
            return
        torn = np.flatnonzero(others != numbers.numbers)
        if torn.size:
            at = int(torn[0])
            raise StreamError(
                f"{pages.name}, in which page {table[at, channel]} belongs to frame {others[at]} and page "
                f"{table[at, 0]}, the first of its channels, to frame {numbers.numbers[at]}",
                expected="all channels of each frame, one after the other",
                todo="a page is missing: copy the file again, or give what the pages are with --channels",
            )


def _ordered(pages: PageList, scan: _Scan, facts: MovieFacts) -> tuple[NDArray[np.int64], MovieFacts]:
    table, warnings = _frames_of_files(pages, scan.channels)
    if (beginnings := len(_beginnings(pages))) > 1:
        warnings.append(f"{beginnings} acquisitions follow each other, each with frame numbers and times of its own")
    numbers = frame_numbers(pages, table[:, 0])
    _refuse_torn_frames(pages, table, numbers)
    order, more = _volumes(pages, scan, table, numbers) if scan.planes > 1 else _plain(scan, table, numbers)
    words = pages_in_words(scan.channels, scan.planes, scan.flyback)
    if scan.frames_per_slice > 1:
        words += f"; the {scan.frames_per_slice} frames of each slice become {scan.frames_per_slice} time points"
    if scan.announced and len(order) != scan.announced:
        more.warnings.append(f"the header says {scan.announced} frames, and the files hold {len(order)}")
    if scan.averaged > 1:
        more.warnings.append(f"each stored frame is the mean of {scan.averaged} acquired ones")
    return order, replace(
        facts,
        rate_hz=facts.rate_hz or (median_rate_hz(more.times_s) if scan.planes == 1 else None),
        pages=f"{words}, by {scan.by} of the header",
        times_s=more.times_s,
        numbers=more.numbers,
        warnings=(*facts.warnings, *warnings, *more.warnings, *_unlike_rate(scan, facts.rate_hz, more.times_s)),
    )


def _frames_of_files(pages: PageList, channels: int) -> tuple[NDArray[np.int64], list[str]]:
    """Return (F, C) numbers of pages; a frame never crosses a border of files."""
    tables, warnings, start = [], [], 0
    for path, count in zip(pages.paths, pages.counts, strict=True):
        frames, rest = divmod(count, channels)
        tables.append(start + np.arange(frames * channels).reshape(frames, channels))
        if rest:
            warnings.append(
                f"{path.name} ends within a frame: {rest} of its {count} pages for {channels} channels left out"
            )
        start += count
    return np.concatenate(tables), warnings


@dataclass(slots=True)
class _Found:
    """What is known about the ordered frames."""

    times_s: NDArray[np.float64] | None
    numbers: NDArray[np.int64] | None
    warnings: list[str]


def _plain(scan: _Scan, table: NDArray[np.int64], found: FrameNumbers) -> tuple[NDArray[np.int64], _Found]:
    warnings = []
    numbers = found.numbers if found.rising and scan.averaged == 1 else None
    if numbers is not None and len(numbers) > 1:
        lost = int(numbers[-1] - numbers[0]) + 1 - len(numbers)
        if lost:
            warnings.append(f"{lost} frames are missing, by the frame numbers of the pages")
    return table, _Found(found.times_s, numbers, warnings)


def _volumes(
    pages: PageList, scan: _Scan, table: NDArray[np.int64], found: FrameNumbers
) -> tuple[NDArray[np.int64], _Found]:
    """Order frames as volumes, by their numbers when they have any."""
    step = scan.places + scan.flyback
    warnings = []
    acquired = np.arange(len(table))
    numbered = found.numbers is not None and scan.averaged == 1
    if numbered and found.numbers is not None:
        falls = np.flatnonzero(np.diff(found.numbers) <= 0) + 1
        files = np.searchsorted(np.cumsum(pages.counts), table[:, 0], side="right")
        numbered = bool((files[falls] > files[falls - 1]).all())
        # An acquisition that begins anew counts from 1 again; its volumes come behind all earlier ones.
        starts = np.concatenate([[0], falls]).astype(np.int64)
        lengths = [int(part.max()) // step + 1 for part in np.split(found.numbers, falls)]
        offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64) * step
        part = np.searchsorted(starts, np.arange(len(table)), side="right") - 1
        if numbered:
            acquired = found.numbers - 1 + offsets[part]
    if not numbered:
        first = position_in_series(pages.paths[0])
        if first is not None and first[0] > 1 and len(pages.paths) == 1:
            warnings.append("its pages have no frame numbers, so its first page is taken as the first of a volume")
        if pages.torn:
            warnings.append("frames behind the damaged page may be assigned to the wrong plane")
    volumes = whole_volumes(acquired // step, acquired % step, scan.places)
    if not len(volumes.frames):
        raise StreamError(
            f"{pages.name} with {pages.count} pages, where a volume has {step} frames of {scan.channels} channels by "
            "its header",
            expected="at least one whole volume",
            todo="give all files of the recording, or what the pages are with --channels, --planes and --flyback",
        )
    if volumes.left_out:
        warnings.append(_left_out(volumes, acquired, step))
    frames = volumes.frames.reshape(-1, scan.planes, scan.frames_per_slice).transpose(0, 2, 1).reshape(-1)
    counts = (volumes.volumes[:, None] * scan.places + np.arange(scan.places)).reshape(-1) + 1
    return table[frames], _Found(
        None if found.times_s is None else found.times_s[frames], counts if numbered else None, warnings
    )


def _left_out(volumes: WholeVolumes, acquired: NDArray[np.int64], step: int) -> str:
    where = []
    if acquired[0] % step:
        where.append("first")
    if not len(volumes.volumes) or acquired[-1] // step != volumes.volumes[-1]:
        where.append("last")
    place = f"the incomplete {' and '.join(where)} volume" if where else "volumes that lack frames"
    if volumes.left_out >= step * max(1, len(where)):
        place = "incomplete volumes"
    return f"{volumes.left_out} frames of {place} are left out"


def _unlike_rate(scan: _Scan, rate_hz: float | None, times_s: NDArray[np.float64] | None) -> list[str]:
    if times_s is None or rate_hz is None or len(times_s) < 2:
        return []
    if scan.frames_per_slice > 1:
        span = float(times_s.max() - times_s.min())
        mean = (len(times_s) - 1) / span if span > 0 else rate_hz
        if abs(mean / rate_hz - 1) > _UNLIKE_RATE:
            note = f"{rate_hz:.4g} frames/s within a slice, {mean:.3g} frames/s on average by the time stamps"
            return [f"the slices were scanned one after another with pauses: {note}"]
        return []
    measured = median_rate_hz(times_s[:: scan.planes])
    if measured is not None and abs(measured * scan.planes / rate_hz - 1) > _UNLIKE_RATE:
        return [f"the header says {rate_hz:.4g} frames/s, and the time stamps say {measured * scan.planes:.4g}"]
    return []


def _frame_rate(header: ScanImageHeader, scan: _Scan) -> float | None:
    """Return stored frames per second, fly-back frames counted."""
    rate = header.number("hRoiManager.scanFrameRate", "acq.frameRate", "scanFrameRate")
    period = header.number("hRoiManager.scanFramePeriod", "scanFramePeriod")
    if not rate and period:
        rate = 1 / period
    return rate / scan.averaged if rate and 0 < rate < 1e6 else None


def _rate(header: ScanImageHeader, scan: _Scan) -> float | None:
    """Return frames per second over all planes, without fly-back frames."""
    frame_rate = _frame_rate(header, scan)
    if scan.planes == 1:
        return frame_rate
    volume_rate = header.number("hRoiManager.scanVolumeRate")
    if volume_rate and frame_rate and scan.flyback:
        return volume_rate * scan.places
    return frame_rate and frame_rate * scan.places / (scan.places + scan.flyback)


def _facts(pages: PageList, header: ScanImageHeader, scan: _Scan) -> MovieFacts:
    extra: dict[str, Any] = {}
    resonant = _is_resonant(header)
    for key, name in (
        ("f_res_hz", "hScan2D.scannerFrequency"),
        ("phase_s", "hScan2D.linePhase"),
        ("ff_t", "hScan2D.fillFractionTemporal"),
        ("ff_s", "hScan2D.fillFractionSpatial"),
        ("zoom", "hRoiManager.scanZoomFactor"),
        ("line_period_s", "hRoiManager.linePeriod"),
    ):
        value = header.number(name)
        if value is not None and (key != "f_res_hz" or resonant):
            extra[key] = value
    if header.legacy:
        extra |= {
            key: value
            for key, name in (("ff_t", "acq.fillFraction"), ("zoom", "acq.zoomFactor"))
            if (value := header.number(name)) is not None
        }
    uniform = header.flag("hScan2D.uniformSampling")
    if resonant and uniform is not None:
        extra["dewarped"] = not uniform
    if header.version:
        extra["software"] = f"ScanImage {header.version}"
    names = header.strings("hChannels.channelName")
    saved = [int(one) for one in header.numbers("hChannels.channelSave", "channelsSave") if math.isfinite(one)]
    channel_names = tuple(names[one - 1] if 1 <= one <= len(names) else f"Channel {one}" for one in saved)
    return MovieFacts(
        format="ScanImage",
        pages="",
        planes=scan.planes,
        rate_hz=_rate(header, scan),
        pixel_um=_pixel_um(header, pages.shape),
        channel_names=channel_names,
        bidirectional=header.flag("hScan2D.bidirectional", "acq.bidirectionalScan", "bidirectionalAcq"),
        extra=extra,
    )


def _is_resonant(header: ScanImageHeader) -> bool:
    mode = header.strings("hScan2D.scanMode")
    return "resonant" in mode if mode else header.number("hScan2D.scannerFrequency") is not None


def _pixel_um(header: ScanImageHeader, shape: tuple[int, int]) -> tuple[float, float] | None:
    """Return the size of a pixel: from the corners of the field, else from the angle and micrometres per degree."""
    corners = header.numbers("hRoiManager.imagingFovUm")
    scale = 1.0
    if len(corners) != 8:
        corners = header.numbers("hRoiManager.imagingFovDeg")
        scale = header.number("objectiveResolution") or 0.0
    if len(corners) != 8 or not np.isfinite(corners).all():
        return None
    points = np.array(corners).reshape(4, 2)
    width, height = (float(np.hypot(*(points[k + 1] - points[k]))) * scale for k in (0, 1))
    return (height / shape[0], width / shape[1]) if width > 0 and height > 0 else None
