"""What is tried: networks, and what they are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from deepbid_rt.nets.unet2d import UNet2D
from network_search.movies import Diet
from network_search.nets import Blocks, Mixture, Stateful, separable

Make = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Trial:
    """A network, and what it is given."""

    says: str
    """What it is, for tables."""
    make: Make
    """From the number of arrays that it is given."""
    diet: Diet = field(default_factory=Diet)
    length: int = 1
    """Frames in a row that it learns from."""
    apart: bool = False
    """Whether it is judged on each scan direction by itself, the answers averaged, instead of on their mean."""
    of: str = ""
    """The trial whose network it takes instead of one of its own."""


def _unet(width: int, levels: int = 3) -> Make:
    return lambda depth: UNet2D(width, depth, levels)


TRIALS = {
    "three-32": Trial("3 levels, width 32, 2x2 blocks, memories 0.4, 0.15, 0.03", _unet(32)),
    "apart": Trial("each direction alone, answers averaged", _unet(32), apart=True, of="three-32"),
    "three-16": Trial("3 levels, width 16 (`light`)", _unet(16)),
    "three-48": Trial("3 levels, width 48", _unet(48)),
    "blocks": Trial("4x4 blocks, width 64", lambda depth: Blocks(64, depth)),
    "one-32": Trial("1 level, width 32", _unet(32, 1)),
    "one-48": Trial("1 level, width 48", _unet(48, 1)),
    "one-64": Trial("1 level, width 64", _unet(64, 1)),
    "one-96": Trial("1 level, width 96", _unet(96, 1)),
    "two-24": Trial("2 levels, width 24", _unet(24, 2)),
    "two-32": Trial("2 levels, width 32", _unet(32, 2)),
    "two-48": Trial("2 levels, width 48 (`default`)", _unet(48, 2)),
    "two-64": Trial("2 levels, width 64", _unet(64, 2)),
    "two-48-ahead-1": Trial(
        "2 levels, width 48, sees the next frame in its place (delay 1)", _unet(48, 2), Diet(ahead=1)
    ),
    "four-24": Trial("4 levels, width 24", _unet(24, 4)),
    "separable": Trial("separable convolutions, width 48", lambda depth: separable(48, depth)),
    "mixture": Trial("answers with a weighted mean of its inputs", lambda depth: Mixture(32, depth)),
    "memory-1": Trial("memory 0.1", _unet(32), Diet((0.1,))),
    "memory-2": Trial("memories 0.3, 0.03", _unet(32), Diet((0.3, 0.03))),
    "memory-4": Trial("memories 0.4, 0.15, 0.06, 0.015", _unet(32), Diet((0.4, 0.15, 0.06, 0.015))),
    "quick": Trial("memories 0.6, 0.3, 0.1", _unet(32), Diet((0.6, 0.3, 0.1))),
    "slow": Trial("memories 0.2, 0.06, 0.015", _unet(32), Diet((0.2, 0.06, 0.015))),
    "contrast": Trial("told how noisy the scene is", _unet(32), Diet(contrast=True)),
    "ahead-1": Trial("sees the next frame in its place (delay 1)", _unet(32), Diet(ahead=1)),
    "ahead-2": Trial("sees the next two (delay 2)", _unet(32), Diet(ahead=2)),
    "no-past": Trial("nothing remembered", _unet(32), Diet(past=False)),
    "state": Trial("a learned state beside the memories", lambda depth: Stateful(32, depth, 2), length=8),
    "state-alone": Trial(
        "a learned state instead of memories", lambda depth: Stateful(32, depth, 0), Diet(past=False), length=8
    ),
}
