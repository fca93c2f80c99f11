"""A pair of frames as one JPEG: raw on the left, denoised on the right, with the same contrast.

The picture is for looking, not for measuring. Where the denoised frame was not denoised, its side says so.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deepbid_rt.frame import FrameFlag, StreamInfo
from deepbid_rt.motion.frame_registration import Registration
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.splitter import ScanSplitter
from deepbid_rt.web.latest_frames import LatestPair

MAX_PANEL_SIDE = 768
"""Largest side of one panel in pixels; of larger frames every n-th line and pixel is shown."""
_CONTRAST_PIXELS = 2**14
"""Pixels that the contrast is computed from; enough for its percentiles, and fast."""
_PERCENTILES = 0.5, 99.8
"""Percentiles of the denoised frame; the first is black, and white is above the second, see `_HEADROOM`."""
_HEADROOM = 0.3
"""White is above the upper percentile by this share of the range, as raw frames and transients are brighter."""
_SMOOTHING = 0.15
"""Share of the new contrast in each picture, to avoid flicker; the rest is the contrast of the picture before."""
_JPEG_QUALITY = 88
MARK = "NOT DENOISED: raw"
"""The words on a frame that holds raw pixels because the engine had failed."""
_MARK_COLOR = (200, 0, 30)
_MARKED_SIDE = 256
"""Smaller panels with a mark are enlarged to about this size, so that its words can be read."""
_SMALLEST_FONT = 8


@dataclass(frozen=True)
class PairPicture:
    """A pair of frames, encoded as JPEG."""

    serial: int
    """Serial of the pair."""
    index: int
    """Number of the frame."""
    black: float
    white: float
    """Counts shown black and white."""
    jpeg: bytes
    arrived_s: float
    """When the raw frame arrived at the session, monotonic seconds."""
    not_denoised: bool
    """True when both sides are raw; the right one then has a frame around it and the words `MARK`."""


class PairPainter:
    """Makes the pictures of consecutive pairs of one plane and channel.

    The contrast is that of the denoised frame, smoothed over time so that it does not flicker. It is the same on both
    sides, so that the comparison is fair. Raw frames are merged and registered as the denoised frames were.

    Parameters
    ----------
    merge : {"mean", "forward", "backward", "interleave"}
        How denoised frames are merged.
    channel : int
        The channel to show; if frames have fewer channels, their last one.
    """

    def __init__(self, merge: MergeMode, channel: int = 0) -> None:
        self._merge: MergeMode = merge
        self._channel = channel
        self._series = ""
        self._limits: tuple[float, float] | None = None
        self._registration = Registration()

    def paint(self, pair: LatestPair) -> PairPicture:
        """Return the picture of the next pair. Pixels that are not finite are black."""
        if pair.info.series != self._series:
            self._series, self._limits, self._registration = pair.info.series, None, Registration()
        raw = self._raw_like_denoised(pair)
        panels = [_small(pixels[min(self._channel, len(pixels) - 1)]) for pixels in (raw, pair.denoised.pixels)]
        black, white = self._follow(panels[1])
        left, right = (_grey(panel, black, white) for panel in panels)
        image = _marked(left, right) if pair.not_denoised else Image.fromarray(np.hstack([left, right]))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=_JPEG_QUALITY)
        index, jpeg = pair.denoised.index, file.getvalue()
        return PairPicture(pair.serial, index, black, white, jpeg, pair.arrived_s, pair.not_denoised)

    def _raw_like_denoised(self, pair: LatestPair) -> NDArray[np.generic]:
        info: StreamInfo = pair.info
        views = ScanSplitter(info, self._merge)
        split = views.split(pair.raw.pixels).astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):  # pixels that are not finite stay so
            if pair.denoised.motion and pair.denoised.flags & FrameFlag.MOTION_CORRECTED:
                split = self._registration.apply(split, pair.denoised.motion)
            return views.join(split)

    def _follow(self, panel: NDArray[np.float32]) -> tuple[float, float]:
        sample = panel.ravel()[:: max(1, panel.size // _CONTRAST_PIXELS)]
        sample = sample[np.isfinite(sample)]
        low, high = (float(level) for level in np.percentile(sample, _PERCENTILES)) if sample.size else (0.0, 0.0)
        high += _HEADROOM * (high - low)
        if self._limits is not None:
            low, high = (old + _SMOOTHING * (new - old) for old, new in zip(self._limits, (low, high), strict=True))
        self._limits = low, high
        return low, high if high > low else low + max(1.0, abs(low) / 1000)


def _small(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    step = -(-max(pixels.shape) // MAX_PANEL_SIDE)
    return pixels[::step, ::step].astype(np.float32)


def _grey(panel: NDArray[np.float32], black: float, white: float) -> NDArray[np.uint8]:
    finite = np.where(np.isfinite(panel), panel, black)
    scaled = (np.clip(finite, black, white) - black) * (255 / (white - black))
    grey: NDArray[np.uint8] = np.rint(scaled).astype(np.uint8)
    return grey


def _marked(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Image.Image:
    """Return both panels as one picture, the right one with a frame around it and the words `MARK`."""
    lines, pixels = right.shape
    enlarge = max(1, min(-(-_MARKED_SIDE // pixels), MAX_PANEL_SIDE // max(lines, pixels)))
    panels = [panel.repeat(enlarge, axis=0).repeat(enlarge, axis=1) for panel in (left, right)]
    image = Image.fromarray(np.hstack(panels)).convert("RGB")
    height, width = panels[1].shape
    draw = ImageDraw.Draw(image)
    rim = max(1, min(height, width) // 64)
    draw.rectangle((width, 0, 2 * width - 1, height - 1), outline=_MARK_COLOR, width=rim)
    size = max(_SMALLEST_FONT, width // 14)
    font = ImageFont.load_default(size)
    while size > _SMALLEST_FONT and draw.textlength(MARK, font) > width - 4 * rim:
        size -= 1
        font = ImageFont.load_default(size)
    bar = size + size // 2 + rim
    # On a panel too small for the words, the frame alone remains; the page says the words beside it.
    if draw.textlength(MARK, font) <= width - 2 * rim and bar < height:
        draw.rectangle((width, 0, 2 * width - 1, bar), fill=_MARK_COLOR)
        draw.text((width + width // 2, (rim + bar) // 2), MARK, fill="white", font=font, anchor="mm")
    return image
