"""The number of files and connections that this process may have open."""

from __future__ import annotations

import logging
import sys

log = logging.getLogger(__name__)

ENOUGH = 65_536
"""Descriptors that are enough for any session; more are not asked for."""


def raise_descriptor_limit() -> int | None:
    """Raise the limit to the largest that this process may have; call it before anything is bound or recorded.

    Every connection takes a descriptor, and so does every file of a recording.

    Returns
    -------
    int or None
        The limit now; None where there is none, as on Windows.
    """
    if sys.platform == "win32":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        # The limits of connections hold anyway; there is only less room.
        log.warning("at most %d files and connections can be open, and this cannot be changed: %s", soft, error)
        return soft
    return wanted
