"""`tensor_series`: the torch pipelines of a series, with named errors."""

from __future__ import annotations

import torch

from deepbid_rt.card import ModelCard
from deepbid_rt.frame import StreamInfo
from deepbid_rt.runtimes.gpu.cuda_errors import cuda_failed, no_room
from deepbid_rt.runtimes.gpu.protocols import TensorDevice
from deepbid_rt.runtimes.gpu.series_pipelines import SeriesPipelines
from deepbid_rt.runtimes.gpu.tensor_pipeline import BindTensors, TensorPipeline
from deepbid_rt.scan.directions import MergeMode


def tensor_series(bind: BindTensors, card: ModelCard, device: TensorDevice) -> SeriesPipelines:
    """Return the pipelines of a series.

    Parameters
    ----------
    bind : callable
        The network, see `TensorPipeline`.
    card : ModelCard
        Of kind ``stream``.
    device : TensorDevice
        Where all pipelines run.
    """

    def make(info: StreamInfo, merge: MergeMode) -> TensorPipeline:
        try:
            return TensorPipeline(bind, card, info, device, merge)
        except torch.OutOfMemoryError as error:
            raise no_room("frames of this size") from error
        except RuntimeError as error:
            raise cuda_failed(error) from error

    return SeriesPipelines(make)
