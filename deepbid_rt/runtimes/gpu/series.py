"""The pipelines of one series: one for each plane, on one device, kept while series of the same kind follow.

Knows nothing of what a pipeline is made of, nor of what computes the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from deepbid_rt.denoising.device import FramePipeline
from deepbid_rt.frame import StreamInfo
from deepbid_rt.scan.directions import Merge


class DevicePipeline(FramePipeline, Protocol):
    """A pipeline that holds memory."""

    def close(self) -> None:
        """Let go of it; nothing else may be called afterwards."""
        ...


Make = Callable[[StreamInfo, Merge], DevicePipeline]
"""Returns a pipeline for one plane of a series.

Raises `EngineError` when the device has no room for it, or is refused; `StageError` when the device fails."""


class SeriesOnDevice:
    """Makes pipelines, and makes others when a series of another kind comes.

    Parameters
    ----------
    make : callable
        Makes one.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._kind: Any = None
        self._pipelines: list[DevicePipeline] = []

    def open(self, info: StreamInfo, merge: Merge) -> Sequence[FramePipeline]:
        """Return one pipeline for each plane. Raises what making one raises."""
        kind = info.shape, info.dtype.str, info.scan, info.planes, merge
        if kind != self._kind:
            self.close()
            try:
                for _ in range(info.planes):
                    self._pipelines.append(self._make(info, merge))
            except BaseException:
                self.close()
                raise
            self._kind = kind
        return self._pipelines

    def close(self) -> None:
        """Release all memory; may be called twice."""
        for pipeline in self._pipelines:
            pipeline.close()
        self._pipelines = []
        self._kind = None
