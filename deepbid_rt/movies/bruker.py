"""Recordings of PrairieView (Bruker): an XML and TIFF files of one page, or of many pages, per channel.

The XML decides what is a frame: each ``Sequence`` is a cycle, each ``Frame`` in it a frame, each ``File`` in that a
channel. Cycles whose type names a ZSeries are volumes, whose frames are the planes in the order of scanning. Other
cycles are time series. With ``bidirectionalZ`` every second volume is scanned from the last plane to the first one
(0 1 2, 2 1 0, https://github.com/MouseLand/suite2p/issues/684). Backward lines are stored in image order. Read off
real files of version 5.6.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.frame_limits import check_frame_limits, name_inside
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.page_files import PageFiles
from deepbid_rt.movies.page_order import page_order
from deepbid_rt.movies.prairie_xml import PrairieCycle, PrairieFrame, PrairieScan, read_prairie_xml
from deepbid_rt.movies.safe_xml import starts_with_element
from deepbid_rt.movies.wanted import Wanted

_TIFF_NAME = re.compile(r"(?P<stem>.+)_Cycle\d+_.+\.tiff?", re.IGNORECASE)
_MOST_XMLS = 64
_CHUNK = 2**20


def claims(path: Path) -> bool:
    """Tell whether a path is a folder with an XML of PrairieView, that XML, or a TIFF file that it names."""
    try:
        if path.is_dir():
            return bool(_xmls_in(path))
        if path.suffix.lower() == ".xml":
            return starts_with_element(path, "PVScan")
        return _xml_of_tiff(path) is not None
    except OSError:
        return False


def open_movie(path: Path, wanted: Wanted) -> MovieFile:
    """Open the whole recording that a folder, an XML or one of its TIFF files belongs to.

    Raises
    ------
    FileError
        When files are missing or damaged, or a folder holds several recordings.
    StreamError
        When it is a line scan, or the XML, the files and the wishes contradict each other.
    """
    if path.is_dir():
        xmls = _xmls_in(path)
        if len(xmls) != 1:
            raise FileError(
                f"{path} with {len(xmls)} XML files of PrairieView" + "".join(f", {one.name}" for one in xmls[:4]),
                expected="a folder of one recording",
                todo="give the XML of one recording",
            )
        xml = xmls[0]
    elif path.suffix.lower() == ".xml":
        xml = path
    else:
        named = _xml_of_tiff(path)
        if named is None:
            raise FileError(
                f"no XML of PrairieView beside {path} names it",
                expected="the XML of the recording in the same folder",
                todo="copy the XML beside it, or rename the file so that it is opened as a plain TIFF",
            )
        xml = named
    return BrukerMovie(path, xml, wanted)


def _xmls_in(folder: Path) -> list[Path]:
    xmls = sorted(one for one in folder.iterdir() if one.suffix.lower() == ".xml")
    return [one for one in xmls[:_MOST_XMLS] if starts_with_element(one, "PVScan")]


def _xml_of_tiff(path: Path) -> Path | None:
    """Return the XML that names a TIFF file: the one with the name of the recording, or another in its folder."""
    match = _TIFF_NAME.fullmatch(path.name)
    if not match or not path.is_file():
        return None
    first = path.with_name(match["stem"] + ".xml")
    if starts_with_element(first, "PVScan") and _names(first, path.name):
        return first
    return next((one for one in _xmls_in(path.parent) if one != first and _names(one, path.name)), None)


def _names(xml: Path, name: str) -> bool:
    """Tell whether an XML names a file, without parsing it: it may be large."""
    pattern = f'filename="{escape(name, {chr(34): "&quot;"})}"'.encode()
    before = b""
    with xml.open("rb") as file:
        while piece := file.read(_CHUNK):
            if pattern in before + piece:
                return True
            before = piece[-len(pattern) :]
    return False


@dataclass(frozen=True)
class _Order:
    """Frames of all planes, plane = i % planes."""

    frames: list[PrairieFrame]
    numbers: NDArray[np.int64] | None
    planes: int
    words: str
    warnings: list[str]


class BrukerMovie(MovieFile):
    """A recording of PrairieView; see `open_movie`.

    Parameters
    ----------
    path : Path
        What the user gave.
    xml : Path
        The XML; the files lie beside it.
    wanted : Wanted
        Number of planes and fly-back frames that differ from the XML; channels must agree with it.
    """

    def __init__(self, path: Path, xml: Path, wanted: Wanted) -> None:
        self.path = path
        scan = read_prairie_xml(xml, salvage=wanted.salvage)
        cycles = [one for one in scan.cycles if one.frames]
        _refuse_other_scans(xml, cycles)
        channels, names = _channels(xml, cycles, wanted)
        order = _order(xml, cycles, channels, wanted)
        self._locate(xml, order.frames)
        self._pages = PageFiles(self._paths, salvage=wanted.salvage)
        try:
            self._finish(xml, scan, order, names, wanted)
        except BaseException:
            self._pages.close()
            raise

    def _locate(self, xml: Path, frames: list[PrairieFrame]) -> None:
        """Note file and page of each frame and channel."""
        numbers: dict[str, int] = {}
        seen: Counter[str] = Counter()
        places = []
        for frame in frames:
            for one in frame.files:
                number = numbers.setdefault(one.name, len(numbers))
                places.append((number, seen[one.name] if one.page is None else one.page - 1))
                seen[one.name] += 1
        self._places = np.array(places, np.int64).reshape(len(frames), -1, 2)
        self._paths = [name_inside(xml.parent, name, xml) for name in numbers]

    def _finish(self, xml: Path, scan: PrairieScan, order: _Order, names: tuple[str, ...], wanted: Wanted) -> None:
        pages, warnings = self._pages, list(order.warnings)
        counts = np.array(pages.counts, np.int64)
        there = np.all(self._places[..., 1] < counts[self._places[..., 0]], axis=1)
        whole = len(self._places) if there.all() else int(there.argmin())
        if whole < len(self._places) and not wanted.salvage:
            file, page = next(tuple(place) for place in self._places[whole] if place[1] >= counts[place[0]])
            raise FileError(
                f"{self._paths[file]} with {counts[file]} pages where {xml.name} names page {page + 1}",
                expected="files as long as the XML says",
                todo="copy the files again, or use the whole frames with --salvage",
            )
        whole -= whole % order.planes
        if whole == 0:
            raise FileError(
                f"{xml.parent} without one whole {'volume' if order.planes > 1 else 'frame'}",
                expected="the files that the XML names",
                todo="copy the folder again",
            )
        named = len({(int(file), int(page)) for file, page in self._places.reshape(-1, 2)})
        if not wanted.salvage and not order.warnings and named < counts.sum():
            warnings.append(f"the files hold {counts.sum()} pages, and {xml.name} names {named} of them")
        self.problem = scan.problem or pages.problem
        self._places = self._places[:whole]
        self.shape = (whole, self._places.shape[1], *pages.shape)
        self.dtype, self.uncompressed = pages.dtype, pages.uncompressed
        check_frame_limits(self.path, *self.shape[1:])
        warnings += _contradictions(scan, pages.shape)
        times_s = _times(order.frames[:whole], order.planes)
        per_file = "one file" if max(pages.counts) == 1 else "one page of a file"
        resonant = "resonant" in (scan.value("activeMode") or "").lower()
        self.facts = MovieFacts(
            format="Bruker",
            pages=f"{per_file} per frame and channel, {order.words}",
            planes=order.planes,
            rate_hz=_rate(scan, times_s, order.planes),
            pixel_um=_pixel_um(scan),
            channel_names=names,
            bidirectional=True if resonant else None,
            times_s=times_s,
            numbers=None if order.numbers is None else order.numbers[:whole],
            extra=_extra(scan, resonant),
            warnings=tuple(warnings),
        )

    def _read_frame(self, i: int, out: NDArray[Any]) -> None:
        for (file, page), channel in zip(self._places[i], out, strict=True):
            self._pages.read(int(file), int(page), channel)

    def close(self) -> None:
        """Close the files; may be called twice."""
        self._pages.close()


def _refuse_other_scans(xml: Path, cycles: list[PrairieCycle]) -> None:
    """Refuse what is no movie of frames."""
    if not cycles:
        raise StreamError(
            f"{xml} without a frame",
            expected="a recording with Frame elements",
            todo="give the XML of a time series or volume series",
        )
    for cycle in cycles:
        kind = cycle.kind.lower().replace(" ", "")
        if "linescan" in kind or "pointscan" in kind:
            raise StreamError(
                f"{xml} is a line scan (cycle {cycle.number}, {cycle.kind}), whose rows are times and no frames",
                expected="a series of frames, such as a TSeries or ZSeries",
                todo="give a recording of frames; line scans are not denoised",
            )
        if cycle.tiles > 1:
            raise StreamError(
                f"{xml} with {cycle.tiles} positions of the stage (cycle {cycle.number})",
                expected="frames of one place",
                todo="record each position by itself, or save it as a TIFF file",
            )


def _channels(xml: Path, cycles: list[PrairieCycle], wanted: Wanted) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return numbers and names of all channels."""
    names: dict[int, str] = {}
    for cycle in cycles:
        for frame in cycle.frames:
            if len({one.channel for one in frame.files}) != len(frame.files):
                raise StreamError(
                    f"{xml} with a channel twice in frame {frame.index} of cycle {cycle.number}",
                    expected="one File element per channel in each Frame",
                    todo="give the XML as PrairieView wrote it",
                )
            names.update((one.channel, one.channel_name) for one in frame.files if one.channel not in names)
    if not names:
        raise StreamError(
            f"{xml} whose frames name no files",
            expected="one File element per channel in each Frame",
            todo="convert the raw data with PrairieView first",
        )
    if wanted.channels not in (None, len(names)):
        raise StreamError(
            f"{wanted.channels} channels for {xml}, which names files of {len(names)}",
            expected=f"--channels {len(names)}",
            todo="leave --channels out",
        )
    channels = tuple(sorted(names))
    check_frame_limits(xml, len(channels), 1, 1)
    return channels, tuple(names[one] for one in channels)


