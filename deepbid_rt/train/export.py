"""From a training run to an engine file: ONNX with the model card inside, checked against torch before it is kept.

Knows nothing of recordings or of how the live path feeds the engine.
"""

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
from deepbid_rt.runtimes.openvino_core import core
from deepbid_rt.train.trained import load_trained

INPUTS, OUTPUT = {"window": "window", "stream": "inputs"}, "denoised"
OPSET = 18
PARITY_TOLERANCE = 1e-3
"""Largest difference between torch and ONNX that is accepted, in standard deviations of the output."""
_PARITY_SHAPES = ((16, 24, 32), (24, 40, 16))  # (K, Y, X); two, so that a size frozen into the graph shows


def export(
    source: Path, out_path: Path, name: str, seen: Normalization | None = None, *, exact: bool = False
) -> ModelCard:
    """Write a run's best network, or that of another project's checkpoint, as an engine file.

    Parameters
    ----------
    source : Path
        A run folder (its ``best.pt``, or ``last.pt`` before the first held-out check) or a checkpoint file, ours or
        one of DeepBID or DeepCAD-RT (see `deepbid_rt.train.imported_checkpoint`).
    out_path : Path
        The ONNX file to write; its folder must exist. Written whole or not at all.
    name : str
        The engine's name on its card.
    seen : Normalization, optional
        What a network of another project was trained to see, see `load_trained`.
    exact : bool
        Let such a network see all that it can, see `load_trained`.

    Returns
    -------
    ModelCard
        The card that stands in the file's metadata under `METADATA_KEY`.

    Raises
    ------
    FileError
        When the checkpoint cannot be read or the file not be written.
    EngineError
        When ONNX, run by OpenVINO in float32, does not agree with torch within `PARITY_TOLERANCE`, or the checkpoint
        holds another network, or one that collapsed in training.
    """
    net, card = load_trained(source, name, seen, exact=exact)
    with written_whole(out_path) as part:
        write_onnx(net, card, part)
        check_parity(net, part)
    return card


@contextlib.contextmanager
def written_whole(out_path: Path) -> Iterator[Path]:
    """Give a file to write, which becomes ``out_path`` when all went well and is gone otherwise.

    Raises
    ------
    FileError
        When it cannot be written.
    """
    part = out_path.with_name(out_path.name + ".part")
    try:
        yield part
        part.replace(out_path)
    except OSError as error:
        raise FileError(
            f"the engine file {out_path} cannot be written ({error})",
            expected="an existing folder with room for it",
            todo="choose another path",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def write_onnx(net: nn.Module, card: ModelCard, path: Path) -> None:
    """Write a network as one file with its card.

    Kind window: (N, 1, T, Y, X) -> same; kind stream: (N, K, Y, X) -> (N, 1, Y, X). Any T, Y, X in multiples of the
    card's grid.
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
            "no ONNX program from torch", expected="one", todo="use the torch version pinned by the train extra"
        )
    model = program.model_proto
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")  # stack traces and paths of the exporting machine
        part.ClearField("doc_string")
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def check_parity(net: nn.Module, path: Path) -> None:
    """Run the same noise through torch and through the file.

    Raises
    ------
    EngineError
        When the file cannot be run, or differs by more than `PARITY_TOLERANCE` standard deviations of the output.
    """
    try:
        compiled = core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise EngineError(
            f"an exported file that OpenVINO cannot run ({str(error).strip().splitlines()[-1]})",
            expected="a network that every runtime takes",
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
    """Return a card as the text of ``card.toml``; `ModelCard.from_dict` reads the parsed file back."""
    # Strings, numbers and lists of them are written alike in JSON and in TOML.
    return _toml(card.to_dict(), ())


def _toml(table: Mapping[str, Any], path: tuple[str, ...]) -> str:
    head = f"\n[{'.'.join(path)}]\n" if path else ""
    plain = "".join(f"{k} = {json.dumps(v)}\n" for k, v in table.items() if not isinstance(v, Mapping))
    return head + plain + "".join(_toml(v, (*path, k)) for k, v in table.items() if isinstance(v, Mapping))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's warnings about packages that are not used here off the user's screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
