"""A sink that records series in BigTIFF files, beside a session log."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.frame import Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.recording.motion_trace import MotionTrace
from deepbid_rt.recording.sidecar import Sidecar, series_name
from deepbid_rt.recording.tiff_writer import SOFTWARE, TiffMovieWriter


class Recorder:
    """A `Sink` that writes ``<series>_denoised.tif`` or ``<series>_raw.tif``.

    The files are readable even when the process is killed at any moment. With `roll_frames` their names are
    ``<series>_denoised_00001.tif`` and so on. The pages follow the order of the frames; the channels of a frame follow
    each other. Pixel type and counts stay as they are. Gaps, file names and motion go into the session log, which its
    owner closes after all recorders.

    Parameters
    ----------
    directory : Path or str
        Folder of the files; created if it does not exist.
    stream : {'denoised', 'raw'}
        Kind of the frames. The first page of a denoised file states that it was processed.
    sidecar : Sidecar
        The session log, shared by the recorders of a session.
    roll_frames : int
        Frames per file; 0 for a single file per series.
    software : str
        Software tag of the files.
    sync_s : float
        Seconds between two fsyncs of file and log.
    """

    def __init__(
        self,
        directory: Path | str,
        stream: Literal["denoised", "raw"],
        sidecar: Sidecar,
        *,
        roll_frames: int = 0,
        software: str = SOFTWARE,
        sync_s: float = 3.0,
    ) -> None:
        self._directory = Path(directory)
        self._stream = stream
        self._sidecar = sidecar
        self._roll_frames, self._software, self._sync_s = roll_frames, software, sync_s
        self._info: StreamInfo | None = None
        self._series = ""
        self._writer: TiffMovieWriter | None = None
        self._trace = MotionTrace(self._write_motion)
        self._paths: list[Path] = []
        self._files = 0  # of this series
        self._first: int | None = None  # numbers of the first and last frame of this series
        self._last: int | None = None
        self._frames = 0
        self._t0_ns = 0

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
        """Begin a series.

        Raises `FileError` when the folder cannot be written or already has a recording of this name, and `StreamError`
        when the name of the series cannot be a file name.
        """
        self.close()
        self.check()
        self._series = series_name(info)
        existing = sorted(self._directory.glob(f"{self._series}_{self._stream}*.tif"))
        if existing:
            raise FileError(
                f"{existing[0]} exists already",
                expected="a new name, since recordings are never overwritten",
                todo="move that file away or choose another folder",
            )
        self._sidecar.begin(info)
        self._info, self._files, self._frames, self._t0_ns = info, 0, 0, 0
        self._first = self._last = None
        self._open_next()

    def put(self, frame: Frame) -> None:
        """Record one frame.

        Raises `StreamError` when shape or type differ from the series, `StageError` when the disk refuses the frame.
        """
        info, writer = self._info, self._writer
        if info is None or writer is None:
            raise StreamError(
                f"frame {frame.index} outside a series", expected="a start before it", todo="call start first"
            )
        if (frame.pixels.shape, frame.pixels.dtype) != (info.shape, info.dtype):
            raise StreamError(
                f"frame {frame.index} of type {frame.pixels.dtype.str} and shape {frame.pixels.shape}",
                expected=f"{info.dtype.str} and (C, Y, X) = {info.shape} as the series began",
                todo="begin a new series when the frames change",
            )
        if self._roll_frames and writer.frames == self._roll_frames:
            writer.close()
            try:
                writer = self._open_next()
            except FileError as error:
                raise StageError(
                    f"frame {frame.index} has no file ({error.came})",
                    expected="room for the next file of the recording",
                    todo=f"record again; all files up to {self._paths[-1]} are complete",
                ) from error
        self._t0_ns = self._t0_ns or frame.t_ns
        t_s = (frame.t_ns - self._t0_ns) / 1e9 if frame.t_ns else frame.index / info.rate_hz
        synced = writer.append(frame.pixels, frame.index, t_s, t_ns=frame.t_ns, plane=frame.plane)
        if writer.frames == 1:
            self._paths.append(writer.path)
            self._sidecar.write("file", series=self._series, stream=self._stream, name=writer.path.name)
        self._trace.add(frame)
        if synced:
            self._sidecar.sync(self._series)
        self._first = frame.index if self._first is None else self._first
        self._last = frame.index
        self._frames += 1

    def skip(self, gap: Gap) -> None:
        """Write a gap to the session log."""
        fields = {"first": gap.first, "count": gap.count, "cause": gap.cause}
        self._sidecar.write("gap", series=self._series, stream=self._stream, **fields)

    def end(self, end: StreamEnd) -> None:
        """Close the file and write to the session log which frames were recorded."""
        self._finish(end.reason)

    def close(self) -> None:
        """Close the file, also within a series; may be called twice. Raises `StageError` when the disk refuses."""
        self._finish("closed")

    def _finish(self, reason: str) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.close()
        self._trace.flush()
        fields = {"frames": self._frames, "first": self._first, "last": self._last}
        self._sidecar.write("recorded", series=self._series, stream=self._stream, reason=reason, **fields)

    def _write_motion(self, fields: dict[str, Any]) -> None:
        self._sidecar.write("motion", series=self._series, stream=self._stream, **fields)

    def _open_next(self) -> TiffMovieWriter:
        """Open the next file of the series. Raises `FileError`."""
        info = self._info
        self._files += 1
        number = f"_{self._files:05d}" if self._roll_frames else ""
        facts: dict[str, object] = {"stream": self._stream, "series": self._series}
        if info is not None:
            facts |= {"rate_hz": info.rate_hz, "channels": info.shape[0], "planes": info.planes}
        if self._stream == "denoised":
            facts["processed"] = f"denoised by {self._software}, not raw data"
        path = self._directory / f"{self._series}_{self._stream}{number}.tif"
        self._writer = TiffMovieWriter(path, facts=facts, software=self._software, sync_s=self._sync_s)
        return self._writer
