"""What is tried: networks, and what they are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from deepbid_rt.nets.unet2d import UNet2D
from network_search.movies import Diet
from network_search.nets import Averages, Blocks, Mixture, PlainUNet2D, Stateful, Ungated, separable

Make = Callable[[Diet], nn.Module]


@dataclass(frozen=True)
class Trial:
    """A network, and what it is given."""

    says: str
    """What it is, for tables."""
    make: Make
    """From what it is given."""
    diet: Diet = field(default_factory=Diet)
    learning_rate: float = 8e-4
    """At its highest."""
    length: int = 1
    """Frames in a row that it learns from."""
    apart: bool = False
    """Whether it is judged on each scan direction by itself, the answers averaged, instead of on their mean."""
    of: str = ""
    """The trial whose network it takes instead of one of its own."""


def _plain(width: int, levels: int = 3) -> Make:
    return lambda diet: PlainUNet2D(width, diet.depth, levels)


def _unet(width: int, levels: int) -> Make:
    return lambda diet: UNet2D(width, diet.gains, diet.later_frames, levels)


TRIALS = {
    "three-32": Trial("3 levels, width 32, 2x2 blocks, memories 0.4, 0.15, 0.03", _plain(32)),
    "apart": Trial("each direction alone, answers averaged", _plain(32), apart=True, of="three-32"),
    "three-16": Trial("3 levels, width 16", _plain(16)),
    "three-48": Trial("3 levels, width 48", _plain(48)),
    "blocks": Trial("4x4 blocks, width 64", lambda diet: Blocks(64, diet.depth)),
    "one-32": Trial("1 level, width 32", _plain(32, 1)),
    "one-48": Trial("1 level, width 48", _plain(48, 1)),
    "one-64": Trial("1 level, width 64", _plain(64, 1)),
    "one-96": Trial("1 level, width 96", _plain(96, 1)),
    "two-24": Trial("2 levels, width 24", _plain(24, 2)),
    "two-32": Trial("2 levels, width 32", _plain(32, 2)),
    "two-48": Trial("2 levels, width 48", _plain(48, 2)),
    "two-64": Trial("2 levels, width 64", _plain(64, 2)),
    "two-48-ahead-1": Trial(
        "2 levels, width 48, sees the next frame in its place (delay 1)", _plain(48, 2), Diet(later_frames=1)
    ),
    "four-24": Trial("4 levels, width 24", _plain(24, 4)),
    "separable": Trial("separable convolutions, width 48", lambda diet: separable(48, diet.depth)),
    "mixture": Trial("answers with a weighted mean of its inputs", lambda diet: Mixture(32, diet.depth)),
    "memory-1": Trial("memory 0.1", _plain(32), Diet((0.1,))),
    "memory-2": Trial("memories 0.3, 0.03", _plain(32), Diet((0.3, 0.03))),
    "memory-4": Trial("memories 0.4, 0.15, 0.06, 0.015", _plain(32), Diet((0.4, 0.15, 0.06, 0.015))),
    "quick": Trial("memories 0.6, 0.3, 0.1", _plain(32), Diet((0.6, 0.3, 0.1))),
    "slow": Trial("memories 0.2, 0.06, 0.015", _plain(32), Diet((0.2, 0.06, 0.015))),
    "contrast": Trial("told how noisy the scene is", _plain(32), Diet(contrast=True)),
    "ahead-1": Trial("sees the next frame in its place (delay 1)", _plain(32), Diet(later_frames=1)),
    "ahead-2": Trial("sees the next two (delay 2)", _plain(32), Diet(later_frames=2)),
    "no-past": Trial("nothing remembered", _plain(32), Diet(history=False)),
    "state": Trial("a learned state beside the memories", lambda diet: Stateful(32, diet.depth, 2), length=8),
    "state-alone": Trial(
        "a learned state instead of memories", lambda diet: Stateful(32, diet.depth, 0), Diet(history=False), length=8
    ),
    "two-48-quick": Trial("2 levels, width 48, learning rate 1.6e-3", _plain(48, 2), learning_rate=1.6e-3),
    "space-alone": Trial("averages alone, no U-Net", lambda diet: Averages(diet.gains), learning_rate=1.6e-3),
    "space-16": Trial("averages and gates, 1 level, width 16 (`light`)", _unet(16, 1), learning_rate=1.6e-3),
    "space-32": Trial("averages and gates, 1 level, width 32", _unet(32, 1), learning_rate=1.6e-3),
    "space-24-2": Trial("averages and gates, 2 levels, width 24 (`default`)", _unet(24, 2), learning_rate=1.6e-3),
    "space-48-2": Trial("averages and gates, 2 levels, width 48", _unet(48, 2), learning_rate=1.6e-3),
    "space-48-2-ahead-2": Trial(
        "averages and gates, 2 levels, width 48, sees the next two frames (`best`)",
        _unet(48, 2),
        Diet(later_frames=2),
        learning_rate=1.6e-3,
    ),
    "space-24-2-ungated": Trial(
        "averages without gates, 2 levels, width 24",
        lambda diet: Ungated(24, diet.gains, 2),
        learning_rate=1.6e-3,
    ),
    "space-24-2-slow": Trial("averages and gates, 2 levels, width 24, learning rate 8e-4", _unet(24, 2)),
}
