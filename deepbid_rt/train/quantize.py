"""Quantizes an engine file to 8-bit convolutions.

This halves the time per frame on processors without a matrix unit, and makes the file about four times smaller.
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
from deepbid_rt.runtimes.engine_file import DIGEST_KEY, check_engine_file, seal
from deepbid_rt.runtimes.openvino_core import core
from deepbid_rt.train.export import atomic_write

MAX_DIFFERENCE = 0.15
"""Largest accepted root mean square difference between the outputs of both files, in standard deviations of noise."""
_MIN_INPUTS = 16
_UNET_WEIGHT = re.compile(r"(encoders|decoders|ups)\.")
"""Start of the names of the weights of the U-Net, which computes how view and temporal averages are weighted."""


def quantize(source: Path, out_path: Path, inputs: Sequence[NDArray[np.float32]]) -> float:
    """Write a copy of a stream engine whose U-Net has 8-bit weights and activations.

    The pixels stay in floating point from input to output, because 256 values cannot represent a view. The U-Net, which
    computes the weights of their averages and takes most of the time, tolerates 8 bits.

    Parameters
    ----------
    source : Path
        An engine file of kind stream, as `deepbid_rt.train.export.export` writes it.
    out_path : Path
        The file to write, atomically.
    inputs : sequence of ndarray
        (K, Y, X) float32, at least 16: inputs as in use. The ranges of all activations are measured on them, and the
        outputs of both files are compared on them.

    Returns
    -------
    float
        Root mean square difference between the outputs of both files, in standard deviations of the noise.

    Raises
    ------
    EngineError
        When the file is not a stream engine, there are too few inputs, or the outputs differ by more than
        `MAX_DIFFERENCE`.
    FileError
        When the file cannot be written.

    Notes
    -----
    Post-training quantization by NNCF with its quick bias correction; the file holds plain QuantizeLinear and
    DequantizeLinear nodes, which OpenVINO and TensorRT both turn into 8-bit convolutions.
    """
    read_stream_card(source)
    model = onnx.load(source)
    if len(inputs) < _MIN_INPUTS:
        raise EngineError(
            f"{len(inputs)} inputs to measure the ranges on",
            expected=f"at least {_MIN_INPUTS}",
            todo="quantize with a recording of more frames",
        )
    name = model.graph.input[0].name
    samples = [{name: array[None]} for array in inputs]
    with _quiet():
        quantized = nncf.quantize(
            model,
            nncf.Dataset(samples),
            subset_size=len(samples),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=nodes_kept_in_float(model)),
        )
    with atomic_write(out_path) as part:
        kept = [entry for entry in quantized.metadata_props if entry.key != DIGEST_KEY]
        del quantized.metadata_props[:]
        quantized.metadata_props.extend(kept)
        part.write_bytes(seal(quantized.SerializeToString()))
        difference = _rms_difference(source, part, inputs)
        if not difference <= MAX_DIFFERENCE:
            raise EngineError(
                f"outputs that differ by {difference:.2g} standard deviations of the noise after quantization",
                expected=f"at most {MAX_DIFFERENCE:g}",
                todo="use the engine as it is, or measure on a recording like those in use; no file was written",
            )
    return difference


def read_stream_card(source: Path) -> ModelCard:
    """Return the card of a stream engine file, the kind that `quantize` accepts.

    Raises
    ------
    EngineError
        When the file is damaged, has no card, or is not a stream engine.
    """
    check_engine_file(source)
    model = onnx.load(source)
    cards = [ModelCard.from_json(entry.value) for entry in model.metadata_props if entry.key == METADATA_KEY]
    if not cards or cards[0].kind != "stream":
        raise EngineError(
            f"{source}, which is an engine of kind {cards[0].kind}" if cards else f"{source}, which has no model card",
            expected="an engine of kind stream, written by deepbid-rt export",
            todo="choose such a file",
        )
    return cards[0]


def nodes_kept_in_float(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that stay in floating point: all but the convolutions of the U-Net."""
    return [node.name for node in model.graph.node if not any(_UNET_WEIGHT.match(name) for name in node.input)]


def _rms_difference(original: Path, quantized: Path, inputs: Sequence[NDArray[np.float32]]) -> float:
    plugin, config = core(), {"INFERENCE_PRECISION_HINT": "f32"}
    first, second = (plugin.compile_model(path, "CPU", config) for path in (original, quantized))
    squares = [np.mean((first(array[None])[0] - second(array[None])[0]) ** 2) for array in inputs]
    return float(np.sqrt(np.mean(squares)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send NNCF's progress to stderr, because results are printed on stdout, and suppress its messages."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        logger.setLevel(level)
