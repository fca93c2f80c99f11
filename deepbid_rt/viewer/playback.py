"""Which pair is shown: the newest one, or one of those kept when the user paused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from deepbid_rt.viewer.image_pair import ImagePair
from deepbid_rt.wire.source_status import SourceState

ViewerState = Literal["waiting", "undescribed", "live", "paused", "stalled", "lost", "ended"]
"""``paused`` concerns the viewer alone; the others are states of the stream, see `SourceState`."""


class Playback:
    """Live or paused.

    ::

        live <-- pause / resume --> paused (step, seek)

    `pause` keeps the pairs it is given. The stream goes on meanwhile, and none of the kept pairs is lost.
    """

    def __init__(self) -> None:
        self._held: tuple[ImagePair, ...] | None = None
        self._position = 0
        self._newest: ImagePair | None = None

    @property
    def paused(self) -> bool:
        """True between `pause` and `resume`."""
        return self._held is not None

    @property
    def held(self) -> tuple[ImagePair, ...]:
        """The pairs that can be shown while paused, oldest first."""
        return self._held or ()

    @property
    def position(self) -> int:
        """Index of the shown pair in `held`."""
        return self._position

    @property
    def shown(self) -> ImagePair | None:
        """The pair to show."""
        return self._held[self._position] if self._held else self._newest

    @property
    def back_s(self) -> float:
        """Seconds between the shown pair and the newest of `held`; 0 while live."""
        return (self._held[-1].t_ns - self._held[self._position].t_ns) / 1e9 if self._held else 0.0

    def state(self, source: SourceState) -> ViewerState:
        """Return the state of the viewer, given that of the stream."""
        return "paused" if self.paused else source

    def push(self, pair: ImagePair) -> bool:
        """Take the newest pair; returns True when it is shown, False while paused."""
        self._newest = pair
        return not self.paused

    def pause(self, pairs: Sequence[ImagePair]) -> None:
        """Keep `pairs` and show the newest of them. Does nothing without pairs or when already paused."""
        if pairs and not self.paused:
            self._held, self._position = tuple(pairs), len(pairs) - 1

    def resume(self) -> None:
        """Show the newest pair of the stream again."""
        self._held = None

    def seek(self, position: int) -> None:
        """Show the pair at this index of `held`; an index outside is moved to the nearest end."""
        if self._held:
            self._position = min(max(position, 0), len(self._held) - 1)

    def step(self, count: int) -> None:
        """Move by `count` pairs; a negative count moves back."""
        self.seek(self._position + count)

    def up_to_shown(self) -> Sequence[ImagePair]:
        """Return the held pairs up to the shown one, oldest first; empty while live."""
        return self._held[: self._position + 1] if self._held else ()
