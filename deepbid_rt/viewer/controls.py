"""What the user has chosen, and how each action changes it. Knows no key, mouse or window."""

from __future__ import annotations

from typing import get_args

from deepbid_rt.viewer.colors import MAPS, MapName, default_maps
from deepbid_rt.viewer.panels import Mode
from deepbid_rt.viewer.roi import Shape

AVERAGES = (2, 4, 8, 16, 32, 64)
MERGED = 4
"""Most channels in one picture."""


class Controls:
    """Choices; begins with what needs no configuring."""

    def __init__(self) -> None:
        self.mode: Mode = "side"
        self.average_shown = False
        self.average_frames = 8
        self.split = 0.5
        self.tool: Shape | None = None
        """What dragging draws; None: it moves the picture."""
        self.help = False
        self.channels = 1
        """Channels that the stream has."""
        self.channel: int | None = 0
        """The chosen channel; None: all merged."""
        self.plane = 0
        self.planes = 1
        self.maps: list[MapName] = default_maps(1)
        """Of each channel of the stream."""

    @property
    def average(self) -> int:
        """Raw frames to average; 1 when no average is shown."""
        return self.average_frames if self.average_shown else 1

    @property
    def drawn(self) -> list[int]:
        """The channels drawn."""
        return list(range(min(self.channels, MERGED))) if self.channel is None else [self.channel]

    @property
    def active(self) -> int:
        """The channel that contrast, map and traces are about."""
        return self.channel or 0

    def begin(self, channels: int, planes: int) -> None:
        """Follow a new series; choices that it still offers are kept. Several channels begin merged."""
        if channels != self.channels:
            self.channels, self.maps = channels, default_maps(channels)
            self.channel = None if channels > 1 else 0
        self.planes = planes
        self.plane = min(self.plane, planes - 1)

    def act(self, action: str) -> bool:
        """Do what an action of `KEYS` says; False when it is not one about choices."""
        if action in get_args(Mode):
            self.mode = action  # type: ignore[assignment]  # one of the names just looked up
        elif action in get_args(Shape):
            self.tool = None if self.tool == action else action  # type: ignore[assignment]  # likewise
        elif action == "average":
            self.average_shown = not self.average_shown
        elif action in ("fewer", "more"):
            self._step_average(1 if action == "more" else -1)
        elif action == "channel":
            self._next_channel()
        elif action == "plane":
            self.plane = (self.plane + 1) % self.planes
        elif action == "map":
            self.maps[self.active] = MAPS[(MAPS.index(self.maps[self.active]) + 1) % len(MAPS)]
        elif action == "help":
            self.help = not self.help
        else:
            return False
        return True

    def _step_average(self, step: int) -> None:
        self.average_shown = True
        place = AVERAGES.index(self.average_frames) + step
        self.average_frames = AVERAGES[min(max(place, 0), len(AVERAGES) - 1)]

    def _next_channel(self) -> None:
        if self.channels == 1:
            return
        if self.channel is None:
            self.channel = 0
        else:
            self.channel = self.channel + 1 if self.channel + 1 < self.channels else None
