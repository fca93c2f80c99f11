"""Random sample of the inputs that a stream engine gets for a recording, computed without running its network.

The recording goes through the `Denoiser` of the live path, so the inputs are the same as in use.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.denoising.input_recorder import InputRecorder
from deepbid_rt.denoising.offline import denoise
from deepbid_rt.ports import FrameSource


def sampled_inputs(card: ModelCard, source: FrameSource, count: int) -> list[NDArray[np.float32]]:
    """Return a random sample of the inputs for a recording.

    Parameters
    ----------
    card : ModelCard
        Card of an engine of kind stream.
    source : FrameSource
        Open; its first series is read to the end.
    count : int
        Number of inputs; fewer are returned if the recording has fewer.

    Returns
    -------
    list of ndarray
        (K, Y, X) float32. Each input of the recording has the same probability; the sample is the same every time.

    Raises
    ------
    StreamError
        When the source does not begin with a series.
    EngineError
        When the engine cannot take this recording.
    """
    recorder = InputRecorder(card, count=count)
    _, frames = denoise(source, lambda info: Denoiser(recorder, info))
    for _ in frames:
        pass
    return recorder.inputs
