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
from deepbid_rt.wire.header import CHECK_SENDER, MAX_DEPTH, MAX_HEADER_BYTES, MAX_ITEMS, Header, is_plain, pack

SERIES = re.compile(r"[A-Za-z0-9-]{8,64}")
"""A series identifier. It becomes part of file names, so other characters are refused."""

MAX_BODY_BYTES = MAX_HEADER_BYTES - 16 * 1024
"""Largest start body that is sent. A beat repeats it and needs room for the status of the session."""

_DIRECTIONS: dict[str, Direction] = {"fwd": "forward", "bwd": "backward"}
_WORDS = {direction: word for word, direction in _DIRECTIONS.items()}
_SCAN_KEYS = ("layout", "bidi", "first", "mirrored")
_CARRIED = ("bits", "channels", "epoch_ns", "flyback_frames", "level", "pixel_um", "plane_z_um")
"""Keys of the start body that `StreamInfo` has no field for; they are kept in `StreamInfo.user`."""


def write_body(info: StreamInfo) -> tuple[dict[str, Any], list[str]]:
    """Return the start body of a series, and the names of facts that are left out as they do not fit a header.

    Facts are `StreamInfo.user` and `ScanGeometry.extra`. A received start that is legal may hold facts that fit only
    just, and to which this program adds some; the largest ones are then left out.
    """
    user, extra, left_out = dict(info.user), dict(info.scan.extra), []
    for facts, most in ((user, MAX_ITEMS), (extra, MAX_ITEMS - len(_SCAN_KEYS))):
        deep = [name for name, value in facts.items() if _too_deep(value)]
        fitting = [name for name in facts if name not in deep]
        for name in deep + fitting[most:]:
            del facts[name]
            left_out.append(name)
    body = _body(info, user, extra)
    size = len(pack(body))
    if size > MAX_BODY_BYTES:
        by_size = sorted(
            ((len(pack({name: value})), name, facts) for facts in (user, extra) for name, value in facts.items()),
            key=lambda fact: fact[:2],
        )
        while by_size and size > MAX_BODY_BYTES:
            bytes_, name, facts = by_size.pop()
            del facts[name]
            left_out.append(name)
            size -= bytes_ - 1  # a map of one entry has one byte of its own
        body = _body(info, user, extra)
    return body, left_out


def _too_deep(value: object) -> bool:
    # The body and the map of the facts are two levels. A value that is not plain is refused when it is packed.
    return is_plain(value, 64) and not is_plain(value, MAX_DEPTH - 2)


def _body(info: StreamInfo, user: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
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
            **extra,
            "layout": scan.layout,
            "bidi": scan.bidirectional,
            "first": _WORDS[scan.first],
            "mirrored": scan.mirrored,
        },
        "user": user,
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
