"""How much of the future a denoiser lets into the present: its answer to a step in a later frame.

Works on anything that makes a `Denoiser`. Knows no file and no network.
"""

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

    The middle quarter of the picture is raised by ``step`` counts from a frame on; the response is the change of the
    output there, over that of the input. It is 1 for k <= 0 and 0 for k > 0 if nothing leaks.

    Parameters
    ----------
    make_denoiser : callable
        Makes a fresh denoiser; called once more than there are starts.
    info : StreamInfo
        The series; one plane. Scores of a denoiser whose output is reduced (collinear mean) count as well.
    frames : ndarray
        (T, C, Y, X) of the stream's type, with noise as real recordings have.
    step : float
        Counts; must not saturate the type.
    starts : range
        Frames in which the step begins, later than the frames that calibrate the engine. A window engine's response
        depends on the place in its window: give a whole hop of starts. The mean over starts is returned.
    reach : int
        Largest k.

    Raises
    ------
    StreamError
        When a start is nearer than ``reach`` to an end of the frames.
    """
    if not starts or min(starts) < reach or max(starts) + reach >= len(frames):
        raise StreamError(
            f"steps in {starts} of {len(frames)} frames",
            expected=f"steps at least {reach} frames away from either end",
            todo="give more frames",
        )
    before = _answer(make_denoiser(info), frames)
    responses = []
    for start in starts:
        raised = frames.copy()
        _middle(raised[start:])[...] += np.asarray(step).astype(frames.dtype)
        height = float((_middle(raised)[start].astype(float) - _middle(frames)[start]).mean())
        change = (_middle(_answer(make_denoiser(info), raised)) - _middle(before)).mean((1, 2, 3)) / height
        responses.append([change[start - k] for k in range(-reach, reach + 1)])
    return dict(zip(range(-reach, reach + 1), np.mean(responses, 0).tolist(), strict=True))


def _answer(denoiser: Denoiser, frames: NDArray[Any]) -> NDArray[np.float64]:
    done = [answer for i, pixels in enumerate(frames) for answer in denoiser.push(Frame(i, pixels))]
    return np.stack([frame.pixels.astype(np.float64) for frame in done + denoiser.flush()])


def _middle(movie: NDArray[Any]) -> NDArray[Any]:
    lines, pixels = movie.shape[2:]
    return movie[:, :, lines // 4 : lines - lines // 4, pixels // 4 : pixels - pixels // 4]
