"""An engine file with 8-bit convolutions: half the time where the processor has no matrix unit, a quarter the size.

Knows nothing of recordings or checkpoints; it reads an exported file and writes another.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import nncf
import numpy as np
import onnx
from numpy.typing import NDArray

from deepbid_rt.card import METADATA_KEY, ModelCard
from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.openvino_core import core
from deepbid_rt.train.export import written_whole

LARGEST_DIFFERENCE = 0.15
"""Root mean square difference between the answers of both files that is accepted, in standard deviations of noise."""
_LEAST_INPUTS = 16
_INSIDE = re.compile(r"(encoders|decoders|ups)\.")
"""Begins the names of the weights of the U-Net, which decides how view and memories are averaged."""


def quantize(source: Path, out_path: Path, inputs: Sequence[NDArray[np.float32]]) -> float:
    """Write a stream engine again, with weights and activations of 8 bits inside.

    What is averaged stays in floating point, from the input to the answer: 256 values do not span a view. The U-Net
    beside it, which decides how it is averaged and takes most of the time, need not be as exact.

    Parameters
    ----------
    source : Path
        An engine file of kind stream, as `deepbid_rt.train.export.export` writes it.
    out_path : Path
        The file to write, whole or not at all.
    inputs : sequence of ndarray
        (K, Y, X) float32, at least 16: what the engine is given in use. The ranges of all activations are measured on
        them, and the answers are compared on them.

    Returns
    -------
    float
        Root mean square difference between the answers of both files, in standard deviations of the noise.

    Raises
    ------
    EngineError
        When the file is no stream engine, the inputs are too few, or the answers differ by more than
        `LARGEST_DIFFERENCE`.
    FileError
        When the file cannot be written.

    Notes
    -----
    Post-training quantization by NNCF with its quick bias correction; the file holds plain QuantizeLinear and
    DequantizeLinear nodes, which OpenVINO and TensorRT both turn into 8-bit convolutions.
    """
    card_to_quantize(source)
    model = onnx.load(source)
    if len(inputs) < _LEAST_INPUTS:
        raise EngineError(
            f"{len(inputs)} inputs to measure on",
            expected=f"at least {_LEAST_INPUTS}",
            todo="quantize with a recording of more frames",
        )
    name = model.graph.input[0].name
    given = [{name: array[None]} for array in inputs]
    with _quiet():
        small = nncf.quantize(
            model,
            nncf.Dataset(given),
            subset_size=len(given),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=kept_in_float(model)),
        )
    with written_whole(out_path) as part:
        part.write_bytes(small.SerializeToString())
        difference = _difference(source, part, inputs)
        if not difference <= LARGEST_DIFFERENCE:
            raise EngineError(
                f"answers that differ by {difference:.2g} standard deviations of the noise after quantization",
                expected=f"at most {LARGEST_DIFFERENCE:g}",
                todo="use the engine as it is, or measure on inputs like those it will meet; no file was written",
            )
    return difference


def card_to_quantize(source: Path) -> ModelCard:
    """Return the card of an engine file that `quantize` takes.

    Raises
    ------
    EngineError
        When it carries no card, or is no stream engine.
    """
    model = onnx.load(source)
    cards = [ModelCard.from_json(entry.value) for entry in model.metadata_props if entry.key == METADATA_KEY]
    if not cards or cards[0].kind != "stream":
        raise EngineError(
            f"{source}, which is an engine of kind {cards[0].kind}" if cards else f"{source}, which has no model card",
            expected="an engine of kind stream that deepbid-rt export wrote",
            todo="quantize such a file",
        )
    return cards[0]


def kept_in_float(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that stay as they are: all but the convolutions of the U-Net itself."""
    return [node.name for node in model.graph.node if not any(_INSIDE.match(name) for name in node.input)]


def _difference(one: Path, other: Path, inputs: Sequence[NDArray[np.float32]]) -> float:
    plugin, config = core(), {"INFERENCE_PRECISION_HINT": "f32"}
    first, second = (plugin.compile_model(path, "CPU", config) for path in (one, other))
    squares = [np.mean((first(array[None])[0] - second(array[None])[0]) ** 2) for array in inputs]
    return float(np.sqrt(np.mean(squares)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF's progress off stdout, where results are printed, and its remarks off the screen."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        logger.setLevel(level)
