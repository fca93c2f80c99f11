"""Checkpoints of DeepBID and DeepCAD-RT, read as data: their 3D U-Net is layer for layer ours.

Knows nothing of training. Their files are unpickled as weights only, never as code.
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

REACH = 52
"""Frames on both sides that hold all an answer depends on: 51 at most, and one more so that windows end on the grid."""
SEEN = Normalization(rule="mean", frames=2 * GRID)
"""What DeepBID and DeepCAD-RT train on: raw counts less the mean of the movie. Ours is the mean of its first frames."""
_WRAPPERS = ("params", "state_dict")
_PREFIX = re.compile(r"^(?:module\.|Generator\.)+")
_CONVOLUTION = re.compile(r"^(encoders|decoders)\.(\d)\.basic_module\.SingleConv([12])\.conv\.(weight|bias)$")
_HEAD = re.compile(r"^final_conv\.(weight|bias)$")


@dataclass(frozen=True, slots=True)
class ImportedCheckpoint:
    """A network of one of the projects."""

    width: int
    weights: Mapping[str, Tensor]
    """Under the names of `UNet3D`."""
    origin: str
    """File name, for the card."""

    def card(self, name: str, normalization: Normalization, *, exact: bool = False) -> ModelCard:
        """Return the card of the engine that this network becomes.

        Parameters
        ----------
        name : str
        normalization : Normalization
        exact : bool
            Windows that hold all that the network can see of a frame, `REACH` frames on both sides: what it answers
            over the whole movie, at three times the work and with a delay of `REACH` and more.
        """
        hop, sides = (3 * GRID, REACH) if exact else (GRID, GRID)
        return ModelCard(
            name=name,
            kind="window",
            window=hop + 2 * sides if exact else 4 * GRID,
            hop=hop,
            look_ahead=sides,
            grid=GRID,
            normalization=normalization,
            training={"width": self.width, "imported": f"DeepBID or DeepCAD-RT checkpoint {self.origin}"},
        )

    def weights_in(self, counts: float) -> dict[str, Tensor]:
        """Return the weights of the same network for pictures in units of this many counts.

        Convolutions and rectifiers follow the scale of their input, if only the biases follow it too.
        """
        return {key: w / counts if key.endswith("bias") else w for key, w in self.weights.items()}


def is_imported(data: object) -> bool:
    """Tell whether what `torch.load` found is a checkpoint of another project, good or not: ours have a version."""
    return isinstance(data, Mapping) and bool(data) and "version" not in data


def read_imported_checkpoint(data: Mapping[Any, Any], path: Path) -> ImportedCheckpoint:
    """Read what `torch.load` found in a checkpoint of DeepBID (under the key ``params``) or DeepCAD-RT (bare).

    Raises
    ------
    EngineError
        When it is not their 3D U-Net, or not all of it.
    """
    for wrapper in _WRAPPERS:
        if isinstance(data.get(wrapper), Mapping):
            data = data[wrapper]
    weights: dict[str, Tensor] = {}
    for key, value in data.items():
        name = _our_name(_PREFIX.sub("", str(key)))
        if name is None or not isinstance(value, Tensor):
            raise _other(path, f"holds {str(key)!r}")
        weights[name] = value.detach().float()
    head = weights.get("head.weight")
    if head is None or head.ndim != 5:
        raise _other(path, "has no final_conv")
    net = UNet3D(head.shape[1])
    wanted = {key: tuple(w.shape) for key, w in net.state_dict().items()}
    came = {key: tuple(w.shape) for key, w in weights.items()}
    for key in sorted(wanted.keys() | came.keys()):
        if came.get(key) != wanted.get(key):
            raise _other(path, f"has {came.get(key, 'nothing')} where {wanted.get(key, 'nothing')} belongs ({key})")
    return ImportedCheckpoint(head.shape[1], weights, path.name)


def _our_name(theirs: str) -> str | None:
    if found := _CONVOLUTION.match(theirs):
        side, level, number, kind = found.groups()
        return f"{side}.{level}.{2 * (int(number) - 1)}.{kind}"
    return f"head.{found[1]}" if (found := _HEAD.match(theirs)) else None


def _other(path: Path, came: str) -> EngineError:
    return EngineError(
        f"the checkpoint {path} {came}",
        expected="a checkpoint of deepbid-rt, or the 3D U-Net of DeepBID or DeepCAD-RT, alone or under 'params'",
        todo="save the generator's state_dict by itself; their other networks cannot be imported",
    )
