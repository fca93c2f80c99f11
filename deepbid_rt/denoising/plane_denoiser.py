"""One plane's way from raw to denoised frames: over the host, view by view, or over a device that takes whole frames.

Both answer the same. Knows nothing of other planes, of the order of frames, or of time.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.stream_denoiser import StreamDenoiser
from deepbid_rt.denoising.window_denoiser import WindowDenoiser
from deepbid_rt.frame import Motion
from deepbid_rt.ports import FramePipeline
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer
from deepbid_rt.scan.splitter import ScanSplitter

Ready = tuple[int, NDArray[Any], Motion | None]
"""A tick, its denoised frame (C, Y', X) in the type of the stream, and where it lay, if that was estimated."""

Taken = tuple[int, NDArray[Any], LineOffset | None]
"""A tick, its raw frame (C, Y, X), and what backward lines went through when it came."""


class PlaneDenoiser(Protocol):
    """What the frames of one plane go through."""

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until calibrated, constant from then on."""
        ...

    def push(self, tick: int, pixels: NDArray[Any]) -> list[Ready]:
        """Take a raw frame (C, Y, X), not kept, number `tick` of its plane; return what became ready."""
        ...

    def flush(self) -> list[Ready]:
        """Answer every frame inside and restart."""
        ...


class HostPlaneDenoiser:
    """Splits frames into views, denoises them in a lane, and joins the answers.

    Parameters
    ----------
    lane : WindowDenoiser or StreamDenoiser
        Of as many views as `views` has.
    views : ScanSplitter
        Geometry of the series.
    """

    def __init__(self, lane: WindowDenoiser | StreamDenoiser, views: ScanSplitter) -> None:
        self._lane = lane
        self._views = views

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Those of the lane."""
        return self._lane.normalizers

    def push(self, tick: int, pixels: NDArray[Any]) -> list[Ready]:
        """Take a frame."""
        return self._joined(self._lane.push(tick, self._views.split(pixels)))

    def flush(self) -> list[Ready]:
        """Answer every frame inside and restart."""
        return self._joined(self._lane.flush())

    def _joined(self, answers: list[tuple[int, NDArray[np.float32]]]) -> list[Ready]:
        motions = self._lane.motions if isinstance(self._lane, StreamDenoiser) else {}
        return [(tick, self._views.join(views), motions.get(tick)) for tick, views in answers]


class DevicePlaneDenoiser:
    """Sends whole frames through a device, but for the first ones: the host calibrates on these and answers them.

    Parameters
    ----------
    pipeline : FramePipeline
        For frames of this series; reset here.
    lane : StreamDenoiser
        For the first frames, of as many views as `views` has.
    views : ScanSplitter
        Geometry of the series.
    """

    def __init__(self, pipeline: FramePipeline, lane: StreamDenoiser, views: ScanSplitter) -> None:
        self._pipeline = pipeline
        self._calibration = lane.calibration
        self._host = HostPlaneDenoiser(lane, views)
        self._views = views
        self._first: list[Taken] = []  # wait for the calibration
        self._alignment: LineOffset | None = None
        pipeline.align(None)
        if self.normalizers:
            pipeline.scale(self.normalizers)
        self._restart()

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until calibrated, constant from then on."""
        return self._calibration.normalizers

    def push(self, tick: int, pixels: NDArray[Any]) -> list[Ready]:
        """Take a frame."""
        if self.normalizers:
            return [self._step(tick, pixels, self._views.alignment)]
        self._first.append((tick, pixels.copy(), self._views.alignment))
        ready = self._host.push(tick, pixels)
        if self.normalizers:
            self._hand_over()
        return ready

    def flush(self) -> list[Ready]:
        """Answer the frames that wait, by what they give, and restart; later frames then calibrate anew."""
        ready = self._host.flush()
        self._restart()
        return ready

    def _hand_over(self) -> None:
        """Let the device see the first frames, for what it is to remember; the host has answered them."""
        self._pipeline.scale(self.normalizers or (), self._calibration.bias)
        for taken in self._first:
            self._step(*taken)
        self._first = []

    def _restart(self) -> None:
        self._first = []
        self._tick: int | None = None
        self._pipeline.reset()

    def _step(self, tick: int, pixels: NDArray[Any], alignment: LineOffset | None) -> Ready:
        if alignment is not self._alignment:
            self._pipeline.align(alignment)
            self._alignment = alignment
        if self._tick is not None and tick - self._tick > 1:
            self._pipeline.skip(tick - self._tick - 1)
        self._tick = tick
        image, note = self._pipeline.step(pixels)
        self._calibration.check(float(note.excess.sum()), tick + 1)
        return tick, image.copy(), note.motion
