"""`SeriesPipelines`: one pipeline for each plane of a series, kept while series of the same kind follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from deepbid_rt.denoising.device import FramePipeline
from deepbid_rt.frame import StreamInfo
from deepbid_rt.scan.directions import MergeMode


class ClosablePipeline(FramePipeline, Protocol):
    """A pipeline that holds memory."""

    def close(self) -> None:
        """Free the memory; nothing else may be called afterwards."""
        ...


MakePipeline = Callable[[StreamInfo, MergeMode], ClosablePipeline]
"""Returns a pipeline for one plane of a series.

Raises `EngineError` when the device has no room for it or refuses it, `StageError` when the device fails."""


class SeriesPipelines:
    """Makes the pipelines of a series, and makes new ones when a series of another kind comes.

    Parameters
    ----------
    make : callable
        Makes one pipeline.
    """

    def __init__(self, make: MakePipeline) -> None:
        self._make = make
        self._kind: Any = None
        self._pipelines: list[ClosablePipeline] = []

    def open(self, info: StreamInfo, merge: MergeMode) -> Sequence[FramePipeline]:
        """Return one pipeline for each plane. Raises what `MakePipeline` raises."""
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
        """Close all pipelines; may be called twice."""
        for pipeline in self._pipelines:
            pipeline.close()
        self._pipelines = []
        self._kind = None
