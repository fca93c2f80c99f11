"""How far a plan is from the ONNX file it was made of, on inputs as the denoiser makes them.

Knows nothing of TensorRT: both are engines.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import EngineError
from deepbid_rt.frame import Frame, FrameFlag, StreamInfo
from deepbid_rt.ports import Engine

Image = NDArray[np.float32]
LEAST_CORRELATION = 0.9995
"""Of a plan's answers with the ONNX file's, over all pixels."""
MOST_INPUTS = 8


class Listener:
    """An engine that answers as another does, and keeps what it was asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.card: ModelCard = engine.card
        self.description = engine.description
        self.asked: list[Image] = []

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Prepare the engine."""
        self._engine.warm_up(shape)

    def infer(self, window: Image) -> Image:
        """Keep the input and answer it."""
        self.asked.append(window.copy())
        return self._engine.infer(window)

    def close(self) -> None:
        """Leave the engine to its owner."""


def inputs_from(engine: Engine, movie: Iterable[NDArray[Any]], size: tuple[int, int]) -> list[Image]:
    """Return inputs (K, Y, X) that the denoiser gives an engine for a movie, and three that hurt.

    Parameters
    ----------
    engine : Engine
        The reference.
    movie : iterable of ndarray
        Frames (Y, X) of one type; cut or mirrored to `size`.
    size : tuple of int
        (Y, X) of the plan's input.

    Returns
    -------
    list of ndarray
        At most `MOST_INPUTS`, evenly from the movie; then a dark, a saturated and a blown-up one.
    """
    frames = [_fit(image, size) for image in movie]
    info = StreamInfo((1, *size), frames[0].dtype, 30.0)
    card = engine.card
    layouts = card.scan if "ordinary" in card.scan else (*card.scan, "ordinary")
    listener = Listener(engine)
    listener.card = dataclasses.replace(card, scan=layouts)
    denoiser = Denoiser(listener, info)
    for index, image in enumerate(frames):
        denoiser.push(Frame(index, image[None], flags=FrameFlag.NONE))
    denoiser.flush()
    asked = listener.asked
    picked = [asked[round(k)] for k in np.linspace(0, len(asked) - 1, min(MOST_INPUTS, len(asked)))]
    flat = np.ones_like(asked[-1])
    top = float(np.iinfo(frames[0].dtype).max) if frames[0].dtype.kind != "f" else 65535.0
    return [*picked, 0 * flat, 200 * flat, top * np.sign(asked[-1])]


def compare(plan: Engine, reference: Engine, inputs: list[Image]) -> dict[str, float]:
    """Give both engines the same inputs.

    Returns
    -------
    dict
        ``correlation`` over all pixels of the movie's inputs, ``relative_error``: root mean square of the difference
        over that of the reference, ``largest``: the largest difference in standard deviations of the noise.

    Raises
    ------
    EngineError
        When the plan answers values that are not finite, or its correlation is below `LEAST_CORRELATION`.
    """
    answers: list[NDArray[np.float64]] = []
    expected: list[NDArray[np.float64]] = []
    for number, given in enumerate(inputs):
        for engine, kept in ((plan, answers), (reference, expected)):
            engine.warm_up((given.shape[0], given.shape[1], given.shape[2]))
            kept.append(engine.infer(given).astype(np.float64))
        if not np.isfinite(answers[-1]).all():
            raise EngineError(
                f"the plan answers input {number + 1} of {len(inputs)} with values that are not finite",
                expected="finite numbers, also for dark and saturated frames",
                todo="build it with --precision bf16 or fp32; nothing was written",
            )
    got, truth = (np.stack(movie[:-3]).ravel() for movie in (answers, expected))
    difference = got - truth
    correlation = float(np.corrcoef(got, truth)[0, 1])
    result = {
        "correlation": correlation,
        "relative_error": float(np.sqrt(np.mean(difference**2) / np.mean(truth**2))),
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
    image = image[: size[0], : size[1]]
    while image.shape != size:
        extra = [(0, min(n - have, have)) for n, have in zip(size, image.shape, strict=True)]
        image = np.pad(image, extra, mode="symmetric")
    return image
