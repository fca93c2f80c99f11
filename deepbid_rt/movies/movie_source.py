"""A recording as a source of frames, for offline denoising and replay.

Frames come in the order of scanning, as fast as they are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Event, Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.movies.movie_facts import DEFAULT_RATE_HZ, MovieFacts
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.open_movie import open_movie_file
from deepbid_rt.movies.wanted import Wanted
from deepbid_rt.recording.acquisition_facts import user_facts


class MovieSource:
    """A `FrameSource` over one recording of any format, read on demand.

    Parameters
    ----------
    path : Path or str
        File, folder, or pattern with ``*``, see `open_movie_file`.
    wanted : Wanted, optional
        What the user says about it.
    scan : ScanGeometry
        Scan geometry as the user describes it; the recording's own facts are added, see `scan_of`.
    rate_hz : float, optional
        Frames per second over all planes; None: as the recording says, else 30.
    loop : int
        How many times it is played; the frame numbers continue.
    own_numbers : bool
        Number the frames as the recording does, with a `Gap` where it lacks some. Else from 0 without gaps.

    Frames have the times of the recording as `Frame.acquired_s`, and `StreamInfo.user` its pixel size and names of
    channels, where the recording has them.
    """

    def __init__(
        self,
        path: Path | str,
        wanted: Wanted | None = None,
        *,
        scan: ScanGeometry,
        rate_hz: float | None = None,
        loop: int = 1,
        own_numbers: bool = False,
    ) -> None:
        if loop < 1:
            raise StreamError(f"a file to be played {loop} times", expected="at least once", todo="use 1 or more")
        self._path, self._wanted = Path(path), wanted
        self._scan, self._rate_hz, self._loop, self._own_numbers = scan, rate_hz, loop, own_numbers
        self.movie: MovieFile | None = None
        """The open recording; None before `open` and after the end."""
        self.problem: str | None = None
        """With `Wanted.salvage`, what is wrong with the file, from `open` on; None when it is intact."""
        self.facts: MovieFacts | None = None
        """What the recording says about itself, from `open` on."""
        self._info: StreamInfo | None = None
        self._events: Iterator[Event] = iter(())

    @property
    def info(self) -> StreamInfo | None:
        """The description of the stream; None before `open`."""
        return self._info

    def open(self) -> None:
        """Open the recording. Raises `FileError` or `StreamError` when it cannot be played."""
        self.close()
        movie = open_movie_file(self._path, self._wanted)
        facts, channels = movie.facts, movie.shape[1]
        try:
            self._info = StreamInfo(
                shape=movie.shape[1:],
                dtype=movie.dtype,
                rate_hz=facts.assumed_rate_hz(self._rate_hz),
                scan=scan_of(facts, self._scan),
                source=re.sub(r"[^A-Za-z0-9_-]+", "_", self._path.stem)[:64] or "movie",
                planes=facts.planes,
                n_expected=movie.shape[0] * self._loop,
                user=user_facts(facts.pixel_um, facts.channel_names if len(facts.channel_names) == channels else ()),
            )
        except StreamError:
            movie.close()
            raise
        self.movie, self.facts, self.problem = movie, facts, movie.problem
        self._events = self._play(movie, self._info)

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event without waiting; None for ever after the `StreamEnd`, and when not open."""
        return next(self._events, None)

    def _play(self, movie: MovieFile, info: StreamInfo) -> Iterator[Event]:
        yield info
        frames = movie.shape[0]
        numbers = self._numbers(movie)
        expected = int(numbers[0])
        step = int(numbers[-1]) - int(numbers[0]) + 1
        times_s = (
            movie.facts.times_s if movie.facts.times_s is not None and len(movie.facts.times_s) == frames else None
        )
        length_s = 0.0 if times_s is None else float(times_s[-1] - times_s[0]) + 1 / info.rate_hz
        for turn in range(self._loop):
            for i in range(frames):
                number = int(numbers[i]) + turn * step
                if number > expected:
                    yield Gap(expected, number - expected, "source")
                acquired_s = None if times_s is None else float(times_s[i]) + turn * length_s
                yield Frame(number, movie.frame(i), plane=i % info.planes, acquired_s=acquired_s)
                expected = number + 1
        self.close()
        yield StreamEnd("done")

    def _numbers(self, movie: MovieFile) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        frames, own = movie.shape[0], movie.facts.numbers
        # Numbers of a volume with fly-back frames jump; only a single plane counts what is missing.
        if self._own_numbers and own is not None and len(own) == frames and movie.facts.planes == 1:
            own = np.asarray(own, np.int64)
            if own[0] >= 0 and bool(np.all(np.diff(own) > 0)) and int(own[-1] - own[0]) < 100 * frames:
                return own
        return np.arange(frames, dtype=np.int64)

    def stamp(self, i: int) -> tuple[int, float]:
        """Return number and time, seconds, of frame `i` as the recording says, else as its place and rate say."""
        facts, rate_hz = self.facts, DEFAULT_RATE_HZ if self._info is None else self._info.rate_hz
        known = (None, None) if facts is None else (facts.numbers, facts.times_s)
        numbers, times_s = (one if one is not None and i < len(one) else None for one in known)
        # Numbers that count fly-back frames too would look like losses in a file that has none.
        number = i if numbers is None or facts is None or facts.planes > 1 else int(numbers[i])
        return number, i / rate_hz if times_s is None else float(times_s[i])

    def close(self) -> None:
        """Close the recording; may be called twice."""
        self._events = iter(())
        if self.movie is not None:
            self.movie.close()
        self.movie = None


def scan_of(facts: MovieFacts, given: ScanGeometry) -> ScanGeometry:
    """Return the scan geometry that the user describes, completed by what a recording says.

    A recording knows whether lines were scanned in both directions and whether backward lines are in image order; the
    user knows the layout. What the user says to be unidirectional or unmirrored is.

    Raises
    ------
    StreamError
        When a collinear scan is asked for, and the recording says that it was scanned in one direction.
    """
    if facts.bidirectional is False and given.layout == "collinear":
        raise StreamError(
            f"a {facts.format} recording whose lines were scanned in one direction, to be read as collinear",
            expected="forward and backward lines of the same tissue",
            todo="leave --scan collinear out",
        )
    return replace(
        given,
        bidirectional=given.bidirectional and facts.bidirectional is not False,
        mirrored=given.mirrored and facts.mirrored,
        extra={**{key: value for key, value in facts.extra.items() if key != "layout"}, **given.extra},
    )