def _order(xml: Path, cycles: list[PrairieCycle], channels: tuple[int, ...], wanted: Wanted) -> _Order:
    """Order the frames of all cycles."""
    volumes = ["zseries" in one.kind.lower().replace(" ", "") for one in cycles]
    if any(volumes) and not all(volumes):
        raise StreamError(
            f"{xml} with cycles of volumes and cycles of time series",
            expected="cycles of one kind",
            todo="give one of them as TIFF files",
        )
    order = (_volumes if all(volumes) else _time_series)(xml, cycles, channels)
    if wanted.flyback and wanted.planes is None:
        wanted_planes: int | None = order.planes - wanted.flyback
    else:
        wanted_planes = wanted.planes
    if wanted_planes is None or (wanted_planes == order.planes and not wanted.flyback):
        return order
    flyback = wanted.flyback or 0
    picked = page_order(len(order.frames), 1, wanted_planes, flyback=flyback, name=str(xml), complete=False)
    warnings = list(order.warnings)
    if picked.left_out:
        warnings.append(f"{picked.left_out} frames of an incomplete last volume are left out")
    words = f"{wanted_planes} planes" + (f" ({flyback} fly-back frames left out)" if flyback else "")
    return _Order(
        [order.frames[i] for i in picked.pages[:, 0]],
        None,
        wanted_planes,
        f"{words}, as given with --planes and --flyback",
        warnings,
    )


