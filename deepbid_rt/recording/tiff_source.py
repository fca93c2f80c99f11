"""A TIFF file as a source of frames, for offline denoising and replay.

Frames come in the order of the file, as fast as they are read.
"""

from __future__ import annotations

import re
from pathlib import Path

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Event, Frame, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.recording.tiff_movie import TiffMovie


class TiffSource:
    """A `FrameSource` over one TIFF file, read on demand. Frames are numbered from 0 and have no time stamps.

    Parameters
    ----------
    path : Path or str
        The file, see `TiffMovie`.
    scan : ScanGeometry
        Scan geometry; a TIFF file does not contain it.
    rate_hz : float
        Frames per second of the recording.
    channels : int
        Number of channels, which alternate as pages.
    planes : int
        Number of planes, which alternate as frames.
    loop : int
        How many times the file is played; the frame numbers continue.
    salvage : bool
        Play the whole frames of a file that is cut off or damaged, see `TiffMovie`.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        scan: ScanGeometry,
        rate_hz: float,
        channels: int = 1,
        planes: int = 1,
        loop: int = 1,
        salvage: bool = False,
    ) -> None:
        if loop < 1:
            raise StreamError(f"a file to be played {loop} times", expected="at least once", todo="use 1 or more")
        self._path = Path(path)
        self._scan, self._rate_hz, self._channels, self._planes, self._loop = scan, rate_hz, channels, planes, loop
        self._salvage = salvage
        self.problem: str | None = None
        """With `salvage`, what is wrong with the file, from `open` on; None when it is intact."""
        self._movie: TiffMovie | None = None
        self._info: StreamInfo | None = None
        self._next: int | None = None  # None until `read` has returned the StreamInfo

    @property
    def info(self) -> StreamInfo | None:
        """The description of the stream; None before `open`."""
        return self._info

    def open(self) -> None:
        """Open the file. Raises `FileError` or `StreamError` when it cannot be played."""
        self.close()
        movie = TiffMovie(self._path, self._channels, salvage=self._salvage)
        self.problem = movie.problem
        try:
            self._info = StreamInfo(
                shape=movie.shape[1:],
                dtype=movie.dtype,
                rate_hz=self._rate_hz,
                scan=self._scan,
                source=re.sub(r"[^A-Za-z0-9_-]+", "_", self._path.stem)[:64],
                planes=self._planes,
                n_expected=movie.shape[0] * self._loop,
            )
        except StreamError:
            movie.close()
            raise
        self._movie, self._next = movie, None

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event without waiting; None for ever after the `StreamEnd`, and when not open."""
        if self._movie is None or self._info is None:
            return None
        if self._next is None:
            self._next = 0
            return self._info
        index, frames = self._next, self._movie.shape[0]
        if index == frames * self._loop:
            self.close()
            return StreamEnd("done")
        self._next = index + 1
        return Frame(index=index, pixels=self._movie.frame(index % frames), plane=index % self._planes)

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._movie is not None:
            self._movie.close()
        self._movie = None
