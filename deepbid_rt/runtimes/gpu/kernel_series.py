"""Pipelines of our own kernels, one for each plane of a series; the first of each kind is checked against numpy."""

from __future__ import annotations

from typing import Any

from deepbid_rt.card import ModelCard
from deepbid_rt.errors import StageError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.runtimes.gpu import kernels
from deepbid_rt.runtimes.gpu.device_memory import DeviceMemory, cuda_refused
from deepbid_rt.runtimes.gpu.kernel_check import check
from deepbid_rt.runtimes.gpu.kernel_pipeline import BindPasses, KernelPipeline
from deepbid_rt.runtimes.gpu.series import SeriesOnDevice
from deepbid_rt.scan.directions import Merge


def kernel_series(bind: BindPasses, card: ModelCard, memory: DeviceMemory) -> SeriesOnDevice:
    """Return what makes the pipelines of a series.

    Parameters
    ----------
    bind : callable
        The network, as of `KernelPipeline`.
    card : ModelCard
        Of kind ``stream``.
    memory : DeviceMemory
        Where all pipelines run; gives the kernels back when it is closed.

    Raises
    ------
    EngineError
        When the device does not take the kernels. Making a pipeline raises it when there is no room, and when kernels
        fail or answer otherwise than numpy.
    """
    program = memory.program(kernels.program())
    checked: list[Any] = []

    def make(info: StreamInfo, merge: Merge) -> KernelPipeline:
        kind = info.shape, info.dtype.str, info.scan, merge
        try:
            pipeline = KernelPipeline(bind, card, info, memory, program, merge)
            if kind not in checked:
                _check(pipeline)
                checked.append(kind)
        except StageError as error:
            raise cuda_refused("the preparation of frames", error.__cause__ or error) from error
        return pipeline

    return SeriesOnDevice(make)


def _check(pipeline: KernelPipeline) -> None:
    try:
        check(pipeline)
    except BaseException:
        pipeline.close()
        raise
