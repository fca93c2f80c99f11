"""The start body: the wire form of `StreamInfo`.

Start messages and beats carry it. Every message carries its hash.
"""

from __future__ import annotations

import re
from typing import Any, cast, get_args

import numpy as np

from deepbid_rt import __version__
from deepbid_rt.errors import StreamError, WireError
from deepbid_rt.frame import DTYPES, MAX_CHANNELS, MAX_SIDE, Direction, Layout, ScanGeometry, StreamInfo
from deepbid_rt.wire.header import CHECK_SENDER, Header

SERIES = re.compile(r"[A-Za-z0-9-]{8,64}")
"""A series identifier. It becomes part of file names, so other characters are refused."""

_DIRECTIONS: dict[str, Direction] = {"fwd": "forward", "bwd": "backward"}
_WORDS = {direction: word for word, direction in _DIRECTIONS.items()}
_SCAN_KEYS = ("layout", "bidi", "first", "mirrored")
_CARRIED = ("bits", "channels", "epoch_ns", "flyback_frames", "level", "pixel_um", "plane_z_um")
"""Keys of the start body that `StreamInfo` has no field for; they are kept in `StreamInfo.user`."""


def write_body(info: StreamInfo) -> dict[str, Any]:
    """Return the start body of a series."""
    scan = info.scan
    return {
        "app": {"name": "deepbid-rt", "version": __version__},
        "shape": list(info.shape),
        "dtype": info.dtype.str,
        "rate_hz": info.rate_hz,
        "planes": info.planes,
        "n_expected": info.n_expected,
        "parent": info.parent,
        "scan": {
            **scan.extra,
            "layout": scan.layout,
            "bidi": scan.bidirectional,
            "first": _WORDS[scan.first],
            "mirrored": scan.mirrored,
        },
        "user": dict(info.user),
    }


def read_body(header: Header, source: str, default_layout: Layout | None) -> StreamInfo:
    """Return the description of a series from the header of its start message or of a beat.

    Raises
    ------
    WireError
        When a value is missing, wrong or contradicts another; when neither the body nor `default_layout` gives the
        scan layout (error kind ``layout``).
    """
    parent = header.values.get("parent")
    if parent is not None and not SERIES.fullmatch(header.text("parent")):
        raise header.refusal("parent", "a series id or nil")
    shape, dtype = read_shape(header), read_dtype(header)
    scan = header.section("scan")
    if scan.values.get("layout") is None and default_layout is None:
        raise WireError(
            "layout",
            "a start message without a scan layout",
            expected="scan.layout to be collinear or ordinary",
            todo="let the sender give it, or choose --scan collinear or --scan ordinary",
        )
    carried = {key: header.values[key] for key in _CARRIED if header.values.get(key) is not None}
    try:
        return StreamInfo(
            shape=shape,
            dtype=dtype,
            rate_hz=header.number("rate_hz"),
            scan=ScanGeometry(
                layout=cast("Layout", scan.choice("layout", get_args(Layout), default=default_layout)),
                bidirectional=scan.boolean("bidi", default=True),
                first=_DIRECTIONS[scan.choice("first", tuple(_DIRECTIONS), default="fwd")],
                mirrored=scan.boolean("mirrored", default=True),
                extra={key: value for key, value in scan.values.items() if key not in _SCAN_KEYS},
            ),
            series=header.text("sid"),
            source=source,
            planes=header.integer("planes", low=1, high=4096, default=1),
            n_expected=header.integer_or_none("n_expected"),
            parent=parent,
            user={**carried, **header.section("user").values},
        )
    except StreamError as error:
        raise WireError("start", error.came, expected=error.expected, todo=CHECK_SENDER) from error


def read_shape(header: Header) -> tuple[int, int, int]:
    """Return (C, Y, X) within the limits of the protocol."""
    limits = (MAX_CHANNELS, MAX_SIDE, MAX_SIDE)
    shape = header.values.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) != len(limits)
        or not all(type(side) is int and 1 <= side <= limit for side, limit in zip(shape, limits, strict=True))
    ):
        raise header.refusal("shape", f"[C, Y, X], at least 1 and at most {list(limits)}", kind="shape")
    return cast("tuple[int, int, int]", tuple(shape))


def read_dtype(header: Header) -> np.dtype[Any]:
    """Return one of the pixel types of the protocol."""
    if header.values.get("dtype") not in DTYPES:
        raise header.refusal("dtype", f"one of {', '.join(DTYPES)}", kind="dtype")
    return np.dtype(header.text("dtype"))
