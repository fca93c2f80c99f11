"""The one OpenVINO of a process.

Each `openvino.Core` with a CPU plugin gives its thread an alternative stack for signal handlers, and puts back the
one before it when it goes. Two that do not go in the reverse order of their coming leave a stack that is freed, and the
next Ctrl-C is a segmentation fault (seen with OpenVINO 2026.4). One that never goes cannot.
"""

from __future__ import annotations

import functools

import openvino


@functools.cache
def core() -> openvino.Core:
    """Return it, made when first asked for."""
    return openvino.Core()
