"""What travels: one frame and where the tissue lay in it, the description of its stream, the gap in their order.

Knows nothing of sockets, files or engines.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError

DTYPES = ("|u1", "<u2", "<i2", "<f4")
"""Pixel types that a stream may carry, as numpy type strings."""
MAX_CHANNELS = 8
MAX_SIDE = 8192
"""Largest number of lines, and of pixels in a line."""

Layout = Literal["collinear", "ordinary"]
Direction = Literal["forward", "backward"]
GapCause = Literal["source", "transport", "ring", "engine"]
MotionStatus = Literal["tracked", "held", "foreign", "restarted"]


class FrameFlag(IntFlag):
    """What a source says of one frame (wire key ``flags``)."""

    NONE = 0
    SATURATED = 1
    INCOMPLETE = 2
    MOTION_CORRECTED = 4
    SOURCE_LOST_BEFORE = 8
    FLYBACK = 16
    TTL_HIGH = 32


@dataclass(frozen=True, slots=True)
class ScanGeometry:
    """How the lines of a frame were scanned."""

    layout: Layout = "ordinary"
    """``collinear``: lines 2k and 2k+1 scan the same place, once in each direction; ``ordinary``: each line once."""
    bidirectional: bool = True
    """False when every line is scanned in the same direction."""
    first: Direction = "forward"
    """Direction of line 0."""
    mirrored: bool = True
    """True when backward lines already stand in image order; False when they stand in the order of their sampling."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Facts that are carried along untouched, under their wire names (``f_res_hz``, ``dewarped``, ``phase_s`` …)."""

    def __post_init__(self) -> None:
        if self.layout == "collinear" and not self.bidirectional:
            raise StreamError(
                "a collinear scan that is not bidirectional",
                expected="collinear frames to hold forward and backward lines",
                todo="describe the scan as ordinary, or as bidirectional",
            )


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is true of every frame of one series; sent once, before its first frame."""

    shape: tuple[int, int, int]
    """(C, Y, X): channels, lines as scanned (2N for collinear frames), pixels in a line."""
    dtype: np.dtype[Any]
    """Pixel type, one of `DTYPES`."""
    rate_hz: float
    """Frames per second, all planes counted."""
    scan: ScanGeometry = field(default_factory=ScanGeometry)
    series: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Identity of the series, new at each start."""
    source: str = "scope1"
    """Name of the sender, letters, digits, ``_`` and ``-``."""
    planes: int = 1
    """Planes that are scanned in turn; 1 for a single plane."""
    n_expected: int | None = None
    """Frames announced by the source; None when it runs until stopped."""
    parent: str | None = None
    """For a denoised stream, the series it was made from; None for a raw stream."""
    user: Mapping[str, Any] = field(default_factory=dict)
    """Anything else the sender wants recorded."""

    def __post_init__(self) -> None:
        channels, lines, pixels = self.shape
        if not (1 <= channels <= MAX_CHANNELS and 1 <= lines <= MAX_SIDE and 1 <= pixels <= MAX_SIDE):
            raise StreamError(
                f"frames of shape (C, Y, X) = {self.shape}",
                expected=f"1..{MAX_CHANNELS} channels and 1..{MAX_SIDE} lines and pixels",
                todo="check the sender's shape",
            )
        if self.dtype.str not in DTYPES:
            raise StreamError(
                f"pixels of type {self.dtype.str}",
                expected=f"one of {', '.join(DTYPES)}",
                todo="convert the movie to int16 before sending or opening it",
            )
        if not 0 < self.rate_hz < 1e6:
            raise StreamError(
                f"a frame rate of {self.rate_hz} Hz",
                expected="more than 0 and less than 1,000,000 Hz",
                todo="check the sender's rate",
            )
        if self.planes < 1:
            raise StreamError(
                f"{self.planes} planes", expected="at least 1", todo="check the sender's number of planes"
            )

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's pixels."""
        channels, lines, pixels = self.shape
        return channels * lines * pixels * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Motion:
    """Where one frame lies."""

    dy: float
    """Lines by which the content of the frame lies below that of the reference."""
    dx: float
    """Pixels by which it lies to the right."""
    confidence: float
    """Height of the correlation peak over the rest of the surface, in its standard deviations; 0 when not measured."""
    status: MotionStatus
    """``tracked``: measured. ``held``: too uncertain, the last shift is taken. ``foreign``: dark, saturated, broken or
    of another place; not to be remembered. ``restarted``: the reference begins with this frame, at shift 0."""
    strip_dy: tuple[float, ...] = ()
    """How much farther below each strip of lines lies than the frame: tissue moves while it is scanned. Strips are of
    equal height, between their middles it is interpolated. Empty: the frame moved as a whole."""
    strip_dx: tuple[float, ...] = ()
    """The same to the right; as many strips."""

    @property
    def accepted(self) -> bool:
        """True when the shift was measured on this frame."""
        return self.status in ("tracked", "restarted")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of one plane."""

    index: int
    """The source's own number of this frame, counted over all planes."""
    pixels: NDArray[Any]
    """(C, Y, X) in raw counts; treat as read-only."""
    t_ns: int = 0
    """When the source sent the frame, nanoseconds since the Unix epoch on the source's clock; 0 when unknown."""
    arrived_ns: int = 0
    """When this process received the frame, nanoseconds since the Unix epoch; 0 for frames from a file."""
    plane: int = 0
    flags: FrameFlag = FrameFlag.NONE
    motion: Motion | None = None
    """Where a denoised frame lay before it was denoised; None for raw frames and engines that do not estimate it."""
    line_phase_px: float | None = None
    """Pixels by which backward lines of the raw stream lay further right than forward lines, as measured up to this
    frame; None where it is not known, for raw frames, and for frames from the wire."""
    aligned_px: float = 0.0
    """Pixels by which they were moved to the left before this frame was denoised."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames that never came, or were given up on purpose."""

    first: int
    """Index of the first missing frame."""
    count: int
    """How many frames are missing."""
    cause: GapCause
    """``source``: never sent; ``transport``: lost on the wire; ``ring``: receive ring overrun; ``engine``: too slow."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The series is over."""

    reason: str
    """``done``, ``abort``, ``error``, ``timeout`` or ``replaced`` (a new series began)."""


Event = StreamInfo | Frame | Gap | StreamEnd
"""What a source hands out, in order: a `StreamInfo`, then frames and gaps, then a `StreamEnd`."""