def _whole_frames(xml: Path, cycle: PrairieCycle, channels: tuple[int, ...]) -> list[PrairieFrame]:
    """Return the frames with all channels; the last one may lack some, since the recording was stopped in it."""
    frames = cycle.frames
    for frame in frames:
        lacking = set(channels) - {one.channel for one in frame.files}
        if lacking and frame is not frames[-1]:
            raise StreamError(
                f"{xml} whose frame {frame.index} of cycle {cycle.number} lacks channel {min(lacking)}",
                expected="files of all channels for each frame",
                todo="give each channel as TIFF files",
            )
        if lacking:
            return frames[:-1]
    return frames


def _time_series(xml: Path, cycles: list[PrairieCycle], channels: tuple[int, ...]) -> _Order:
    warnings = []
    frames: list[PrairieFrame] = []
    for cycle in cycles:
        whole = _whole_frames(xml, cycle, channels)
        if len(whole) < len(cycle.frames):
            warnings.append(f"the last frame of cycle {cycle.number} lacks a channel and is left out")
        frames += whole
    if len(cycles) > 1:
        warnings.append(f"{len(cycles)} time series (cycles) follow each other, with pauses between them")
    numbers = None
    if len(cycles) == 1 and frames:
        numbers = np.array([one.index for one in frames], np.int64) - frames[0].index
        if (np.diff(numbers) <= 0).any():
            numbers = None
    return _Order(frames, numbers, 1, f"by the Frame elements of {xml.name}", warnings)


