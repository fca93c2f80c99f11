"""Temporal leakage: how much an output frame responds to a step of brightness in a later frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Frame, StreamInfo


def leakage(
    make_denoiser: Callable[[StreamInfo], Denoiser],
    info: StreamInfo,
    frames: NDArray[Any],
    step: float,
    starts: range,
    reach: int,
) -> dict[int, float]:
    """Return the response of output ``t`` to a step that begins in frame ``t + k``, for k from ``-reach`` to ``reach``.

    From one frame on, ``step`` counts are added to the middle quarter of the frame. The response is the change of the
    output there divided by the change of the input. Without leakage it is 1 for k <= 0 and 0 for k > 0.

    Parameters
    ----------
    make_denoiser : callable
        Makes a new denoiser; called once, and once more for each start.
    info : StreamInfo
        The series, with one plane. The output may have fewer lines than the input (mean of collinear views).
    frames : ndarray
        (T, C, Y, X) of the stream's type, with noise like that of real recordings.
    step : float
        Counts; must not saturate the type.
    starts : range
        Frames in which the step begins, later than the calibration frames of the engine. The response of a window
        engine depends on the place in its window: give as many starts as its hop. The mean over the starts is returned.
    reach : int
        Largest k.

    Raises
    ------
    StreamError
        When a start is closer than ``reach`` to the first or last frame.
    """
    if not starts or min(starts) < reach or max(starts) + reach >= len(frames):
        raise StreamError(
            f"steps in {starts} of {len(frames)} frames",
            expected=f"steps at least {reach} frames away from either end",
            todo="give more frames",
        )
    unchanged = _denoise(make_denoiser(info), frames)
    responses = []
    for start in starts:
        raised = frames.copy()
        _middle(raised[start:])[...] += np.asarray(step).astype(frames.dtype)
        height = float((_middle(raised)[start].astype(float) - _middle(frames)[start]).mean())
        change = (_middle(_denoise(make_denoiser(info), raised)) - _middle(unchanged)).mean((1, 2, 3)) / height
        responses.append([change[start - k] for k in range(-reach, reach + 1)])
    return dict(zip(range(-reach, reach + 1), np.mean(responses, 0).tolist(), strict=True))


def _denoise(denoiser: Denoiser, frames: NDArray[Any]) -> NDArray[np.float64]:
    denoised = [frame for i, pixels in enumerate(frames) for frame in denoiser.push(Frame(i, pixels))]
    return np.stack([frame.pixels.astype(np.float64) for frame in denoised + denoiser.flush()])


def _middle(movie: NDArray[Any]) -> NDArray[Any]:
    lines, pixels = movie.shape[2:]
    return movie[:, :, lines // 4 : lines - lines // 4, pixels // 4 : pixels - pixels // 4]
