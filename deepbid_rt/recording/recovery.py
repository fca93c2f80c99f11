"""Recovery of recordings after a crash, a power cut or a full disk: what is whole, what is missing, and a new copy.

Originals are never changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deepbid_rt.errors import DeepbidError, FileError, StageError
from deepbid_rt.recording.log_file import EARLIER_SESSION
from deepbid_rt.recording.recording_name import RecordingName
from deepbid_rt.recording.sidecar import read_whole_lines, write_lines
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.recording.tiff_writer import SOFTWARE, TiffMovieWriter

RECOVERED = "_recovered"
"""End of the names of what recovery writes."""
_INDEX_FRAMES = 1000  # frames in one line of the index
_TIFF = {".tif", ".tiff", ".btf", ".tf8"}


@dataclass
class MissingFrames:
    """Frames that a recording lacks."""

    first: int
    count: int
    cause: str
    """As the session log says; ``interruption`` for frames between two parts, ``unknown`` when no line says it."""


@dataclass
class MovieReport:
    """A movie and what it lacks."""

    path: str
    whole: bool
    """Whether the file is intact; frames may be missing from it nevertheless, which the log explains."""
    problem: str | None
    """What is wrong with the file; None when nothing is."""
    frames: int
    first: int | None = None
    """Number of the first frame; None for a movie of another program."""
    last: int | None = None
    missing: list[MissingFrames] = field(default_factory=list)
    """Frames between the last one of the part before and the last one of this file."""
    recovered: str | None = None
    """The new file with the whole frames; None when none was needed or none is whole."""


@dataclass
class LogReport:
    """A session log, with all its parts."""

    path: str
    whole: bool
    problem: str | None
    last_total: Mapping[str, Any] | None
    """The totals of the session when the log ends: those of its summary, or the last line of totals."""
    recovered: str | None = None
    """The new log with all whole lines, an index of the frames and a summary; None when none was needed."""


@dataclass
class _Index:
    """Numbers and times of the frames in a movie, from the descriptions of its pages."""

    numbers: list[int] = field(default_factory=list)
    t_ns: list[int] = field(default_factory=list)
    t_s: list[float] = field(default_factory=list)


class Recovery:
    """Looks at a folder of recordings, or at one movie, and writes what is needed to use them.

    Parameters
    ----------
    path : Path
        A folder, or a TIFF file.

    Raises
    ------
    FileError
        When there is no such folder or file, or nothing in it to recover.
    """

    def __init__(self, path: Path) -> None:
        try:
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            movies = [p for p in files if p.suffix.lower() in _TIFF and not p.stem.endswith(RECOVERED) and p.is_file()]
        except OSError as error:
            raise FileError(
                f"{path} cannot be read ({error.strerror})", expected="a folder that can be read", todo="check the path"
            ) from error
        self._names = {name for p in files if (name := RecordingName.of_file(p)) and not name.stem.endswith(RECOVERED)}
        if not path.is_dir():
            self._names = set()
        if not movies and not self._names:
            raise FileError(
                f"{path} has no recording" if path.exists() else f"no file or folder {path}",
                expected="a folder with TIFF files or session logs, or one TIFF file",
                todo="check the path",
            )
        self._alone = [p for p in movies if not path.is_dir() or RecordingName.of_file(p) is None]

    def run(self) -> tuple[list[MovieReport], list[LogReport]]:
        """Recover everything; return what was found, in the order of the names.

        Raises `FileError` or `StageError` when a new file cannot be written.
        """
        movies, logs = [self._recover_movie(path)[0] for path in self._alone], []
        for name in sorted(self._names, key=lambda n: n.stem):
            found, log = self._recover_series(name)
            movies += found
            logs.append(log)
        return movies, logs

    def _recover_series(self, name: RecordingName) -> tuple[list[MovieReport], LogReport]:
        lines, broken = _read_log(name.logs())
        movies, indices = [], {}
        for stream in ("raw", "denoised"):
            gaps = [line for line in lines if line["kind"] == "gap" and line.get("stream") == stream]
            last: int | None = None
            for path in name.movies(stream):
                report, index = self._recover_movie(path)
                report.missing = list(_missing(index.numbers, last, gaps))
                last = index.numbers[-1] if index.numbers else last
                movies.append(report)
                indices[path.name] = index
        return movies, self._recover_log(name, lines, broken, movies, indices)

    def _recover_movie(self, path: Path) -> tuple[MovieReport, _Index]:
        if path.stat().st_size == 0:
            return MovieReport(str(path), False, "it is empty: no frame was written", 0), _Index()
        try:
            movie = TiffMovie(path, salvage=True)
        except DeepbidError as error:
            return MovieReport(str(path), False, error.came, 0), _Index()
        with movie:
            pages = [_keys(movie.description(n)) for n in range(movie.shape[0])]
            chosen = _whole_frames(pages) if movie.problem else list(range(len(pages)))
            channels = _channels(pages)
            index = _Index()
            for n in chosen[::channels]:
                if (number := _number(pages[n].get("frameNumbers"))) is not None:
                    index.numbers.append(number)
                    index.t_ns.append(_number(pages[n].get("t_ns")) or 0)
                    index.t_s.append(_seconds(pages[n].get("frameTimestamps_sec", "")))
            frames = len(chosen) // channels
            report = MovieReport(str(path), movie.problem is None, movie.problem, frames)
            if index.numbers:
                report.first, report.last = index.numbers[0], index.numbers[-1]
            if movie.problem and frames:
                _copy(movie, [chosen[n : n + channels] for n in range(0, len(chosen), channels)], pages, report)
        return report, index

    def _recover_log(
        self,
        name: RecordingName,
        lines: list[dict[str, Any]],
        broken: int,
        movies: list[MovieReport],
        indices: Mapping[str, _Index],
    ) -> LogReport:
        paths = name.logs()
        totals = [line for line in lines if line["kind"] in ("total", "summary")]
        last_total = totals[-1] if totals else None
        ended = bool(lines) and lines[-1]["kind"] == "summary"
        sessions = 1 + sum(line["kind"] == "part" and line.get("reason") == EARLIER_SESSION for line in lines)
        unended = sessions - sum(line["kind"] == "summary" for line in lines)
        problem = None
        if not paths:
            problem = "there is no log"
        elif broken:
            problem = f"{broken} of its lines are not whole"
        elif unended > 0:
            problem = f"{unended} of its {sessions} sessions has no summary: it did not end"
        report = LogReport(str(name.log()), problem is None, problem, last_total)
        if problem is None:
            return report
        target = name.directory / f"{name.stem}{RECOVERED}.jsonl"
        report.recovered = str(target)
        if target.exists():  # of an earlier run; the originals have not changed since
            return report
        t_ns = max((line["t_ns"] for line in lines), default=0)
        kinds = dict(Counter(line["kind"] for line in lines))
        figures = {key: value for key, value in (last_total or {}).items() if key not in ("kind", "t_ns", "lines")}
        summary = {
            "series": name.stem,
            "lines": kinds,
            "lines_broken": broken,
            **figures,
            "recovered": SOFTWARE,
            "recordings": [asdict(movie) for movie in movies],
        }
        index = list(_index_lines(indices, t_ns))
        if ended:
            write_lines(target, [*lines[:-1], *index, lines[-1]])
        else:
            write_lines(target, [*lines, *index, {"kind": "summary", "t_ns": t_ns, **summary}])
        return report


def _read_log(paths: list[Path]) -> tuple[list[dict[str, Any]], int]:
    """Return the whole lines of all parts of a log, and the number of other lines."""
    lines, broken = [], 0
    for path in paths:
        whole, others = read_whole_lines(path)
        lines += whole
        broken += others
    return lines, broken


def _missing(numbers: list[int], last: int | None, gaps: list[dict[str, Any]]) -> Iterator[MissingFrames]:
    """Yield the frames that a movie lacks, from the end of the part before it; causes as the log says."""
    otherwise = "interruption"
    for number in numbers:
        if last is not None and number > last + 1:
            yield from _explained(last + 1, number - last - 1, gaps, otherwise)
        last, otherwise = number, "unknown"


def _explained(first: int, count: int, gaps: list[dict[str, Any]], otherwise: str) -> Iterator[MissingFrames]:
    """Split missing frames by the lines of the log that give a cause."""
    at, end = first, first + count
    for gap in sorted(gaps, key=lambda line: int(line["first"])):
        begin, stop = max(at, int(gap["first"])), min(end, int(gap["first"]) + int(gap["count"]))
        if begin >= stop:
            continue
        if begin > at:
            yield MissingFrames(at, begin - at, otherwise)
        yield MissingFrames(begin, stop - begin, str(gap["cause"]))
        at = stop
    if at < end:
        yield MissingFrames(at, end - at, otherwise)


def _keys(description: str) -> dict[str, str]:
    return dict(line.split(" = ", 1) for line in description.splitlines() if " = " in line)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else None


def _channels(pages: list[dict[str, str]]) -> int:
    """Return the number of channels, of which only our own movies tell."""
    stated = next((page["channels"] for page in pages if "channels" in page), None)
    highest = max((_number(page.get("channel")) or 0 for page in pages), default=0)
    return max(1, _number(stated) or 0, highest + 1)


def _whole_frames(pages: list[dict[str, str]]) -> list[int]:
    """Return the pages of the frames whose channels are all there."""
    channels = _channels(pages)
    if channels == 1:
        return list(range(len(pages)))
    chosen: list[int] = []
    n = 0
    while n + channels <= len(pages):
        group = pages[n : n + channels]
        alike = len({page.get("frameNumbers") for page in group}) == 1
        if alike and [page.get("channel") for page in group] == [str(c) for c in range(channels)]:
            chosen += range(n, n + channels)
            n += channels
        else:
            n += 1
    return chosen


def _copy(movie: TiffMovie, frames: list[list[int]], pages: list[dict[str, str]], report: MovieReport) -> None:
    """Write frames, each a list of pages, to a new movie beside it, unless an earlier run has; add it to the report."""
    target = movie.path.with_name(f"{movie.path.stem}{RECOVERED}.tif")
    if target.exists():
        report.recovered = str(target)
        return
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)  # of a run that was interrupted
    own = {"frameNumbers", "frameTimestamps_sec", "t_ns", "plane", "channel"}
    facts = {key: value for key, value in pages[frames[0][0]].items() if key not in own}
    facts["recovered"] = f"the whole frames of {movie.path.name}, by {SOFTWARE}"
    writer = TiffMovieWriter(part, facts=facts)
    try:
        for order, group in enumerate(frames):
            keys = pages[group[0]]
            number, seconds = _number(keys.get("frameNumbers")), keys.get("frameTimestamps_sec", "0")
            try:
                pixels = np.concatenate([movie.frame(page) for page in group])
            except StageError as error:  # a compressed page whose bytes are damaged: the others may be whole
                report.problem = f"{report.problem}; {error.came}"
                report.frames -= 1
                continue
            rest = {key: keys[key] for key in ("t_ns", "plane") if key in keys}
            writer.append(pixels, order if number is None else number, _seconds(seconds), **rest)
    finally:
        writer.close()
    if writer.frames:
        part.replace(target)
        report.recovered = str(target)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _index_lines(indices: Mapping[str, _Index], t_ns: int) -> Iterator[dict[str, Any]]:
    for name, index in indices.items():
        for at in range(0, len(index.numbers), _INDEX_FRAMES):
            part = slice(at, at + _INDEX_FRAMES)
            times = {"frames_t_ns": index.t_ns[part], "frames_s": index.t_s[part]}
            yield {"kind": "index", "t_ns": t_ns, "name": name, "frames": index.numbers[part], **times}