def _volumes(xml: Path, cycles: list[PrairieCycle], channels: tuple[int, ...]) -> _Order:
    whole = [_whole_frames(xml, one, channels) for one in cycles]
    counts = Counter(map(len, whole))
    planes = max(counts, key=lambda count: (counts[count], count))
    warnings, frames, numbers = [], [], []
    reference, turned = None, 0
    for cycle, volume in zip(cycles, whole, strict=True):
        if len(volume) > planes:
            raise StreamError(
                f"{xml} whose cycle {cycle.number} has {len(volume)} planes, and others {planes}",
                expected="the same planes in each cycle",
                todo="give the cycles as TIFF files",
            )
        if len(volume) < planes:
            warnings.append(f"cycle {cycle.number} was stopped after {len(volume)} of {planes} planes, and is left out")
            continue
        reference = reference or volume
        if _is_turned(cycle, volume, cycles[0].number, reference):
            volume, turned = volume[::-1], turned + 1
        frames += volume
        numbers.append(cycle.number - cycles[0].number)
    words = f"each cycle is a volume of {planes} planes" if planes > 1 else "each cycle is a frame"
    if turned:
        words += f", and {turned} volumes that were scanned from the last plane to the first are turned round"
    count = np.array(numbers, np.int64)
    order = (count[:, None] * planes + np.arange(planes)).ravel() if (np.diff(count) > 0).all() else None
    return _Order(frames, order, planes, f"{words}, by the Sequence elements of {xml.name}", warnings)


def _is_turned(cycle: PrairieCycle, volume: list[PrairieFrame], first: int, reference: list[PrairieFrame]) -> bool:
    """Tell whether a volume was scanned from the last plane to the first: by its positions, else by its number."""
    here, there = [one.z_um for one in volume], [one.z_um for one in reference]
    if len(here) > 1 and all(here) and {len(one) for one in here + there} == {len(here[0])}:
        z, other = np.array(here), np.array(there)
        straight, back = np.abs(z - other).sum(), np.abs(z[::-1] - other).sum()
        if straight != back:
            return bool(back < straight)
    return cycle.bidirectional_z and (cycle.number - first) % 2 == 1


def _times(frames: list[PrairieFrame], planes: int) -> NDArray[np.float64] | None:
    """Return the times after the first frame: of the clock that rises from volume to volume; None when neither does."""
    for times in ([one.absolute_s for one in frames], [one.relative_s for one in frames]):
        if None in times:
            continue
        times_s = np.array(times, np.float64)
        volumes = np.sort(times_s.reshape(-1, planes), axis=1)  # a volume may have been scanned backwards
        if (np.diff(volumes.ravel()) > 0).all():
            return np.asarray(times_s - times_s.min(), np.float64)
    return None


def _rate(scan: PrairieScan, times_s: NDArray[np.float64] | None, planes: int) -> float | None:
    """Return frames per second over all planes: by the times of the volumes, else by the period of a frame."""
    if times_s is not None and len(times_s) > 1:
        starts = times_s.reshape(-1, planes).min(axis=1)
        if len(starts) > 1:
            return planes / float(np.median(np.diff(starts)))
        return 1 / float(np.median(np.diff(np.sort(times_s))))
    period = scan.number("framePeriod")
    return None if period is None else 1 / period


def _pixel_um(scan: PrairieScan) -> tuple[float, float] | None:
    y, x = scan.number("micronsPerPixel/YAxis"), scan.number("micronsPerPixel/XAxis")
    return None if y is None or x is None else (y, x)


def _extra(scan: PrairieScan, resonant: bool) -> dict[str, Any]:
    extra: dict[str, Any] = {"software": f"PrairieView {scan.version}".strip()}
    for name, key in (
        ("frame_period_s", "framePeriod"),
        ("line_period_s", "scanLinePeriod"),
        ("bits", "bitDepth"),
        ("zoom", "opticalZoom"),
        ("samples_per_pixel", "samplesPerPixel"),
    ):
        value = scan.number(key)
        if value is not None:
            extra[name] = int(value) if name in ("bits", "samples_per_pixel") else value
    mode = scan.value("activeMode")
    if mode:
        extra["mode"] = mode
    if resonant and "line_period_s" in extra:
        extra["f_res_hz"] = 1 / (2 * extra["line_period_s"])  # one period of the mirror scans two lines
    return extra


def _contradictions(scan: PrairieScan, shape: tuple[int, int]) -> list[str]:
    """Return what the XML says otherwise than the files, or otherwise from frame to frame."""
    warnings = []
    lines, pixels = scan.number("linesPerFrame"), scan.number("pixelsPerLine")
    if lines and pixels and (lines, pixels) != shape:
        warnings.append(
            f"the XML says {lines:g} lines of {pixels:g} pixels, and the files have {shape[0]} of {shape[1]}, which "
            "are taken"
        )
    if scan.changed:
        warnings.append(
            f"{', '.join(scan.changed)} changed during the recording; the values of the first frame are given"
        )
    return warnings
