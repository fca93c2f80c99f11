"""The denoiser of a session's present series, and what is still to be told of those before it."""

from __future__ import annotations

from collections.abc import Callable

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.frame import StreamInfo
from deepbid_rt.ports import Engine
from deepbid_rt.scan.normalizer import Normalizer


class SeriesDenoisers:
    """Makes one denoiser after the other and keeps the newest alone: each may hold much of a GPU's memory.

    `begin` is for one thread; the properties may be read by any.

    Parameters
    ----------
    engine : Engine
        What the denoisers use.
    make : callable
        Returns the denoiser of a series.
    """

    def __init__(self, engine: Engine, make: Callable[[StreamInfo], Denoiser]) -> None:
        self._engine = engine
        self._make = make
        self._present: Denoiser | None = None
        self._past: list[list[tuple[Normalizer, ...] | None]] = []
        self.streams: tuple[StreamInfo, ...] = ()
        """What is denoised and what comes of it; none before the first series."""

    def begin(self, info: StreamInfo) -> Denoiser:
        """Let the denoiser before go, then make one for this series."""
        if self._present:
            self._past.append(self._present.normalizers)
        self._present = None
        self._present = denoiser = self._make(info)
        self.streams = (info, denoiser.info)
        return denoiser

    @property
    def runtime(self) -> str:
        """Runtime, device and precision, and who prepares the frames once that is decided."""
        present = self._present
        return present.runtime if present else self._engine.description

    @property
    def delay_frames(self) -> int | None:
        """Of the present series; None before the first."""
        present = self._present
        return present.delay if present else None

    @property
    def normalizers(self) -> list[list[tuple[Normalizer, ...] | None]]:
        """Of each series its `Denoiser.normalizers`."""
        return [*self._past, *([self._present.normalizers] if self._present else [])]
