"""All planes of one series: what their frames go through, on the engine's device where it takes whole frames.

Knows nothing of the order of frames, of time or of threads.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from deepbid_rt.card import STREAMING
from deepbid_rt.denoising.calibration import padded_size
from deepbid_rt.denoising.plane_denoiser import DevicePlaneDenoiser, HostPlaneDenoiser, PlaneDenoiser
from deepbid_rt.denoising.stream_denoiser import StreamDenoiser
from deepbid_rt.denoising.window_denoiser import WindowDenoiser
from deepbid_rt.errors import EngineError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.ports import DeviceEngine, Engine, FramePipeline
from deepbid_rt.scan.directions import Merge
from deepbid_rt.scan.splitter import ScanSplitter

log = logging.getLogger(__name__)


class Planes:
    """Makes the planes of a series, and makes them again when it begins anew.

    Parameters
    ----------
    engine : Engine
        Warmed up here.
    info : StreamInfo
        The series.
    merge : {"mean", "forward", "backward", "interleave"}
        What becomes of the two denoised views of a collinear frame.
    stabilize : bool
        Register the denoised frames, which is done on the host.

    Raises
    ------
    EngineError
        When the engine cannot take frames of this size.
    """

    def __init__(self, engine: Engine, info: StreamInfo, merge: Merge, *, stabilize: bool) -> None:
        self._engine = engine
        self._info = info
        self._stabilize = stabilize
        self.views = ScanSplitter(info, merge)
        self._pipelines: Sequence[FramePipeline] = ()
        ahead = "the engine looks ahead" if engine.card.look_ahead else ""
        why = "they are registered there" if stabilize else ahead
        if engine.card.kind == "stream" and isinstance(engine, DeviceEngine) and not why:
            try:
                self._pipelines = engine.open_planes(info, merge)
            except EngineError as error:
                why = error.came
        engine.warm_up((engine.card.depth, *padded_size(self.views.size, engine.card.grid)))
        self.runtime = engine.description
        """Runtime, device and precision, and who prepares the frames where that could be the device; for reports."""
        if isinstance(engine, DeviceEngine) and engine.card.kind == "stream":
            where = self._pipelines[0].description if self._pipelines else f"frames prepared on the host: {why}"
            self.runtime = f"{engine.description}, {where}"
            log.info("engine %s: %s", engine.card.name, self.runtime)

    def make(self) -> list[PlaneDenoiser]:
        """Return one for each plane; those made before are of no use any more."""
        card, of = self._engine.card, (self._engine, self._info.shape[0], self.views.count, self.views.size)
        if card.kind not in STREAMING:
            return [HostPlaneDenoiser(WindowDenoiser(*of), self.views) for _ in range(self._info.planes)]
        lanes = [
            StreamDenoiser(*of, apart=self.views.apart, stabilize=self._stabilize) for _ in range(self._info.planes)
        ]
        if self._pipelines:
            both = zip(self._pipelines, lanes, strict=True)
            return [DevicePlaneDenoiser(pipeline, lane, self.views) for pipeline, lane in both]
        return [HostPlaneDenoiser(lane, self.views) for lane in lanes]
