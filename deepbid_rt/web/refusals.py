"""What the page has refused, by cause: counted always, logged now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Literal, get_args

log = logging.getLogger(__name__)

Cause = Literal["connections", "size", "slow", "token", "rate", "viewers", "error"]
"""``connections``: too many at a time. ``size``: a request too large. ``slow``: a request that did not arrive, or an
answer that was not read, in time. ``token``: a wrong token, or one that came too soon after wrong ones. ``rate``: too
many requests. ``viewers``: too many browsers at a time. ``error``: a request that failed here."""

INTERVAL_S = 60.0
"""One line of the log for each cause in this time, so that strangers cannot fill the log."""


class Refusals:
    """Counts refusals, and logs the first of each cause and then one a minute. Not thread-safe, but `counts` is.

    Parameters
    ----------
    clock : callable, optional
        Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[Cause, int] = dict.fromkeys(get_args(Cause), 0)
        self._logged_s: dict[Cause, float] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """Refusals so far, by cause."""
        return {str(cause): count for cause, count in self._counts.items()}

    def add(self, cause: Cause, peer: str, text: str, error: BaseException | None = None) -> None:
        """Count a refusal.

        Parameters
        ----------
        cause : Cause
        peer : str
            Who was refused.
        text : str
            What was refused, for the log.
        error : BaseException, optional
            What went wrong here, for the log.
        """
        self._counts[cause] += 1
        now_s = self._clock()
        if now_s - self._logged_s.get(cause, -INTERVAL_S) >= INTERVAL_S:
            self._logged_s[cause] = now_s
            log.warning("page: %s (%s; %d so far)", text, peer, self._counts[cause], exc_info=error)
