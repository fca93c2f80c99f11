"""Data types of the frame path: a stream's description, its frames, their motion, gaps, and the end of the series.

A series is one acquisition. A source describes it once (`StreamInfo`), then delivers each frame (`Frame`) or reports
that it is missing (`Gap`), then ends the series (`StreamEnd`). All types are frozen.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError

Image = NDArray[np.float32]
"""Float32 pixels; each docstring states the shape."""

DTYPES = ("|u1", "<u2", "<i2", "<f4")
"""Pixel types that a stream may carry, as numpy type strings."""
MAX_CHANNELS = 8
"""Together with `MAX_SIDE` this bounds the memory that a stream can claim."""
MAX_SIDE = 8192
"""Largest number of lines, and of pixels in a line."""

Layout = Literal["collinear", "ordinary"]
Direction = Literal["forward", "backward"]
GapCause = Literal["source", "transport", "ring", "engine", "skipped", "sink"]
MotionStatus = Literal["tracked", "held", "foreign", "restarted"]


class FrameFlag(IntFlag):
    """Properties of one frame, as the source reports them (wire key ``flags``)."""

    NONE = 0
    SATURATED = 1
    INCOMPLETE = 2
    MOTION_CORRECTED = 4
    SOURCE_LOST_BEFORE = 8
    FLYBACK = 16
    TTL_HIGH = 32
    NOT_DENOISED = 64
    """Set by the session: the engine had failed, so these are the raw pixels, split and merged."""


@dataclass(frozen=True, slots=True)
class ScanGeometry:
    """How the lines of a frame were scanned."""

    layout: Layout = "ordinary"
    """``collinear``: lines 2k and 2k+1 scan the same tissue, once in each direction. ``ordinary``: every line scans
    other tissue."""
    bidirectional: bool = True
    """False when every line is scanned in the same direction."""
    first: Direction = "forward"
    """Direction of line 0."""
    mirrored: bool = True
    """True when the pixels of backward lines are already in image order; False when they are in sampling order."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further facts, passed on unchanged under their wire names (``f_res_hz``, ``dewarped``, ``phase_s`` …)."""

    def __post_init__(self) -> None:
        flags = isinstance(self.bidirectional, bool) and isinstance(self.mirrored, bool)
        if self.layout not in get_args(Layout) or self.first not in get_args(Direction) or not flags:
            raise StreamError(
                f"a scan of layout {self.layout!r}, bidirectional {self.bidirectional!r}, first {self.first!r} and "
                f"mirrored {self.mirrored!r}",
                expected="layout 'collinear' or 'ordinary', first 'forward' or 'backward', the others True or False",
                todo="correct the scan",
            )
        if self.layout == "collinear" and not self.bidirectional:
            raise StreamError(
                "a collinear scan that is not bidirectional",
                expected="collinear frames to hold forward and backward lines",
                todo="describe the scan as ordinary, or as bidirectional",
            )


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """Description of one series; sent once, before its first frame."""

    shape: tuple[int, int, int]
    """(C, Y, X): channels, lines as scanned (2N for collinear frames), pixels in a line."""
    dtype: np.dtype[Any]
    """Pixel type, one of `DTYPES`."""
    rate_hz: float
    """Frames per second, counted over all planes."""
    scan: ScanGeometry = field(default_factory=ScanGeometry)
    series: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Unique identifier of the series, new at each start."""
    source: str = "scope1"
    """Name of the sender, letters, digits, ``_`` and ``-``."""
    planes: int = 1
    """Number of planes, which are scanned in turn."""
    n_expected: int | None = None
    """Number of frames that the source announces; None when it runs until stopped."""
    parent: str | None = None
    """For a denoised stream, the identifier of its raw series; None for a raw stream."""
    user: Mapping[str, Any] = field(default_factory=dict)
    """Anything else that the sender wants recorded."""

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
    """Shift of one frame's content relative to the reference: rigid, and per strip of lines.

    Positive values mean that the content lies farther down (dy) and farther right (dx) than in the reference. Pixel
    (y, x) of the frame shows what the reference shows at (y - dy, x - dx).
    """

    dy: float
    """Rigid shift down, lines."""
    dx: float
    """Rigid shift to the right, pixels."""
    confidence: float
    """Height of the correlation peak above the mean of the other shifts' correlations, in their standard deviations;
    0 when nothing was measured."""
    status: MotionStatus
    """``tracked``: the shift was measured on this frame. ``held``: the measurement was too uncertain, so the last shift
    is used. ``foreign``: the frame is dark, saturated, broken or shows another place, and stays out of all averages.
    ``restarted``: this frame begins a new reference, with shift 0."""
    strip_dy: tuple[float, ...] = ()
    """Shift down of each strip of lines, added to `dy`: tissue moves while a frame is scanned. The strips have equal
    height; between their middles the shift is interpolated. Empty when the frame moved rigidly."""
    strip_dx: tuple[float, ...] = ()
    """Shift to the right of each strip, added to `dx`; as many strips as `strip_dy`."""

    @property
    def measured(self) -> bool:
        """True when the shift was measured on this frame: status ``tracked`` or ``restarted``."""
        return self.status in ("tracked", "restarted")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of one plane."""

    index: int
    """The source's number of this frame, counted over all planes."""
    pixels: NDArray[Any]
    """(C, Y, X) raw counts; treat as read-only."""
    t_ns: int = 0
    """Time at which the source sent the frame, nanoseconds since the Unix epoch on the source's clock; 0 if unknown."""
    arrived_ns: int = 0
    """Time at which this process received the frame, nanoseconds since the Unix epoch; 0 for frames from a file."""
    plane: int = 0
    """Number of the plane, from 0."""
    flags: FrameFlag = FrameFlag.NONE
    motion: Motion | None = None
    """Motion of the raw frame that a denoised frame was made from; None for raw frames and for engines that do not
    estimate motion."""
    line_phase_px: float | None = None
    """Measured line phase of the raw stream up to this frame: pixels by which backward lines lie to the right of
    forward lines. None before the first measurement, for raw frames, and for frames from the wire."""
    aligned_px: float = 0.0
    """Pixels by which backward lines were moved to the left before this frame was denoised."""
    acquired_s: float | None = None
    """Time at which the frame was acquired, seconds on the acquisition's own clock, whose zero is its own; None if
    unknown."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames that never arrived or were dropped on purpose."""

    first: int
    """Index of the first missing frame."""
    count: int
    """Number of missing frames."""
    cause: GapCause
    """``source``: never sent. ``transport``: lost on the network. ``ring``: the receive ring overflowed. ``engine``:
    denoising failed or was too slow. ``skipped``: left out on purpose, so that live output shows the present.
    ``sink``: the sink itself was too slow or had failed."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """End of a series."""

    reason: str
    """``done``, ``abort``, ``error``, ``timeout`` or ``replaced`` (another series began)."""


Event = StreamInfo | Frame | Gap | StreamEnd
"""What a source delivers, in this order: a `StreamInfo`, then frames and gaps, then a `StreamEnd`."""
