"""Limits how often tokens can be tried."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from deepbid_rt.web.pace import Pace

FREE = 5
"""Wrong tokens that a peer may send before it must wait: a person who mistypes is not held up."""
LONGEST_WAIT_S = 300.0
"""Longest wait after a wrong token; the wait doubles with each one."""
TOTAL_PER_S = 1.0
"""Wrong tokens per second from all peers together that have never sent the right one. At this rate, the shortest token
would be found after about 10**14 years."""
TOTAL_BURST = 30
"""Wrong tokens that may come from all of them at once."""
MAX_PEERS = 1024
"""Peers that are remembered; of those without a right token, the one whose last attempt is the oldest is forgotten."""


@dataclass(slots=True)
class _Peer:
    wrong: int = 0
    next_s: float = 0.0
    known: bool = False


class Attempts:
    """Counts wrong tokens, for each peer and in total, and tells how long the next one must wait.

    While a peer must wait, right tokens are refused as well: otherwise it could go on trying. Not thread-safe.

    Parameters
    ----------
    clock : callable, optional
        Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._peers: OrderedDict[str, _Peer] = OrderedDict()
        self._total = Pace(TOTAL_PER_S, TOTAL_BURST, clock=clock)

    def wait_s(self, peer: str) -> float:
        """Return how long a peer must wait before it may send a token, seconds; 0 when it may send one now."""
        entry = self._peers.get(peer, _Peer())
        own_s = max(0.0, entry.next_s - self._clock())
        return own_s if entry.known else max(own_s, self._total.wait_s())

    def failed(self, peer: str) -> None:
        """Count a wrong token."""
        entry = self._entry(peer)
        entry.wrong += 1
        if entry.wrong >= FREE:
            entry.next_s = self._clock() + min(2.0 ** (entry.wrong - FREE), LONGEST_WAIT_S)
        if not entry.known:
            self._total.take()

    def succeeded(self, peer: str) -> None:
        """Forget the wrong tokens of a peer that has sent the right one. Other peers cannot lock it out any more."""
        entry = self._entry(peer)
        entry.wrong, entry.known = 0, True

    def _entry(self, peer: str) -> _Peer:
        entry = self._peers.setdefault(peer, _Peer())
        self._peers.move_to_end(peer)
        if len(self._peers) > MAX_PEERS:
            stranger = next((name for name, each in self._peers.items() if not each.known), next(iter(self._peers)))
            del self._peers[stranger]
        return entry
