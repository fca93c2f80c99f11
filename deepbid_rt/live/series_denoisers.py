"""The denoisers of a session: one per series, of which only the newest is kept."""

from __future__ import annotations

from collections.abc import Callable

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.frame import StreamInfo
from deepbid_rt.ports import Engine
from deepbid_rt.scan.normalizer import Normalizer


class SeriesDenoisers:
    """Makes the denoiser of each series and releases the one before, which may hold much of a GPU's memory.

    `begin` is for one thread; any thread may read the properties.

    Parameters
    ----------
    engine : Engine
        The engine that the denoisers use.
    make : callable
        Returns the denoiser of a series.
    """

    def __init__(self, engine: Engine, make: Callable[[StreamInfo], Denoiser]) -> None:
        self._engine = engine
        self._make = make
        self._current: Denoiser | None = None
        self._earlier_normalizers: list[list[tuple[Normalizer, ...] | None]] = []
        self.streams: tuple[StreamInfo, ...] = ()
        """The raw and the denoised stream of the current series; empty before the first series."""

    def use(self, engine: Engine) -> None:
        """Report another engine from now on: the one before has failed."""
        self._engine = engine

    def begin(self, info: StreamInfo) -> Denoiser:
        """Release the denoiser of the series before, then make and return the one of this series."""
        if self._current:
            self._earlier_normalizers.append(self._current.normalizers)
        self._current = None  # released before the next one takes memory
        self._current = denoiser = self._make(info)
        self.streams = (info, denoiser.info)
        return denoiser

    @property
    def runtime(self) -> str:
        """Runtime, device and precision; once a series has begun, also where frames are prepared."""
        current = self._current
        return current.runtime if current else self._engine.description

    @property
    def delay_frames(self) -> int | None:
        """Delay of the current series, see `Denoiser.delay`; None before the first."""
        current = self._current
        return current.delay if current else None

    @property
    def normalizers(self) -> list[list[tuple[Normalizer, ...] | None]]:
        """The `Denoiser.normalizers` of each series so far."""
        return [*self._earlier_normalizers, *([self._current.normalizers] if self._current else [])]
