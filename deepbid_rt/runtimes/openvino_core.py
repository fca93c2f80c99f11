"""`core`: the only `openvino.Core` of a process.

Each `openvino.Core` with a CPU plugin sets an alternative stack for signal handlers of its thread, and restores the
previous one when it is destroyed. Two cores that are not destroyed in reverse order leave a freed stack in place, and
the next Ctrl-C ends in a segmentation fault (found with OpenVINO 2026.4). One core that is never destroyed is safe.
"""

from __future__ import annotations

import functools

import openvino


@functools.cache
def core() -> openvino.Core:
    """Return the core; it is created at the first call."""
    return openvino.Core()
