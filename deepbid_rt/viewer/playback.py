"""What is shown of what came: live, or paused and looking back. Knows no clock, stream or screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from deepbid_rt.viewer.pair import Pair
from deepbid_rt.wire.source_status import SourceState

ViewState = Literal["waiting", "live", "paused", "stalled", "lost", "ended"]
"""``paused`` concerns the view alone; the others are those of the stream, see `SourceState`."""


class Playback:
    """Live, or held.

    ::

        live <-- pause / resume --> paused (step, seek)

    Pausing takes hold of the history as it is: the stream goes on, and nothing that is looked at is thrown away.
    """

    def __init__(self) -> None:
        self._held: tuple[Pair, ...] | None = None
        self._at = 0
        self._live: Pair | None = None

    @property
    def paused(self) -> bool:
        """True while the view stands still."""
        return self._held is not None

    @property
    def held(self) -> tuple[Pair, ...]:
        """What can be looked at while paused, oldest first."""
        return self._held or ()

    @property
    def place(self) -> int:
        """Number of the shown pair within `held`."""
        return self._at

    @property
    def shown(self) -> Pair | None:
        """The pair to show."""
        return self._held[self._at] if self._held else self._live

    @property
    def back_s(self) -> float:
        """Seconds between the shown pair and the newest that was there when the view was paused."""
        return (self._held[-1].t_ns - self._held[self._at].t_ns) / 1e9 if self._held else 0.0

    def state(self, source: SourceState) -> ViewState:
        """Return the state of the view, given that of the stream."""
        return "paused" if self.paused else source

    def feed(self, pair: Pair) -> bool:
        """Take the newest pair; returns whether it is to be shown."""
        self._live = pair
        return not self.paused

    def pause(self, pairs: Sequence[Pair]) -> None:
        """Stand still at the newest of `pairs`; without any there is nothing to hold."""
        if pairs and not self.paused:
            self._held, self._at = tuple(pairs), len(pairs) - 1

    def resume(self) -> None:
        """Go on with the newest."""
        self._held = None

    def seek(self, place: int) -> None:
        """Show the pair with this number within `held`, or the nearest that there is."""
        if self._held:
            self._at = min(max(place, 0), len(self._held) - 1)

    def step(self, count: int) -> None:
        """Go so many pairs on (or back, when negative)."""
        self.seek(self._at + count)

    def before(self) -> Sequence[Pair]:
        """Return what came up to the shown pair, while paused."""
        return self._held[: self._at + 1] if self._held else ()
