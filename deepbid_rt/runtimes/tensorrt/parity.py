"""Compares the answers of two engines, a plan and the ONNX file it was built from, on inputs made by the denoiser."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.denoising.input_recorder import InputRecorder
from deepbid_rt.errors import EngineError
from deepbid_rt.frame import Frame, FrameFlag, Image, StreamInfo
from deepbid_rt.ports import Engine

LEAST_CORRELATION = 0.9995
"""Least correlation of a plan's answers with those of the ONNX file, over all pixels."""
MOST_INPUTS = 8
"""Inputs from the movie that are compared."""


def inputs_from(engine: Engine, movie: Iterable[NDArray[Any]], size: tuple[int, int]) -> list[Image]:
    """Return inputs (K, Y, X) that the denoiser gives an engine for a movie, and three extreme ones.

    Parameters
    ----------
    engine : Engine
        The reference engine.
    movie : iterable of ndarray
        Frames (Y, X) of one type; cropped, or mirrored at the edges, to `size`.
    size : tuple of int
        (Y, X) of the plan's input.

    Returns
    -------
    list of ndarray
        At most `MOST_INPUTS`, evenly spaced over the movie; then all 0, all 200, and the largest values of the pixel
        type with the signs of the last input.
    """
    frames = [_fit(image, size) for image in movie]
    info = StreamInfo((1, *size), frames[0].dtype, 30.0)
    card = engine.card
    layouts = card.scan if "ordinary" in card.scan else (*card.scan, "ordinary")
    recorder = InputRecorder(dataclasses.replace(card, scan=layouts), engine)
    denoiser = Denoiser(recorder, info)
    for index, image in enumerate(frames):
        denoiser.push(Frame(index, image[None], flags=FrameFlag.NONE))
    denoiser.flush()
    inputs = recorder.inputs
    picked = [inputs[round(k)] for k in np.linspace(0, len(inputs) - 1, min(MOST_INPUTS, len(inputs)))]
    flat = np.ones_like(inputs[-1])
    top = float(np.iinfo(frames[0].dtype).max) if frames[0].dtype.kind != "f" else 65535.0
    return [*picked, 0 * flat, 200 * flat, top * np.sign(inputs[-1])]


def compare_engines(plan: Engine, reference: Engine, inputs: list[Image]) -> dict[str, float]:
    """Give both engines the same inputs.

    Returns
    -------
    dict
        Over all pixels of the inputs from the movie: ``correlation``; ``relative_error``, the root mean square of the
        difference over that of the reference; ``largest``, the largest difference in standard deviations of the noise.

    Raises
    ------
    EngineError
        When the plan answers values that are not finite, or its correlation is below `LEAST_CORRELATION`.
    """
    answers: list[NDArray[np.float64]] = []
    expected: list[NDArray[np.float64]] = []
    for number, window in enumerate(inputs):
        for engine, kept in ((plan, answers), (reference, expected)):
            engine.warm_up((window.shape[0], window.shape[1], window.shape[2]))
            kept.append(engine.infer(window).astype(np.float64))
        if not np.isfinite(answers[-1]).all():
            raise EngineError(
                f"the plan answers input {number + 1} of {len(inputs)} with values that are not finite",
                expected="finite numbers, also for dark and saturated frames",
                todo="build it with --precision bf16 or fp32; nothing was written",
            )
    got, wanted = (np.stack(movie[:-3]).ravel() for movie in (answers, expected))
    difference = got - wanted
    correlation = float(np.corrcoef(got, wanted)[0, 1])
    result = {
        "correlation": correlation,
        "relative_error": float(np.sqrt(np.mean(difference**2) / np.mean(wanted**2))),
        "largest": float(np.abs(difference).max()),
        "inputs": float(len(inputs)),
    }
    if not correlation >= LEAST_CORRELATION:
        raise EngineError(
            f"the plan's answers correlate with those of the ONNX file by {correlation:.5f}",
            expected=f"at least {LEAST_CORRELATION}",
            todo="build it with --precision bf16 or fp32; nothing was written",
        )
    return result


def _fit(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Crop an image to `size`, or mirror it at its edges until it has that size."""
    image = image[: size[0], : size[1]]
    while image.shape != size:
        extra = [(0, min(n - have, have)) for n, have in zip(size, image.shape, strict=True)]
        image = np.pad(image, extra, mode="symmetric")
    return image
