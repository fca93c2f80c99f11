"""The pipelines of one series: one for each plane, on one device, kept while series of the same kind follow.

Needs torch, which owns the tensors. Knows nothing of what computes the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from deepbid_rt.card import ModelCard
from deepbid_rt.frame import StreamInfo
from deepbid_rt.runtimes.gpu.device import Device
from deepbid_rt.runtimes.gpu.memory import cuda_failed, no_room
from deepbid_rt.runtimes.gpu.pipeline import Bind, GpuPipeline
from deepbid_rt.scan import Merge


class SeriesOnDevice:
    """Makes pipelines, and makes others when a series of another kind comes.

    Parameters
    ----------
    bind : callable
        The network, as of `GpuPipeline`.
    card : ModelCard
        Of kind ``stream``.
    device : Device
        Where all pipelines run.
    """

    def __init__(self, bind: Bind, card: ModelCard, device: Device) -> None:
        self._bind = bind
        self._card = card
        self._device = device
        self._kind: Any = None
        self._pipelines: list[GpuPipeline] = []

    def open(self, info: StreamInfo, merge: Merge) -> Sequence[GpuPipeline]:
        """Return one pipeline for each plane.

        Raises
        ------
        EngineError
            When the device has no room for them.
        StageError
            When the device fails.
        """
        kind = info.shape, info.dtype.str, info.scan, info.planes, merge
        if kind != self._kind:
            self.close()
            try:
                for _ in range(info.planes):
                    self._pipelines.append(GpuPipeline(self._bind, self._card, info, self._device, merge))
            except torch.OutOfMemoryError as error:
                self.close()
                raise no_room("frames of this size") from error
            except RuntimeError as error:
                raise cuda_failed(error) from error
            self._kind = kind
        return self._pipelines

    def close(self) -> None:
        """Release all memory; may be called twice."""
        for pipeline in self._pipelines:
            pipeline.close()
        self._pipelines = []
        self._kind = None
