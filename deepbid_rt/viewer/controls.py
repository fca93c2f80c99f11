"""The choices of the user (mode, channel, plane, colour maps, tool) and the actions that change them."""

from __future__ import annotations

from typing import get_args

from deepbid_rt.viewer.colors import MAPS, MapName, default_maps
from deepbid_rt.viewer.panels import DisplayMode
from deepbid_rt.viewer.roi import RoiShape

AVERAGES = (2, 4, 8, 16, 32, 64)
"""Numbers of raw frames that can be averaged."""
MAX_MERGED = 4
"""Largest number of channels in one picture; there is a distinct colour map for each."""


class Controls:
    """The current choices. The defaults suit a stream of one channel and one plane."""

    def __init__(self) -> None:
        self.mode: DisplayMode = "side"
        self.average_shown = False
        self.average_frames = 8
        self.split = 0.5
        self.tool: RoiShape | None = None
        """The shape that dragging draws; None: dragging moves the picture."""
        self.help = False
        self.channels = 1
        """Number of channels of the stream."""
        self.channel: int | None = 0
        """The chosen channel; None: all channels merged."""
        self.plane = 0
        self.planes = 1
        self.maps: list[MapName] = default_maps(1)
        """The colour map of each channel of the stream."""

    @property
    def average(self) -> int:
        """Number of raw frames to average; 1 when no average is shown."""
        return self.average_frames if self.average_shown else 1

    @property
    def drawn(self) -> list[int]:
        """The channels in the picture."""
        return list(range(min(self.channels, MAX_MERGED))) if self.channel is None else [self.channel]

    @property
    def active(self) -> int:
        """The channel that contrast, colour map and traces refer to."""
        return self.channel or 0

    def start_series(self, channels: int, planes: int) -> None:
        """Adapt the choices to a new series. Those that are still possible stay.

        A change of the number of channels resets channel and maps; several channels are merged at first.
        """
        if channels != self.channels:
            self.channels, self.maps = channels, default_maps(channels)
            self.channel = None if channels > 1 else 0
        self.planes = planes
        self.plane = min(self.plane, planes - 1)

    def act(self, action: str) -> bool:
        """Do an action of `KEYS`; returns False, and does nothing, when the action does not change a choice."""
        if action in get_args(DisplayMode):
            self.mode = action  # type: ignore[assignment]  # checked one line above
        elif action in get_args(RoiShape):
            self.tool = None if self.tool == action else action  # type: ignore[assignment]  # checked one line above
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
        index = AVERAGES.index(self.average_frames) + step
        self.average_frames = AVERAGES[min(max(index, 0), len(AVERAGES) - 1)]

    def _next_channel(self) -> None:
        if self.channels == 1:
            return
        if self.channel is None:
            self.channel = 0
        else:
            self.channel = self.channel + 1 if self.channel + 1 < self.channels else None
