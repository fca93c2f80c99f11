"""Exports a trained network as an engine file: ONNX with the model card inside, checked against torch."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from deepbid_rt.card import METADATA_KEY, ModelCard, Normalization
from deepbid_rt.errors import EngineError, FileError
from deepbid_rt.nets.unet2d import UNet2D
from deepbid_rt.runtimes.engine_file import seal
from deepbid_rt.runtimes.openvino_core import core
from deepbid_rt.train.trained_network import load_trained

INPUTS, OUTPUT = {"window": "window", "stream": "inputs"}, "denoised"
OPSET = 18
PARITY_TOLERANCE = 1e-3
"""Largest accepted difference between torch and ONNX, in standard deviations of the output."""
_PARITY_SHAPES = ((16, 24, 32), (24, 40, 16))  # (K, Y, X); two of them, to detect a graph that works at one size only


def export(
    source: Path, out_path: Path, name: str, normalization: Normalization | None = None, *, exact: bool = False
) -> ModelCard:
    """Write the best network of a run, or the network of a checkpoint, as an engine file.

    Parameters
    ----------
    source : Path
        A run folder (its ``best.pt``, or ``last.pt`` before the first validation), or a checkpoint file of this
        package, of DeepBID or of DeepCAD-RT (see `deepbid_rt.train.imported_checkpoint`).
    out_path : Path
        The ONNX file to write, atomically; its folder must exist.
    name : str
        The engine's name on its card.
    normalization : Normalization, optional
        Normalisation that a network of another project was trained with, see `load_trained`.
    exact : bool
        Use windows as long as the receptive field of such a network, see `load_trained`.

    Returns
    -------
    ModelCard
        The card, which is also in the file's metadata under `METADATA_KEY`.

    Raises
    ------
    FileError
        When the checkpoint cannot be read or the file cannot be written.
    EngineError
        When the ONNX file, run by OpenVINO in float32, does not agree with torch within `PARITY_TOLERANCE`; when the
        checkpoint holds an unsupported network, or one that collapsed in training.
    """
    net, card = load_trained(source, name, normalization, exact=exact)
    with atomic_write(out_path) as part:
        write_onnx(net, card, part)
        check_parity(net, part)
    return card


@contextlib.contextmanager
def atomic_write(out_path: Path) -> Iterator[Path]:
    """Yield a temporary file to write, which replaces ``out_path`` at the end, or is removed after an exception.

    Raises
    ------
    FileError
        When the file cannot be written.
    """
    part = out_path.with_name(out_path.name + ".part")
    try:
        yield part
        part.replace(out_path)
    except OSError as error:
        raise FileError(
            f"the engine file {out_path} cannot be written ({error})",
            expected="an existing folder on a disk with enough space",
            todo="choose another path",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def write_onnx(net: nn.Module, card: ModelCard, path: Path) -> None:
    """Write a network and its card as one ONNX file.

    A network of kind window maps (N, 1, T, Y, X) to the same shape, one of kind stream (N, K, Y, X) to (N, 1, Y, X).
    The file takes any T, Y and X that are multiples of the card's grid.

    Raises
    ------
    EngineError
        When torch returns no ONNX program.
    """
    grid, stream = card.grid, card.kind == "stream"
    time = (card.depth,) if stream else (1, 2 * grid)
    sample = torch.zeros(1, *time, 3 * grid, 4 * grid)
    axes = {2: "y", 3: "x"} if stream else {2: "t", 3: "y", 4: "x"}
    size = {axis: grid * torch.export.Dim(axis_name) for axis, axis_name in axes.items()}
    with _quiet():
        program = torch.onnx.export(
            net,
            (sample,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUTS[card.kind]],
            output_names=[OUTPUT],
            dynamic_shapes=(size,),
            verbose=False,
        )
    if program is None:
        raise EngineError(
            "no ONNX program from torch",
            expected="an ONNX program",
            todo="use the torch version pinned by the train extra",
        )
    model = program.model_proto
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")  # stack traces and paths of the exporting machine
        part.ClearField("doc_string")
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.checker.check_model(model)
    path.write_bytes(seal(model.SerializeToString()))


def check_parity(net: nn.Module, path: Path) -> None:
    """Run the same random inputs through torch and through the file, and compare the outputs.

    Raises
    ------
    EngineError
        When OpenVINO cannot run the file, or the outputs differ by more than `PARITY_TOLERANCE`.
    """
    try:
        compiled = core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise EngineError(
            f"an exported file that OpenVINO cannot run ({str(error).strip().splitlines()[-1]})",
            expected="a network that every runtime supports",
            todo="use the versions pinned by the train extra",
        ) from error
    rng = np.random.default_rng(0)
    for shape in _PARITY_SHAPES:
        start = (1, net.depth) if isinstance(net, UNet2D) else (1, 1, shape[0])
        window = rng.normal(size=(*start, *shape[1:])).astype(np.float32)
        with torch.no_grad():
            expected: NDArray[np.float32] = net(torch.from_numpy(window)).numpy()
        got = compiled(window)[0]
        difference = float(np.abs(got - expected).max() / max(float(expected.std()), 1e-6))
        if not difference <= PARITY_TOLERANCE:  # also true for NaN
            raise EngineError(
                f"ONNX and torch differ by {difference:.2g} standard deviations on windows of {shape}",
                expected=f"at most {PARITY_TOLERANCE:g}",
                todo="use the versions pinned by the train extra; no file was written",
            )


def card_toml(card: ModelCard) -> str:
    """Return a card as the text of ``card.toml``. `ModelCard.from_dict` accepts the parsed file."""
    # Strings, numbers and lists of them have the same syntax in JSON and in TOML.
    return _toml(card.to_dict(), ())


def _toml(table: Mapping[str, Any], path: tuple[str, ...]) -> str:
    head = f"\n[{'.'.join(path)}]\n" if path else ""
    plain = "".join(f"{k} = {json.dumps(v)}\n" for k, v in table.items() if not isinstance(v, Mapping))
    return head + plain + "".join(_toml(v, (*path, k)) for k, v in table.items() if isinstance(v, Mapping))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's warnings about packages that are not used here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
