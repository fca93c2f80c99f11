"""Memory, and the number of files and connections that a process may open."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from deepbid_rt.checkup.finding import Finding

NEEDED_BYTES = 2 * 2**30
"""Free memory that a session needs: the receive ring takes up to 1 GiB, queues and engine the rest."""
SPARE_BYTES = 4 * 2**30
LEAST_DESCRIPTORS = 4096
"""Below this, many connections at once can use up the descriptors that recordings need."""


def check_memory(available: int | None = None) -> Finding:
    """Look at the memory that is free now, bytes."""
    free = psutil.virtual_memory().available if available is None else available
    text = f"{free / 2**30:.1f} GiB free"
    if free < NEEDED_BYTES:
        return Finding("memory", "problem", text, "end other programs: a session needs up to 2 GiB")
    if free < SPARE_BYTES:
        return Finding("memory", "warning", text, "end other programs during a session")
    return Finding("memory", "ok", text)


def check_descriptors(limit: Callable[[], int | None] | None = None) -> Finding:
    """Look at how many files and connections this process may have open."""
    count = (limit or _descriptors)()
    if count is None:
        return Finding("descriptors", "ok", "no limit that matters")
    if count < LEAST_DESCRIPTORS:
        todo = "raise it with ulimit -n 65536, or LimitNOFILE=65536 in a systemd unit"
        return Finding("descriptors", "warning", f"a limit of {count}", todo)
    return Finding("descriptors", "ok", f"a limit of {count}")


def _descriptors() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft
