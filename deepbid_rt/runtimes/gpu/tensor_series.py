"""Pipelines of torch's operations, one for each plane of a series, and what their refusals mean."""

from __future__ import annotations

import torch

from deepbid_rt.card import ModelCard
from deepbid_rt.frame import StreamInfo
from deepbid_rt.runtimes.gpu.device import Device
from deepbid_rt.runtimes.gpu.device_memory import cuda_failed, no_room
from deepbid_rt.runtimes.gpu.pipeline import Bind, GpuPipeline
from deepbid_rt.runtimes.gpu.series import SeriesOnDevice
from deepbid_rt.scan.directions import Merge


def tensor_series(bind: Bind, card: ModelCard, device: Device) -> SeriesOnDevice:
    """Return what makes the pipelines of a series.

    Parameters
    ----------
    bind : callable
        The network, as of `GpuPipeline`.
    card : ModelCard
        Of kind ``stream``.
    device : Device
        Where all pipelines run.
    """

    def make(info: StreamInfo, merge: Merge) -> GpuPipeline:
        try:
            return GpuPipeline(bind, card, info, device, merge)
        except torch.OutOfMemoryError as error:
            raise no_room("frames of this size") from error
        except RuntimeError as error:
            raise cuda_failed(error) from error

    return SeriesOnDevice(make)
