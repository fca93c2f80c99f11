"""The trials: networks and their inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from deepbid_rt.nets.unet2d import UNet2D
from network_search.movies import InputSettings
from network_search.nets import Averages, Blocks, Mixture, PlainUNet2D, Stateful, Ungated, separable

Make = Callable[[InputSettings], nn.Module]


@dataclass(frozen=True)
class Trial:
    """A network and its inputs."""

    description: str
    """For tables."""
    make: Make
    """Makes the network for its inputs."""
    inputs: InputSettings = field(default_factory=InputSettings)
    learning_rate: float = 8e-4
    """Highest learning rate."""
    length: int = 1
    """Consecutive frames of a training pair."""
    separate_views: bool = False
    """Score it on each view separately with averaged outputs, instead of on the mean of both views."""
    weights_of: str = ""
    """The trial whose trained network is used; empty: train its own."""


def _plain(width: int, levels: int = 3) -> Make:
    return lambda inputs: PlainUNet2D(width, inputs.depth, levels)


def _unet(width: int, levels: int) -> Make:
    return lambda inputs: UNet2D(width, inputs.gains, inputs.later_frames, levels)


TRIALS = {
    "three-32": Trial("3 levels, width 32, 2x2 blocks, memories 0.4, 0.15, 0.03", _plain(32)),
    "apart": Trial("each direction alone, outputs averaged", _plain(32), separate_views=True, weights_of="three-32"),
    "three-16": Trial("3 levels, width 16", _plain(16)),
    "three-48": Trial("3 levels, width 48", _plain(48)),
    "blocks": Trial("4x4 blocks, width 64", lambda inputs: Blocks(64, inputs.depth)),
    "one-32": Trial("1 level, width 32", _plain(32, 1)),
    "one-48": Trial("1 level, width 48", _plain(48, 1)),
    "one-64": Trial("1 level, width 64", _plain(64, 1)),
    "one-96": Trial("1 level, width 96", _plain(96, 1)),
    "two-24": Trial("2 levels, width 24", _plain(24, 2)),
    "two-32": Trial("2 levels, width 32", _plain(32, 2)),
    "two-48": Trial("2 levels, width 48", _plain(48, 2)),
    "two-64": Trial("2 levels, width 64", _plain(64, 2)),
    "two-48-ahead-1": Trial(
        "2 levels, width 48, next frame as an input (delay 1)", _plain(48, 2), InputSettings(later_frames=1)
    ),
    "four-24": Trial("4 levels, width 24", _plain(24, 4)),
    "separable": Trial("separable convolutions, width 48", lambda inputs: separable(48, inputs.depth)),
    "mixture": Trial("weighted mean of the inputs", lambda inputs: Mixture(32, inputs.depth)),
    "memory-1": Trial("memory 0.1", _plain(32), InputSettings((0.1,))),
    "memory-2": Trial("memories 0.3, 0.03", _plain(32), InputSettings((0.3, 0.03))),
    "memory-4": Trial("memories 0.4, 0.15, 0.06, 0.015", _plain(32), InputSettings((0.4, 0.15, 0.06, 0.015))),
    "quick": Trial("memories 0.6, 0.3, 0.1", _plain(32), InputSettings((0.6, 0.3, 0.1))),
    "slow": Trial("memories 0.2, 0.06, 0.015", _plain(32), InputSettings((0.2, 0.06, 0.015))),
    "contrast": Trial("contrast of the scene as an input", _plain(32), InputSettings(contrast=True)),
    "ahead-1": Trial("next frame as an input (delay 1)", _plain(32), InputSettings(later_frames=1)),
    "ahead-2": Trial("next two frames as inputs (delay 2)", _plain(32), InputSettings(later_frames=2)),
    "no-past": Trial("no temporal averages", _plain(32), InputSettings(history=False)),
    "state": Trial(
        "a trained state in addition to the temporal averages", lambda inputs: Stateful(32, inputs.depth, 2), length=8
    ),
    "state-alone": Trial(
        "a trained state instead of temporal averages",
        lambda inputs: Stateful(32, inputs.depth, 0),
        InputSettings(history=False),
        length=8,
    ),
    "two-48-quick": Trial("2 levels, width 48, learning rate 1.6e-3", _plain(48, 2), learning_rate=1.6e-3),
    "space-alone": Trial("averages alone, no U-Net", lambda inputs: Averages(inputs.gains), learning_rate=1.6e-3),
    "space-16": Trial("averages and gates, 1 level, width 16 (`light`)", _unet(16, 1), learning_rate=1.6e-3),
    "space-32": Trial("averages and gates, 1 level, width 32", _unet(32, 1), learning_rate=1.6e-3),
    "space-24-2": Trial("averages and gates, 2 levels, width 24 (`default`)", _unet(24, 2), learning_rate=1.6e-3),
    "space-48-2": Trial("averages and gates, 2 levels, width 48", _unet(48, 2), learning_rate=1.6e-3),
    "space-48-2-ahead-2": Trial(
        "averages and gates, 2 levels, width 48, next two frames as inputs (`best`)",
        _unet(48, 2),
        InputSettings(later_frames=2),
        learning_rate=1.6e-3,
    ),
    "space-24-2-ungated": Trial(
        "averages without gates, 2 levels, width 24",
        lambda inputs: Ungated(24, inputs.gains, 2),
        learning_rate=1.6e-3,
    ),
    "space-24-2-slow": Trial("averages and gates, 2 levels, width 24, learning rate 8e-4", _unet(24, 2)),
}
