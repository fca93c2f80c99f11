"""Arguments of the CUDA kernels: the structs of ``kernels/plane.cuh``, field by field in the same order.

``plane.cuh`` explains each field; ``tests/runtimes/gpu/test_kernels.py`` compares names and types.
"""

from __future__ import annotations

import ctypes
from typing import Any

_P, _I, _F = ctypes.c_void_p, ctypes.c_int, ctypes.c_double
Fields = list[tuple[str, Any]]


def _of(kind: Any, names: str) -> Fields:
    """Return fields of one type from their names, separated by spaces."""
    return [(name, kind) for name in names.split()]


class State(ctypes.Structure):
    """State after the frames so far; before the first frame all fields are 0 except `variance`."""

    _fields_ = _of(
        _F,
        "dy dx known tracked misfits seen mean deviation grain drift_y drift_x origin_y origin_x variance "
        "verdict place_y place_x step_y step_x gain",
    )


class Line(ctypes.Structure):
    """Where a line of the frame lies in the temporal averages; filled on the device."""

    _fields_ = _of(_I, "top left") + _of(ctypes.c_float, "down right") + _of(_I, "row column")


class Frame(ctypes.Structure):
    """Arrays and geometry of a frame, from raw counts to the denoised image."""

    _fields_ = _of(
        _P,
        "raw image sources source_weights offset inverse scale bias units mean together padded_rows padded_columns "
        "given answers excess",
    ) + _of(
        _I,
        "type channels lines rows columns views first_backward aligned turned passes merge merged_lines padded_height "
        "padded_width",
    )


class Stabilizer(ctypes.Structure):
    """Arrays and settings of rigid motion estimation."""

    _fields_ = (
        _of(
            _P,
            "state places note strips line_sums crop_sums taper band waves_y waves_x crop sweep spectrum reference "
            "amplitudes near turns",
        )
        + _of(
            _F,
            "confident locked patience reference_gain norm_gain jump jumps coarser drift_gain margin",
        )
        + _of(_I, "still pitch top left height width far_y far_x")
    )


class LineShifts(ctypes.Structure):
    """Arrays and settings of motion estimation within a frame."""

    _fields_ = _of(_P, "state places note strips remembered differences sums") + _of(
        _F, "step limit tether variance_gain least_variance margin"
    )


class Level(ctypes.Structure):
    """A frame and the average of its place at one resolution."""

    _fields_ = _of(_P, "image remembered") + _of(_I, "rows columns halvings last")


class Memory(ctypes.Structure):
    """Temporal averages before a frame, and after it."""

    _fields_ = _of(_P, "means weights next_means next_weights gains ages") + _of(_I, "depth margin height width")


KERNELS: dict[str, tuple[type[ctypes.Structure], ...]] = {
    "unpack": (Frame,),
    "average": (Frame, Stabilizer),
    "transform_lines": (Stabilizer,),
    "transform_columns": (Stabilizer,),
    "correlate_columns": (Stabilizer,),
    "correlate_lines": (Stabilizer,),
    "judge": (Frame, Stabilizer),
    "follow_reference": (Stabilizer,),
    "compare": (Frame, LineShifts, Memory),
    "smooth": (Frame, LineShifts, Level, Level),
    "measure_slopes": (LineShifts, Level),
    "solve": (Frame, LineShifts, Level),
    "recall": (Frame, Memory, Stabilizer),
    "finish": (Frame,),
    "update": (Frame, Memory, Stabilizer),
    "age": (Memory,),
}
"""Arguments of each kernel, all passed by value."""
