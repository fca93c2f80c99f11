"""Denoises the frames of one plane: on the host view by view, or as whole frames on a device.

`make_plane_denoisers` chooses. On the host, a `HostPlaneDenoiser` splits frames into views and merges them again, and a
`ViewDenoiser` (`StreamDenoiser` or `WindowDenoiser`) denoises the views. On a device, a `DevicePlaneDenoiser` passes
whole frames to a `FramePipeline`. Both give the same pixels up to rounding.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import STREAMING
from deepbid_rt.denoising.answer import Answer
from deepbid_rt.denoising.device import DeviceEngine, FramePipeline
from deepbid_rt.denoising.stream_denoiser import StreamDenoiser
from deepbid_rt.denoising.window_denoiser import WindowDenoiser
from deepbid_rt.errors import EngineError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.ports import Engine
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer
from deepbid_rt.scan.splitter import ScanSplitter

log = logging.getLogger(__name__)


class ViewDenoiser(Protocol):
    """Denoises the views of one plane: `StreamDenoiser`, `WindowDenoiser`."""

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until calibrated, constant from then on."""
        ...

    def push(self, plane_frame: int, views: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> list[Answer]:
        """Add the views (C, V, Y, X) of a frame, raw counts, not kept; return the views that are ready.

        Pixels that are True in `missing` (C, V, Y, X) were filled without a measurement.
        """
        ...

    def flush(self) -> list[Answer]:
        """Denoise every frame inside without later frames, and forget them."""
        ...


class PlaneDenoiser(Protocol):
    """Denoises the frames of one plane."""

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until calibrated, constant from then on."""
        ...

    def push(
        self,
        plane_frame: int,
        pixels: NDArray[Any],
        line_offset: LineOffset | None = None,
        missing: NDArray[np.bool_] | None = None,
    ) -> list[Answer]:
        """Add a raw frame and return the frames that are ready.

        Parameters
        ----------
        plane_frame : int
            Number of the frame within its plane, above all earlier ones.
        pixels : ndarray
            (C, Y, X) as scanned; not kept.
        line_offset : LineOffset, optional
            Line-phase correction of this frame.
        missing : ndarray, optional
            (C, Y, X), True for pixels that were filled without a measurement.
        """
        ...

    def flush(self) -> list[Answer]:
        """Denoise every frame inside without later frames, and forget them."""
        ...


class HostPlaneDenoiser:
    """Splits frames into views, denoises the views, and joins them again.

    Parameters
    ----------
    views : ViewDenoiser
        Denoises as many views as the splitter makes.
    splitter : ScanSplitter
        Geometry of the series.
    """

    def __init__(self, views: ViewDenoiser, splitter: ScanSplitter) -> None:
        self._views = views
        self._splitter = splitter

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until calibrated, constant from then on."""
        return self._views.normalizers

    def push(
        self,
        plane_frame: int,
        pixels: NDArray[Any],
        line_offset: LineOffset | None = None,
        missing: NDArray[np.bool_] | None = None,
    ) -> list[Answer]:
        """Add a raw frame and return the frames that are ready, see `PlaneDenoiser.push`."""
        lacks = None if missing is None else self._splitter.split(missing)
        return self._joined(self._views.push(plane_frame, self._splitter.split(pixels, line_offset), lacks))

    def flush(self) -> list[Answer]:
        """Denoise every frame inside without later frames, and forget them."""
        return self._joined(self._views.flush())

    def _joined(self, answers: list[Answer]) -> list[Answer]:
        return [Answer(a.plane_frame, self._splitter.join(a.pixels), a.motion) for a in answers]


class DevicePlaneDenoiser:
    """Denoises whole frames on a device. The first frames, on which the host calibrates, are denoised on the host.

    Parameters
    ----------
    pipeline : FramePipeline
        For frames of this series. It is reset here.
    views : StreamDenoiser
        Denoises the first frames.
    splitter : ScanSplitter
        Geometry of the series.
    """

    def __init__(self, pipeline: FramePipeline, views: StreamDenoiser, splitter: ScanSplitter) -> None:
        self._pipeline = pipeline
        self._calibration = views.calibration
        self._host = HostPlaneDenoiser(views, splitter)
        self._line_offset: LineOffset | None = None
        self._first: list[tuple[int, NDArray[Any], LineOffset | None]] = []  # arguments of `push` until calibrated
        self._last_plane_frame: int | None = None
        pipeline.set_line_offset(None)
        if self.normalizers:
            pipeline.set_scale(self.normalizers)
        self._reset()

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until calibrated, constant from then on."""
        return self._calibration.normalizers

    def push(
        self,
        plane_frame: int,
        pixels: NDArray[Any],
        line_offset: LineOffset | None = None,
        missing: NDArray[np.bool_] | None = None,
    ) -> list[Answer]:
        """Add a raw frame and return the frames that are ready, see `PlaneDenoiser.push`."""
        if self.normalizers:
            return [self._push_to_device(plane_frame, pixels, line_offset)]
        self._first.append((plane_frame, pixels.copy(), line_offset))
        answers = self._host.push(plane_frame, pixels, line_offset, missing)
        if self.normalizers:
            self._hand_over()
        return answers

    def flush(self) -> list[Answer]:
        """Denoise the frames that wait for the calibration, and forget all frames.

        These frames are calibrated on themselves; later frames are then calibrated anew.
        """
        answers = self._host.flush()
        self._reset()
        return answers

    def _hand_over(self) -> None:
        """Push the frames that the host has denoised to the device too, so that its averages begin with them."""
        self._pipeline.set_scale(self.normalizers or (), self._calibration.bias)
        for frame in self._first:
            self._push_to_device(*frame)
        self._first = []

    def _reset(self) -> None:
        self._first = []
        self._last_plane_frame = None
        self._pipeline.reset()

    def _push_to_device(self, plane_frame: int, pixels: NDArray[Any], line_offset: LineOffset | None) -> Answer:
        if line_offset is not self._line_offset:
            self._pipeline.set_line_offset(line_offset)
            self._line_offset = line_offset
        if self._last_plane_frame is not None and plane_frame - self._last_plane_frame > 1:
            self._pipeline.skip(plane_frame - self._last_plane_frame - 1)
        self._last_plane_frame = plane_frame
        image, stats = self._pipeline.push(pixels)
        self._calibration.check(float(stats.mean_bias.sum()), plane_frame + 1)
        return Answer(plane_frame, image.copy(), stats.motion)


def open_pipelines(
    engine: Engine, info: StreamInfo, merge: MergeMode, *, stabilize: bool
) -> tuple[Sequence[FramePipeline], str]:
    """Open the frame pipelines of the engine's device, where it has them.

    Parameters
    ----------
    engine : Engine
    info : StreamInfo
        The series.
    merge : {"mean", "forward", "backward", "interleave"}
        How the two views of a collinear frame become one image.
    stabilize : bool
        True when the frames are registered, which only the host can do.

    Returns
    -------
    pipelines : sequence of FramePipeline
        One for each plane; empty when frames are prepared on the host.
    description : str
        For reports: runtime, device and precision; for engines with a device also where frames are prepared and why.
    """
    if engine.card.kind != "stream" or not isinstance(engine, DeviceEngine):
        return (), engine.description
    pipelines: Sequence[FramePipeline] = ()
    reason = "they are registered there" if stabilize else "the engine looks ahead" if engine.card.look_ahead else ""
    if not reason:
        try:
            pipelines = engine.open_planes(info, merge)
        except EngineError as error:
            reason = error.came
    where = pipelines[0].description if pipelines else f"frames prepared on the host: {reason}"
    description = f"{engine.description}, {where}"
    log.info("engine %s: %s", engine.card.name, description)
    return pipelines, description


def make_plane_denoisers(
    engine: Engine,
    info: StreamInfo,
    splitter: ScanSplitter,
    pipelines: Sequence[FramePipeline] = (),
    *,
    stabilize: bool = False,
) -> list[PlaneDenoiser]:
    """Make a denoiser for each plane of a series.

    Parameters
    ----------
    engine : Engine
        Warmed up for the padded size of a view.
    info : StreamInfo
        The series.
    splitter : ScanSplitter
        Geometry of the series.
    pipelines : sequence of FramePipeline
        From `open_pipelines`. Each serves one denoiser; denoisers made from it earlier must not be used any more.
    stabilize : bool
        Register the denoised frames.
    """
    arguments = engine, info.shape[0], splitter.count, splitter.size
    if engine.card.kind not in STREAMING:
        return [HostPlaneDenoiser(WindowDenoiser(*arguments, planes=info.planes), splitter) for _ in range(info.planes)]
    denoisers = [
        StreamDenoiser(*arguments, planes=info.planes, separate_views=splitter.separate_views, stabilize=stabilize)
        for _ in range(info.planes)
    ]
    if pipelines:
        return [DevicePlaneDenoiser(p, d, splitter) for p, d in zip(pipelines, denoisers, strict=True)]
    return [HostPlaneDenoiser(denoiser, splitter) for denoiser in denoisers]
