"""Channels that a denoiser passes through beside those that it denoises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Motion, StreamInfo
from deepbid_rt.motion.frame_registration import Registration
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.splitter import ScanSplitter


def check_channels(channels: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Return the channels to denoise in ascending order: all of `count` when None is given.

    Raises
    ------
    StreamError
        When there is no such channel, or none at all, or one is named twice.
    """
    if channels is None:
        return tuple(range(count))
    chosen = sorted(channels)
    if not chosen or len(set(chosen)) < len(chosen) or chosen[0] < 0 or chosen[-1] >= count:
        raise StreamError(
            f"channels {', '.join(map(str, channels)) or 'none'} to be denoised of a stream of {count}",
            expected=f"one or more of the channels 0 to {count - 1}, each once" if count > 1 else "channel 0",
            todo="correct the channels to denoise, or leave them out to denoise all",
        )
    return tuple(chosen)


class PassedChannels:
    """Keeps the channels of one plane that are not denoised until the others are, and joins both to frames.

    They get the same geometry as the denoised channels: backward lines in image order, the line phase corrected, the
    views of a collinear frame merged, and, with `stabilize`, the same registration.

    Parameters
    ----------
    info : StreamInfo
        The raw series.
    splitter : ScanSplitter
        Geometry of the series.
    denoised : sequence of int
        Channels that are denoised, ascending.
    stabilize : bool
        Register them with the motion of the denoised channels.
    """

    def __init__(self, info: StreamInfo, splitter: ScanSplitter, denoised: Sequence[int], *, stabilize: bool) -> None:
        self.denoised = list(denoised)
        """Channels that are denoised."""
        self._passed = [c for c in range(info.shape[0]) if c not in denoised]
        self._splitter, self._stabilize = splitter, stabilize
        self._registration = Registration()
        self._views: dict[int, NDArray[np.float32]] = {}  # of the passed channels, by number of the frame

    def keep(self, plane_frame: int, pixels: NDArray[Any], line_offset: LineOffset | None) -> None:
        """Keep the passed channels of a raw frame (C, Y, X)."""
        views = self._splitter.split(pixels[self._passed], line_offset)
        self._views[plane_frame] = views.astype(np.float32)

    def join(self, plane_frame: int, pixels: NDArray[Any], motion: Motion | None) -> NDArray[Any]:
        """Return a whole frame (C, Y, X) from its denoised channels (D, Y, X) and the kept ones."""
        views = self._views.pop(plane_frame)
        if self._stabilize and motion is not None:
            views = self._registration.apply(views, motion)
        whole = np.empty((len(self.denoised) + len(self._passed), *pixels.shape[1:]), pixels.dtype)
        whole[self.denoised] = pixels
        whole[self._passed] = self._splitter.join(views)
        return whole
