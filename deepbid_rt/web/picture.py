"""A pair of frames as one JPEG: raw on the left, denoised on the right, both with the same contrast.

Pure; knows no server. For looking at, not for measuring.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepbid_rt.frame import FrameFlag, StreamInfo
from deepbid_rt.motion.registration import Registration
from deepbid_rt.scan.directions import Merge
from deepbid_rt.scan.splitter import ScanSplitter
from deepbid_rt.web.latest_frames import Pair

MOST_SIDE = 768
"""Lines and pixels of one panel; larger frames are shown at every second, third ... line and pixel."""
_SAMPLE = 2**14
"""Pixels that the contrast is judged by."""
_PERCENTILES = 0.5, 99.8
_HEADROOM = 0.3
"""White lies above the bright percentile by this share of the range: raw frames, and transients, reach higher."""
_FOLLOW = 0.15
_QUALITY = 88


@dataclass(frozen=True)
class Picture:
    """One encoded pair."""

    serial: int
    index: int
    """Number of the frame."""
    black: float
    white: float
    """Counts that are shown black and white."""
    jpeg: bytes


class Painter:
    """Paints the pairs of one plane and channel, one after the other.

    The contrast is that of the denoised frame, followed slowly so that it does not flicker, and the same on both
    sides so that the comparison is fair. Raw frames are merged as the denoised ones were, and registered as they were.

    Parameters
    ----------
    merge : {"mean", "forward", "backward", "interleave"}
        How denoised frames are merged.
    channel : int
        Which channel is shown; one that frames do not have stands for the last.
    """

    def __init__(self, merge: Merge, channel: int = 0) -> None:
        self._merge: Merge = merge
        self._channel = channel
        self._series = ""
        self._limits: tuple[float, float] | None = None
        self._registration = Registration()

    def paint(self, pair: Pair) -> Picture:
        """Return the picture of a pair. Pixels that are not finite are black."""
        if pair.info.series != self._series:
            self._series, self._limits, self._registration = pair.info.series, None, Registration()
        raw = self._raw_like_denoised(pair)
        panels = [_small(pixels[min(self._channel, len(pixels) - 1)]) for pixels in (raw, pair.denoised.pixels)]
        black, white = self._follow(panels[1])
        grey = np.hstack([_grey(panel, black, white) for panel in panels])
        file = io.BytesIO()
        Image.fromarray(grey).save(file, "JPEG", quality=_QUALITY)
        return Picture(pair.serial, pair.denoised.index, black, white, file.getvalue())

    def _raw_like_denoised(self, pair: Pair) -> NDArray[np.generic]:
        info: StreamInfo = pair.info
        views = ScanSplitter(info, self._merge)
        split = views.split(pair.raw.pixels).astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):  # holes stay holes
            if pair.denoised.motion and pair.denoised.flags & FrameFlag.MOTION_CORRECTED:
                split = self._registration.apply(split, pair.denoised.motion)
            return views.join(split)

    def _follow(self, panel: NDArray[np.float32]) -> tuple[float, float]:
        sample = panel.ravel()[:: max(1, panel.size // _SAMPLE)]
        sample = sample[np.isfinite(sample)]
        low, high = (float(level) for level in np.percentile(sample, _PERCENTILES)) if sample.size else (0.0, 0.0)
        high += _HEADROOM * (high - low)
        if self._limits is not None:
            low, high = (old + _FOLLOW * (new - old) for old, new in zip(self._limits, (low, high), strict=True))
        self._limits = low, high
        return low, high if high > low else low + max(1.0, abs(low) / 1000)


def _small(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    step = -(-max(pixels.shape) // MOST_SIDE)
    return pixels[::step, ::step].astype(np.float32)


def _grey(panel: NDArray[np.float32], black: float, white: float) -> NDArray[np.uint8]:
    finite = np.where(np.isfinite(panel), panel, black)
    scaled = (np.clip(finite, black, white) - black) * (255 / (white - black))
    grey: NDArray[np.uint8] = np.rint(scaled).astype(np.uint8)
    return grey
