"""Reads checkpoints of DeepBID and DeepCAD-RT, whose 3D U-Net has the same layers as `UNet3D`.

The files are unpickled as weights only; code in them is never run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from deepbid_rt.card import ModelCard, Normalization
from deepbid_rt.errors import EngineError
from deepbid_rt.nets.unet3d import GRID, UNet3D

RECEPTIVE_FRAMES = 52
"""Frames on each side that an output depends on: at most 51, plus one so that windows end on the grid."""
DEFAULT_NORMALIZATION = Normalization(rule="mean", frames=2 * GRID)
"""DeepBID and DeepCAD-RT train on raw counts minus the mean of the movie; here, the mean of its first frames."""
_WRAPPERS = ("params", "state_dict")
_PREFIX = re.compile(r"^(?:module\.|Generator\.)+")
_CONVOLUTION = re.compile(r"^(encoders|decoders)\.(\d)\.basic_module\.SingleConv([12])\.conv\.(weight|bias)$")
_HEAD = re.compile(r"^final_conv\.(weight|bias)$")


@dataclass(frozen=True, slots=True)
class ImportedCheckpoint:
    """A network of DeepBID or DeepCAD-RT."""

    width: int
    weights: Mapping[str, Tensor]
    """Under the names of `UNet3D`."""
    file_name: str
    """Name of the checkpoint file, for the card."""

    def card(self, name: str, normalization: Normalization, *, exact: bool = False) -> ModelCard:
        """Return the model card of the engine made from this network.

        Parameters
        ----------
        name : str
            The engine's name.
        normalization : Normalization
            Normalisation that the network was trained with.
        exact : bool
            Use windows with `RECEPTIVE_FRAMES` frames on both sides of the denoised ones. The output is then the same
            as if the network ran over the whole movie, at three times the work and with a delay of more than
            `RECEPTIVE_FRAMES` frames.
        """
        hop, sides = (3 * GRID, RECEPTIVE_FRAMES) if exact else (GRID, GRID)
        return ModelCard(
            name=name,
            kind="window",
            window=hop + 2 * sides if exact else 4 * GRID,
            hop=hop,
            look_ahead=sides,
            grid=GRID,
            normalization=normalization,
            training={"width": self.width, "imported": f"DeepBID or DeepCAD-RT checkpoint {self.file_name}"},
        )

    def weights_for_unit(self, counts: float) -> dict[str, Tensor]:
        """Return the weights of the same network for pictures in units of this many counts.

        Convolutions and rectifiers scale with their input, provided that the biases are scaled too.
        """
        return {key: w / counts if key.endswith("bias") else w for key, w in self.weights.items()}


def is_imported(data: object) -> bool:
    """Return whether the content of a torch file is a checkpoint of another project.

    Checkpoints of this package have a version. Whether the network is supported is not checked.
    """
    return isinstance(data, Mapping) and bool(data) and "version" not in data


def read_imported_checkpoint(data: Mapping[Any, Any], path: Path) -> ImportedCheckpoint:
    """Read the content of a checkpoint file of DeepBID (weights under the key ``params``) or DeepCAD-RT (bare weights).

    Raises
    ------
    EngineError
        When it is not their 3D U-Net, or a layer is missing.
    """
    for wrapper in _WRAPPERS:
        if isinstance(data.get(wrapper), Mapping):
            data = data[wrapper]
    weights: dict[str, Tensor] = {}
    for key, value in data.items():
        name = _unet3d_name(_PREFIX.sub("", str(key)))
        if name is None or not isinstance(value, Tensor):
            raise _unsupported(path, f"holds {str(key)!r}")
        weights[name] = value.detach().float()
    head = weights.get("head.weight")
    if head is None or head.ndim != 5:
        raise _unsupported(path, "has no final_conv")
    net = UNet3D(head.shape[1])
    expected = {key: tuple(w.shape) for key, w in net.state_dict().items()}
    came = {key: tuple(w.shape) for key, w in weights.items()}
    for key in sorted(expected.keys() | came.keys()):
        if came.get(key) != expected.get(key):
            raise _unsupported(
                path, f"has {came.get(key, 'nothing')} instead of {expected.get(key, 'nothing')} in layer {key}"
            )
    return ImportedCheckpoint(head.shape[1], weights, path.name)


def _unet3d_name(imported_name: str) -> str | None:
    """Return the name in `UNet3D` of a weight of the other projects; None if it has none."""
    if match := _CONVOLUTION.match(imported_name):
        side, level, number, kind = match.groups()
        return f"{side}.{level}.{2 * (int(number) - 1)}.{kind}"
    return f"head.{match[1]}" if (match := _HEAD.match(imported_name)) else None


def _unsupported(path: Path, came: str) -> EngineError:
    return EngineError(
        f"the checkpoint {path} {came}",
        expected="a checkpoint of deepbid-rt, or the 3D U-Net of DeepBID or DeepCAD-RT, alone or under 'params'",
        todo="save the generator's state_dict by itself; their other networks cannot be imported",
    )
