"""Recordings of ThorImageLS: ``Experiment.xml`` beside a raw file, or beside one TIFF file per channel, plane and time.

A raw file (``Image_0001_0001.raw``) is nothing but unsigned 16-bit little-endian pixels: images of all channels follow
each other, then planes, then fly-back frames. The name of a TIFF file, ``ChanA_001_001_001_002.tif``, says channel,
well, tile, plane and time. Backward lines are stored in image order. See `deepbid_rt.movies.thor_xml`.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.frame_limits import check_frame_limits
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.page_files import PageFiles, read_exactly
from deepbid_rt.movies.page_order import page_order
from deepbid_rt.movies.safe_xml import starts_with_element
from deepbid_rt.movies.thor_xml import ALL_CHANNELS, ThorExperiment, read_thor_xml
from deepbid_rt.movies.wanted import Wanted

_XML = "Experiment.xml"
_RAW_NAME = re.compile(r"image.*\.raw", re.IGNORECASE)
_TIFF_NAME = re.compile(r"(?:Chan)(?P<channel>[A-P])_(\d+)_(\d+)_(\d+)_(\d+)\.tiff?", re.IGNORECASE)


def claims(path: Path) -> bool:
    """Tell whether a path is a folder with an ``Experiment.xml`` of ThorImageLS, or one of the files in it."""
    try:
        if path.is_dir():
            return starts_with_element(path / _XML, "ThorImageExperiment")
        if path.name == _XML:
            return starts_with_element(path, "ThorImageExperiment")
        if not (_RAW_NAME.fullmatch(path.name) or _TIFF_NAME.fullmatch(path.name)):
            return False
        return path.is_file() and starts_with_element(path.with_name(_XML), "ThorImageExperiment")
    except (OSError, ValueError):
        return False


def open_movie(path: Path, wanted: Wanted) -> MovieFile:
    """Open the whole recording that a folder, its ``Experiment.xml``, a raw file or a TIFF file belongs to.

    Raises
    ------
    FileError
        When files are missing or damaged, or a folder holds several raw files.
    StreamError
        When the XML, the files and the wishes contradict each other, or it is no recording of frames.
    """
    folder = path if path.is_dir() else path.parent
    xml = folder / _XML
    experiment = read_thor_xml(xml)
    if _RAW_NAME.fullmatch(path.name) and not path.is_dir():
        return ThorRaw(path, path, experiment, wanted)
    names = sorted(one.name for one in folder.iterdir())
    raws = [] if _TIFF_NAME.fullmatch(path.name) else [name for name in names if _RAW_NAME.fullmatch(name)]
    tiffs = [name for name in names if _TIFF_NAME.fullmatch(name)]
    if len(raws) > 1:
        raise FileError(
            f"{folder} with {len(raws)} raw files ({', '.join(raws[:4])})",
            expected="one raw file",
            todo="give the raw file itself",
        )
    if raws:
        return ThorRaw(path, folder / raws[0], experiment, wanted)
    if not tiffs:
        other = [name for name in names if name.lower().endswith((".tif", ".tiff"))]
        raise FileError(
            f"{folder} without Image_0001_0001.raw and without ChanA_001_001_001_001.tif",
            expected="the files that ThorImageLS wrote beside Experiment.xml",
            todo=f"give {other[0]} itself" if other else "copy the whole folder",
        )
    return ThorTiffs(path, xml, folder, tiffs, experiment, wanted)


def _facts(
    experiment: ThorExperiment, pages: str, planes: int, flyback: int, names: tuple[str, ...], warnings: list[str]
) -> MovieFacts:
    extra: dict[str, Any] = {"software": experiment.software}
    if experiment.image_hz:
        extra["image_hz"] = experiment.image_hz
    return MovieFacts(
        format="ThorImage",
        pages=pages,
        planes=planes,
        rate_hz=experiment.rate_hz(planes, flyback),
        pixel_um=experiment.pixel_um,
        channel_names=names,
        bidirectional=experiment.both_directions,
        extra=extra,
        warnings=tuple(warnings),
    )


def _planes(experiment: ThorExperiment, wanted: Wanted) -> tuple[int, int, str]:
    """Return planes and fly-back frames, and where they are known from."""
    if wanted.planes is None and wanted.flyback is None:
        return experiment.planes, experiment.flyback, f"by {_XML}"
    planes = experiment.planes if wanted.planes is None else wanted.planes
    default = experiment.flyback if wanted.planes in (None, experiment.planes) else 0
    return planes, default if wanted.flyback is None else wanted.flyback, "as given with --planes and --flyback"


def _planes_words(planes: int, flyback: int) -> str:
    if planes == 1 and not flyback:
        return "one plane"
    return f"{planes} planes" + (f" (of {planes + flyback}, {flyback} fly-back frames left out)" if flyback else "")


def _channel_names(experiment: ThorExperiment, count: int) -> tuple[str, ...]:
    if count == len(experiment.names):
        return experiment.names
    return tuple(f"Chan{chr(ord('A') + i)}" for i in range(count))


class ThorRaw(MovieFile):
    """A raw file of ThorImageLS; see `open_movie`. Frames that are written after opening are not seen.

    Parameters
    ----------
    path : Path
        What the user gave.
    raw : Path
        The raw file.
    experiment : ThorExperiment
        What its XML says.
    wanted : Wanted
        Channels (as stored), planes and fly-back frames that differ from the XML.
    """

    def __init__(self, path: Path, raw: Path, experiment: ThorExperiment, wanted: Wanted) -> None:
        self.path = path
        self.dtype = np.dtype("<u2")
        self._lock = threading.Lock()
        try:
            self._file = raw.open("rb", buffering=0)
        except OSError as error:
            raise FileError(
                f"{raw} cannot be opened ({error.strerror or error})",
                expected="a file that may be read",
                todo="check the rights",
            ) from error
        try:
            self._order(raw, experiment, wanted)
        except BaseException:
            self._file.close()
            raise

    def _order(self, raw: Path, experiment: ThorExperiment, wanted: Wanted) -> None:
        """Find out from the length of the file how many frames of how many channels it holds."""
        lines, pixels = experiment.lines, experiment.pixels
        check_frame_limits(raw, 1, lines, pixels)
        self._page_bytes = 2 * lines * pixels
        pages, rest = divmod(os.fstat(self._file.fileno()).st_size, self._page_bytes)
        warnings = [f"{rest} bytes of an unfinished frame at the end of {raw.name} are left out"] if rest else []
        stored, known = _stored_channels(pages, experiment, wanted, warnings)
        check_frame_limits(raw, stored, lines, pixels)
        planes, flyback, by = _planes(experiment, wanted)
        order = page_order(pages - pages % stored, stored, planes, flyback=flyback, name=str(raw), complete=False)
        if pages % stored:
            warnings.append(f"{pages % stored} images of an unfinished frame at the end are left out")
        if order.left_out:
            warnings.append(f"{order.left_out} images of an incomplete last volume are left out")
        frames = pages // stored
        if experiment.frames and frames != experiment.frames:
            stopped = "" if experiment.complete else ", since the recording was stopped"
            warnings.append(f"{_XML} promises {experiment.frames} frames, and {raw.name} holds {frames}{stopped}")
        picked, names = order.pages, _channel_names(experiment, stored)
        words = f"{stored} channels follow each other as whole images" if stored > 1 else "one channel"
        if stored == ALL_CHANNELS > len(experiment.enabled) and wanted.channels is None:
            picked, names = picked[:, list(experiment.enabled)], experiment.names
            words = f"{len(names)} enabled channels of {stored} stored ones, which follow each other as whole images"
        self._pages = np.ascontiguousarray(picked)
        self.shape = (len(picked), picked.shape[1], lines, pixels)
        by = by if by.startswith("as") else f"{by} and the length of the file" if known else by
        words = f"{words}, {_planes_words(planes, flyback)}, {by}"
        self.facts = _facts(experiment, words, planes, flyback, names, warnings)

    def _read_frame(self, i: int, out: NDArray[Any]) -> None:
        with self._lock:
            for page, channel in zip(self._pages[i], out, strict=True):
                self._file.seek(int(page) * self._page_bytes)
                read_exactly(self._file, channel)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()


def _stored_channels(pages: int, experiment: ThorExperiment, wanted: Wanted, warnings: list[str]) -> tuple[int, bool]:
    """Return the channels of a raw file, and whether its length confirms them."""
    if wanted.channels is not None:
        if wanted.channels < 1:
            raise StreamError(
                f"{wanted.channels} channels", expected="at least 1", todo="correct --channels, or leave it out"
            )
        return wanted.channels, False
    enabled = len(experiment.enabled)
    if experiment.only_enabled or enabled >= ALL_CHANNELS:
        return enabled, experiment.frames is not None and pages == experiment.frames * enabled
    candidates = (ALL_CHANNELS, enabled) if enabled > 1 else (enabled, ALL_CHANNELS)
    for one in candidates:
        if experiment.frames and pages == experiment.frames * one:
            return one, True
    warnings.append(
        f"{_XML} leaves open whether the file holds {candidates[0]} or {candidates[1]} channels, and its length fits "
        f"neither: {candidates[0]} are assumed, and --channels sets them"
    )
    return candidates[0], False


class ThorTiffs(MovieFile):
    """One TIFF file per channel, plane and time of ThorImageLS; see `open_movie`.

    Parameters
    ----------
    path : Path
        What the user gave.
    xml, folder : Path
        The XML and the folder of the files.
    names : list of str
        Names of the files.
    experiment : ThorExperiment
        What the XML says.
    wanted : Wanted
        Planes and fly-back frames that differ from the names of the files; channels must agree with them.
    """

    def __init__(
        self, path: Path, xml: Path, folder: Path, names: list[str], experiment: ThorExperiment, wanted: Wanted
    ) -> None:
        self.path = path
        warnings: list[str] = []
        files = _sorted_files(folder, names)
        channels = sorted({key[2] for key in files})
        _check_channels(folder, channels, experiment, wanted, warnings)
        check_frame_limits(folder, len(channels), experiment.lines, experiment.pixels)
        paths, planes = _grid(folder, files, channels, wanted, warnings)
        self._pages = PageFiles(paths, salvage=wanted.salvage)
        try:
            self._finish(xml, paths, channels, planes, experiment, wanted, warnings)
        except BaseException:
            self._pages.close()
            raise

    def _finish(
        self,
        xml: Path,
        paths: list[Path],
        channels: list[int],
        planes: int,
        experiment: ThorExperiment,
        wanted: Wanted,
        warnings: list[str],
    ) -> None:
        pages = self._pages
        odd = next((i for i, count in enumerate(pages.counts) if count > 1), None)
        if odd is not None:
            raise StreamError(
                f"{paths[odd]} with {pages.counts[odd]} pages",
                expected="one page per file, as its name says plane and time",
                todo="open that file by itself, in a folder without Experiment.xml",
            )
        whole = next((i for i, count in enumerate(pages.counts) if count == 0), len(paths)) // len(channels)
        self.problem = pages.problem
        if pages.shape != (experiment.lines, experiment.pixels):
            warnings.append(
                f"{xml.name} says {experiment.lines} lines of {experiment.pixels} pixels, and the files have "
                f"{pages.shape[0]} of {pages.shape[1]}, which are taken"
            )
        times = whole // planes
        planes, flyback, words = _planes_of_files(planes, experiment, wanted, warnings)
        order = page_order(whole, 1, planes, flyback=flyback, name=str(self.path), complete=False)
        if order.left_out:
            warnings.append(f"{order.left_out} frames of an incomplete last volume are left out")
        if experiment.frames and experiment.frames not in (whole, times):
            warnings.append(f"{xml.name} promises {experiment.frames} frames, and there are files of {times}")
        self._first = order.pages[:, 0] * len(channels)
        self.shape = (len(self._first), len(channels), *pages.shape)
        self.dtype, self.uncompressed = pages.dtype, pages.uncompressed
        names = experiment.names
        if tuple(channels) != experiment.enabled:
            names = tuple(f"Chan{chr(ord('A') + i)}" for i in channels)
        words = f"one file per channel, plane and time, {_planes_words(planes, flyback)}, {words}"
        self.facts = _facts(experiment, words, planes, flyback, names, warnings)

    def _read_frame(self, i: int, out: NDArray[Any]) -> None:
        for number, channel in enumerate(out, start=int(self._first[i])):
            self._pages.read(number, 0, channel)

    def close(self) -> None:
        """Close the files; may be called twice."""
        self._pages.close()


def _sorted_files(folder: Path, names: list[str]) -> dict[tuple[int, int, int], Path]:
    """Return the file of each time, plane and channel."""
    files: dict[tuple[int, int, int], Path] = {}
    places = set()
    for name in names:
        match = _TIFF_NAME.fullmatch(name)
        if match is None:
            continue
        well, tile, plane, time = (int(one[:12]) for one in match.groups()[1:])
        places.add((well, tile))
        key = (time, plane, ord(match["channel"].upper()) - ord("A"))
        if len(places) > 1:
            raise StreamError(
                f"{folder} with files of several wells or tiles (such as {files[next(iter(files))].name} and {name})",
                expected="frames of one place",
                todo="move the files of each place into a folder of its own, with Experiment.xml",
            )
        if key in files:
            raise StreamError(
                f"{files[key]} and {name} for the same frame",
                expected="one file per channel, plane and time",
                todo="remove the copy",
            )
        files[key] = folder / name
    return files


def _check_channels(
    folder: Path, channels: list[int], experiment: ThorExperiment, wanted: Wanted, warnings: list[str]
) -> None:
    """Compare the channels of the files with the XML and the wishes."""
    if wanted.channels not in (None, len(channels)):
        raise StreamError(
            f"{wanted.channels} channels for {folder}, which has files of {len(channels)}",
            expected=f"--channels {len(channels)}",
            todo="leave --channels out",
        )
    lacking = [i for i in experiment.enabled if i not in channels]
    if lacking and wanted.channels is None:
        raise FileError(
            f"no file of Chan{chr(ord('A') + lacking[0])} in {folder}, which {_XML} says to be enabled",
            expected="files of all enabled channels",
            todo=f"copy the whole folder, or take what is there with --channels {len(channels)}",
        )
    if tuple(channels) != experiment.enabled:
        warnings.append(f"{_XML} says other channels than the files, which are taken")


def _grid(
    folder: Path,
    files: dict[tuple[int, int, int], Path],
    channels: list[int],
    wanted: Wanted,
    warnings: list[str],
) -> tuple[list[Path], int]:
    """Return the files in the order time, plane, channel, and the number of planes; the last time may lack some."""
    last, first = max(key[0] for key in files), min(key[0] for key in files)
    planes = range(min(key[1] for key in files), max(key[1] for key in files) + 1)
    if (last - first + 1) * len(planes) * len(channels) > 10 * len(files) + 1000:
        raise StreamError(
            f"{folder} with {len(files)} files whose names count {last - first + 1} times and {len(planes)} planes",
            expected="a file for each of them",
            todo="copy the whole folder",
        )
    paths: list[Path] = []
    for time in range(first, last + 1):
        keys = [(time, plane, channel) for plane in planes for channel in channels]
        lacking = next((key for key in keys if key not in files), None)
        if lacking is not None and time == last and paths:
            warnings.append(f"the last time ({time}) lacks files of planes or channels, and is left out")
            break
        if lacking is not None and wanted.salvage and paths:
            warnings.append(f"the files from time {time} on are left out, since some are missing")
            break
        if lacking is not None:
            like = next(iter(files.values())).name
            width = len(like.split("_")[-1].split(".")[0])
            name = f"Chan{chr(ord('A') + lacking[2])}_*_*_{lacking[1]:0{width}}_{lacking[0]:0{width}}.tif"
            raise FileError(
                f"no file {folder / name}",
                expected=f"a file of each channel, plane and time as {like}",
                todo="copy the whole folder, or use the whole frames before it with --salvage",
            )
        paths += [files[key] for key in keys]
    return paths, len(planes)


def _planes_of_files(
    planes: int, experiment: ThorExperiment, wanted: Wanted, warnings: list[str]
) -> tuple[int, int, str]:
    """Return planes and fly-back frames: as wanted, else by the names of the files, else by the XML."""
    if wanted.planes is not None or wanted.flyback is not None:
        return _planes(experiment, wanted)
    if experiment.flyback and planes == experiment.planes + experiment.flyback:
        return experiment.planes, experiment.flyback, f"by the names of the files and {_XML}"
    if planes == 1 and experiment.planes > 1 and experiment.streaming:
        warnings.append(
            f"the names of the files count no planes, and {_XML} says {experiment.planes} and {experiment.flyback} "
            "fly-back frames: they are taken to follow each other, and --planes and --flyback set them"
        )
        return experiment.planes, experiment.flyback, f"by {_XML}"
    if planes != experiment.planes:
        warnings.append(f"{_XML} says {experiment.planes} planes, and the files have {planes}, which are taken")
    return planes, 0, "by the names of the files"
