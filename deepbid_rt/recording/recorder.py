"""A sink that records series in BigTIFF files, beside a session log."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from pathlib import Path
from typing import Any

from deepbid_rt.errors import DeepbidError, FileError, StageError, StreamError
from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.recording.acquisition_facts import page_facts
from deepbid_rt.recording.disk_room import DiskRoom
from deepbid_rt.recording.disk_sync import SYNC_S
from deepbid_rt.recording.frame_clock import FrameClock
from deepbid_rt.recording.motion_trace import MotionTrace
from deepbid_rt.recording.recording_name import RecordingName, Stream
from deepbid_rt.recording.sidecar import Sidecar
from deepbid_rt.recording.tiff_pages import last_frame_number
from deepbid_rt.recording.tiff_writer import SOFTWARE, TiffMovieWriter

log = logging.getLogger(__name__)


class Recorder:
    """A `Sink` that writes ``<date>_<time>_<name>_<series>_raw.tif`` or ``..._denoised.tif``, see `RecordingName`.

    The files are readable even when the process is killed at any moment. Nothing is ever overwritten: when the folder
    already has a recording of the series, or after a failure, a new part begins, ``..._raw_part002.tif``. With
    `roll_frames` the names end in ``_00001.tif`` and so on. The pages follow the order of the frames; the channels of a
    frame follow each other. Pixel type and counts stay as they are, and pixel size and channel names that the sender
    states are on the first page. The times of the pages are the acquisition's own where frames have it, see
    `FrameClock`. Gaps, file names and motion go into the session log, which its owner closes after all recorders.

    After `start`, `put` or `end` has raised, the file is closed with all frames before; `start` may be called again,
    also for the same series.

    Parameters
    ----------
    directory : Path or str
        Folder of the files; created if it does not exist, also after it has vanished.
    stream : {'denoised', 'raw'}
        Kind of the frames. The first page of a denoised file states that it was processed.
    sidecar : Sidecar
        The session log, shared by the recorders of a session.
    roll_frames : int
        Frames per file; 0 for a single file per series.
    software : str
        Software tag of the files.
    sync_s : float
        Seconds between two fsyncs of file and log; 0 for an fsync after each frame.
    room : DiskRoom, optional
        Stops the recording before the disk is full.
    """

    def __init__(
        self,
        directory: Path | str,
        stream: Stream,
        sidecar: Sidecar,
        *,
        roll_frames: int = 0,
        software: str = SOFTWARE,
        sync_s: float = SYNC_S,
        room: DiskRoom | None = None,
    ) -> None:
        self.stream = stream
        self.frames = 0
        """Frames recorded so far, of all series."""
        self._directory = Path(directory)
        self._sidecar = sidecar
        self._roll_frames, self._software, self._sync_s = roll_frames, software, sync_s
        self._room = room
        self._info: StreamInfo | None = None  # None between series, and after a failure
        self._series = ""
        self._name = RecordingName(self._directory, "")
        self._writer: TiffMovieWriter | None = None  # None until the first frame of a part
        self._trace = MotionTrace(self._write_motion)
        self._paths: list[Path] = []
        self._part = self._number = 0
        self._least_part = 1
        self._first: int | None = None  # numbers of the first and last frame of this part
        self._last: int | None = None
        self._part_frames = 0
        self._before: int | None = None  # last frame of the parts before this one
        self._broke = ""  # why the part before this one ended
        self._clock = FrameClock(1.0)  # of the series

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files with at least one frame, of all series, in the order of writing."""
        return tuple(self._paths)

    def check(self) -> None:
        """Create the folder and test whether it can be written. Raises `FileError` when it cannot."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._directory) as file:
                file.write(b"\0")
        except OSError as error:
            raise FileError(
                f"no recording can be written to {self._directory} ({error.strerror or error})",
                expected="a folder that exists or can be created, and that can be written",
                todo="choose another folder or change its permissions",
            ) from error

    def start(self, info: StreamInfo) -> None:
        """Begin a series, or go on with it in a new part.

        Raises
        ------
        FileError
            When the folder cannot be written, or there is no room.
        StreamError
            When the name of the series cannot be a file name.
        """
        if self._info is not None:  # the series before it was not ended
            try:
                self.close()
            except StageError as error:  # what is lost was counted when it was put; the new series must begin
                log.warning("%s", error)
        if self._room:
            self._room.require()
        self.check()
        series = self._sidecar.begin(info)
        if series != self._series:
            self._series, self._name, self._clock = series, self._sidecar.name(series), FrameClock(info.rate_hz)
            self._broke = "a recording of this series was there already"
            self._before, self._part, self._least_part = self._last_on_disk(), 0, 1
        elif self._last is not None:
            self._before = self._last
        # A name is not used twice, even if its file was deleted meanwhile.
        self._least_part = max(self._least_part, self._part + 1)
        self._part = self._number = self._part_frames = 0
        self._first = self._last = None
        self._info = info

    def put(self, frame: Frame) -> None:
        """Record one frame.

        Raises `StreamError` when shape or type differ from the series, `StageError` when the disk refuses the frame.
        """
        info = self._info
        if info is None:
            raise StreamError(
                f"frame {frame.index} outside a series", expected="a start before it", todo="call start first"
            )
        if (frame.pixels.shape, frame.pixels.dtype) != (info.shape, info.dtype):
            raise StreamError(
                f"frame {frame.index} of type {frame.pixels.dtype.str} and shape {frame.pixels.shape}",
                expected=f"{info.dtype.str} and (C, Y, X) = {info.shape} as the series began",
                todo="begin a new series when the frames change",
            )
        try:
            if self._room:
                self._room.require()
            t_s = self._clock.time_s(frame)  # decides the clock, which the first page states
            writer = self._writer_for_next_frame(info)
            writer.append(frame.pixels, frame.index, t_s, t_ns=frame.t_ns, plane=frame.plane)
        except FileError as error:
            self._break_off(error)
            raise StageError(
                f"frame {frame.index} has no file ({error.came})", expected=error.expected, todo=error.todo
            ) from error
        except BaseException as error:
            self._break_off(error)
            raise
        self.frames += 1
        if writer.frames == 1:
            self._begin_file(writer.path, frame.index)
        self._trace.add(frame)
        self._first = frame.index if self._first is None else self._first
        self._last = frame.index
        self._part_frames += 1

    def skip(self, gap: Gap) -> None:
        """Write a gap to the session log."""
        fields = {"first": gap.first, "count": gap.count, "cause": gap.cause}
        self._sidecar.write("gap", series=self._series or None, stream=self.stream, **fields)

    def end(self, end: StreamEnd) -> None:
        """Close the file and write to the session log which frames were recorded.

        Raises `StageError` when the disk refuses.
        """
        self._finish(end.reason)

    def close(self) -> None:
        """Close the file, also within a series; may be called twice. Raises `StageError` when the disk refuses."""
        self._finish("closed")

    def _finish(self, reason: str) -> None:
        if self._info is None:
            return
        self._info = None
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()
        except StageError as error:
            reason = str(error)
            raise
        finally:
            self._broke = reason
            self._write_recorded(reason)

    def _break_off(self, error: BaseException) -> None:
        """End the part after a failure; the frames before are in its files."""
        self._info = None
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except DeepbidError as second:  # the first error is the one to report
                log.warning("%s", second)
        self._broke = str(error) or type(error).__name__
        if self._part_frames:
            self._write_recorded(self._broke)

    def _write_recorded(self, reason: str) -> None:
        self._trace.flush()
        fields = {"frames": self._part_frames, "first": self._first, "last": self._last}
        self._sidecar.write("recorded", series=self._series, stream=self.stream, reason=reason, **fields)

    def _write_motion(self, fields: dict[str, Any]) -> None:
        self._sidecar.write("motion", series=self._series, stream=self.stream, **fields)

    def _begin_file(self, path: Path, first: int) -> None:
        """Write to the log that a file begins; for the first file of a later part also which frames are missing."""
        self._paths.append(path)
        self._sidecar.write("file", series=self._series, stream=self.stream, name=path.name)
        if self._part_frames or (self._part == 1 and self._before is None):
            return
        missing = None if self._before is None else max(0, first - self._before - 1)
        fields = {"part": self._part, "last": self._before, "first": first, "missing": missing, "reason": self._broke}
        self._sidecar.write("recording_part", series=self._series, stream=self.stream, **fields)

    def _writer_for_next_frame(self, info: StreamInfo) -> TiffMovieWriter:
        """Return the open file with room for a frame. Raises `FileError` and `StageError`."""
        writer = self._writer
        if writer is not None and self._roll_frames and writer.frames == self._roll_frames:
            self._writer = None
            writer.close()
            writer = None
        if writer is None:
            self._writer = writer = self._open_next(info)
        return writer

    def _open_next(self, info: StreamInfo) -> TiffMovieWriter:
        """Open the next file. The first of a part gets a number that no file in the folder has."""
        facts: dict[str, object] = {"stream": self.stream, "series": self._series, "rate_hz": info.rate_hz}
        facts |= {"channels": info.shape[0], "planes": info.planes, **page_facts(info), "clock": self._clock.clock}
        if self.stream == "denoised":
            facts["processed"] = f"denoised by {self._software}, not raw data"
        with contextlib.suppress(OSError):  # the folder may have vanished; if it cannot be made, no file can
            self._directory.mkdir(parents=True, exist_ok=True)
        while True:
            self._number += 1
            part = self._part or max(self._least_part, self._next_part())
            path = self._name.movie(self.stream, part, self._number if self._roll_frames else None)
            try:
                writer = TiffMovieWriter(
                    path, facts=facts, software=self._software, sync_s=self._sync_s, also_sync=self._sync_log
                )
            except FileError as error:
                if not isinstance(error.__cause__, FileExistsError):
                    raise
                self._part, self._number, self._least_part = (
                    0,
                    0,
                    part + 1,
                )  # the file of another program: go on beside it
            else:
                self._part = part
                return writer

    def _next_part(self) -> int:
        try:
            return self._name.next_part(self.stream)
        except OSError as error:
            raise FileError(
                f"no recording can be written to {self._directory} ({error.strerror or error})",
                expected="a folder that can be read and written",
                todo="check the path and its permissions",
            ) from error

    def _last_on_disk(self) -> int | None:
        """Return the number of the last frame in the recordings of this series that are there; None if unknown."""
        try:
            movies = self._name.movies(self.stream)
            return last_frame_number(movies[-1]) if movies else None
        except OSError:  # only a number in the log depends on it
            return None

    def _sync_log(self) -> None:
        self._sidecar.sync(self._series)
