"""How much memory a denoiser takes, told from the card of its engine and the description of the series.

A card and a start message come from elsewhere. What they ask for is compared with what is free before anything is
allocated, because an allocation that is too large ends the process, or makes the computer unusable.
"""

from __future__ import annotations

import psutil

from deepbid_rt.card import STREAMING, ModelCard
from deepbid_rt.denoising.network_inputs import padded_size
from deepbid_rt.errors import StreamError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.motion.temporal_averages import MARGIN
from deepbid_rt.scan.directions import view_line_counts

_FLOAT = 4  # bytes of a float32
_RUNTIME = 40 * 2**20
"""Bytes of a runtime that has compiled a network, beside what grows with the frames."""
_STREAM_NETWORK = 300
"""Bytes for each pixel of a view while the network of a stream engine runs. Measured: 200 to 270 (widths 16 to 48)."""
_WINDOW_NETWORK = 370
"""The same of a window engine of width 16, for each pixel and frame of the window. Measured: 200 to 220 on processors
with AVX-512, 350 on one without."""
_WINDOW_WIDTH = 16
_SCRATCH = 64
"""Bytes for each pixel of a view: a few arrays in float64 while a frame is prepared."""
_TABLES = 48
"""Bytes for each pixel that the motion is measured on: spectra and tables."""
_MOTION_PIXELS = 512**2
"""Largest number of pixels that the motion is measured on."""
_RESERVE = 1.1
"""Factor for what the other numbers leave out; an estimate that is too low would be of no use."""
KEPT_FREE = 256 * 2**20
"""Bytes that are left to everything else."""


def estimate_memory(info: StreamInfo, card: ModelCard, *, frames_waiting: int = 0) -> int:
    """Return about how many bytes of the computer's memory denoising a series takes at most.

    The largest need comes when the calibration is complete and its frames are denoised together. Measured needs are
    between a half and the whole of this estimate. What an engine keeps on a GPU is not counted.

    Parameters
    ----------
    info : StreamInfo
        The raw series.
    card : ModelCard
        Of the engine.
    frames_waiting : int
        Raw frames that may wait in queues.
    """
    channels, lines, columns = info.shape
    collinear = info.scan.layout == "collinear"
    views = 2 if collinear else 1
    rows = max(view_line_counts(lines, info.scan)) if collinear else lines
    padded_rows, padded_columns = padded_size((rows, columns), card.grid)
    pixels = padded_rows * padded_columns
    frame = channels * views * pixels
    normalization = card.normalization
    calibrated = 0 if normalization.rule == "fixed" else normalization.frames
    waiting = calibrated * frame * info.dtype.itemsize  # in each plane until it is calibrated
    if card.kind in STREAMING:
        tissue = (rows + 2 * MARGIN) * (columns + 2 * MARGIN)
        recalled = channels * pixels * (len(card.memories) + 1) * _FLOAT
        context = frame * _FLOAT + recalled + channels * pixels * card.look_ahead * _FLOAT
        averages = 2 * len(card.memories) * tissue * _FLOAT  # of one channel
        plane = channels * averages + (card.look_ahead + 1) * context + _TABLES * min(pixels, _MOTION_PIXELS)
        network = _STREAM_NETWORK * pixels if card.kind == "stream" else 0
        # The first frames are averaged with each other; then the network denoises them. Not both at the same time.
        averaging = calibrated * (context + recalled + 2 * tissue * _FLOAT) + averages
        at_once = max(averaging, calibrated * (context + frame * _FLOAT) + network)
    else:
        plane = 2 * card.window * frame * _FLOAT
        width = card.training.get("width")
        wider = max(width / _WINDOW_WIDTH, 1.0) if isinstance(width, int) else 1.0
        at_once = int(_WINDOW_NETWORK * wider * pixels * card.window) if card.kind == "window" else 0
    at_once += _SCRATCH * frame if calibrated else 4 * _FLOAT * frame
    runtime = _RUNTIME if card.kind in ("stream", "window") else 0
    needed = runtime + at_once + info.planes * (plane + waiting)
    return int(_RESERVE * needed) + frames_waiting * info.frame_bytes


def check_memory(info: StreamInfo, card: ModelCard, *, frames_waiting: int = 0, free_bytes: int | None = None) -> None:
    """Refuse a series for which there is too little memory, before anything is allocated.

    Parameters
    ----------
    info, card, frames_waiting
        See `estimate_memory`.
    free_bytes : int, optional
        Free memory; asked from the system if left out.

    Raises
    ------
    StreamError
        When the series would leave less than `KEPT_FREE` bytes.
    """
    needed = estimate_memory(info, card, frames_waiting=frames_waiting)
    free = psutil.virtual_memory().available if free_bytes is None else free_bytes
    if needed + KEPT_FREE > free:
        planes = f" in {info.planes} planes" if info.planes > 1 else ""
        raise StreamError(
            f"frames of (C, Y, X) = {info.shape}{planes}, for which engine {card.name!r} needs about "
            f"{_gigabytes(needed)} of memory, with {_gigabytes(free)} free",
            expected=f"a need of at most {_gigabytes(max(free - KEPT_FREE, 0))}",
            todo="correct the size in the start message, choose a smaller engine or smaller frames, or close other "
            "programs",
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
