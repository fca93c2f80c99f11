"""`kernel_series`: the kernel pipelines of a series; the first pipeline of each kind is checked against numpy."""

from __future__ import annotations

from typing import Any

from deepbid_rt.card import ModelCard
from deepbid_rt.errors import StageError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.runtimes.gpu import kernels
from deepbid_rt.runtimes.gpu.cuda_errors import cuda_refused
from deepbid_rt.runtimes.gpu.kernel_check import check
from deepbid_rt.runtimes.gpu.kernel_pipeline import BindBuffers, KernelPipeline
from deepbid_rt.runtimes.gpu.protocols import DeviceMemory
from deepbid_rt.runtimes.gpu.series_pipelines import SeriesPipelines
from deepbid_rt.scan.directions import MergeMode


def kernel_series(bind: BindBuffers, card: ModelCard, memory: DeviceMemory) -> SeriesPipelines:
    """Return the pipelines of a series.

    Parameters
    ----------
    bind : callable
        The network, see `KernelPipeline`.
    card : ModelCard
        Of kind ``stream``.
    memory : DeviceMemory
        Where all pipelines run; closing it unloads the kernels.

    Raises
    ------
    EngineError
        When the driver refuses the kernels. Making a pipeline raises it when there is no room, and when kernels fail
        or their results differ from numpy's.
    """
    program = memory.program(kernels.program())
    checked: list[Any] = []

    def make(info: StreamInfo, merge: MergeMode) -> KernelPipeline:
        kind = info.shape, info.dtype.str, info.scan, merge
        try:
            pipeline = KernelPipeline(bind, card, info, memory, program, merge)
            if kind not in checked:
                _check(pipeline)
                checked.append(kind)
        except StageError as error:
            raise cuda_refused("the preparation of frames", error.__cause__ or error) from error
        return pipeline

    return SeriesPipelines(make)


def _check(pipeline: KernelPipeline) -> None:
    try:
        check(pipeline)
    except BaseException:
        pipeline.close()
        raise
