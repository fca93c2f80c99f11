"""`DevicePlaneDenoiser` with a pipeline that records its calls."""

from dataclasses import replace

import numpy as np
import pytest

from deepbid_rt.card import ModelCard, Normalization
from deepbid_rt.denoising.device import FrameStats
from deepbid_rt.denoising.plane_denoiser import DevicePlaneDenoiser, HostPlaneDenoiser
from deepbid_rt.denoising.stream_denoiser import StreamDenoiser
from deepbid_rt.errors import StageError
from deepbid_rt.frame import Motion
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer, calibrate
from deepbid_rt.scan.splitter import ScanSplitter
from tests.fakes import FIXED, SpyEngine, pixels_of, stream

INFO = stream((2, 4, 6))
CARD = ModelCard(
    name="small",
    kind="stream",
    memories=(0.5,),
    views="mean",
    grid=2,
    normalization=Normalization(rule="calibrate", frames=3),
)

AFTER_INIT = ("align", 0.0), "reset"


class RecordingPipeline:
    """A `FramePipeline` that returns each frame unchanged, always in the same array."""

    description = "recording"

    def __init__(self, mean_bias=0.0):
        self.calls = []
        self.px = 3.0  # from an earlier series
        self.mean_bias = mean_bias
        self._image = np.zeros(INFO.shape, INFO.dtype)

    def set_scale(self, normalizers, bias=None):
        self.calls.append(("scale", tuple(normalizers), None if bias is None else bias.tolist()))

    def set_line_offset(self, line_offset):
        if line_offset or self.px:
            self.calls.append(("align", line_offset.px if line_offset else 0.0))
        self.px = line_offset.px if line_offset else 0.0

    def reset(self):
        self.calls.append("reset")

    def skip(self, count):
        self.calls.append(("skip", count))

    def push(self, pixels):
        self.calls.append(("push", int(pixels[0, 0, 0])))
        self._image[:] = pixels
        return self._image, FrameStats(Motion(0.0, 0.0, 9.0, "tracked"), np.full(2, self.mean_bias))


def views_denoiser(card=CARD, error=0.0):
    """A denoiser of views with an engine that returns the view plus a constant error."""
    engine = SpyEngine(card, lambda inputs: inputs[:1] + np.float32(error))
    engine.warm_up((card.depth, *INFO.shape[1:]))
    return StreamDenoiser(engine, 2, 1, INFO.shape[1:])


def device_denoiser(pipeline, card=CARD, error=0.0):
    return DevicePlaneDenoiser(pipeline, views_denoiser(card, error), ScanSplitter(INFO, "mean"))


def first_pixel(n):
    return int(pixels_of(INFO, n)[0, 0, 0])


def pushes(numbers):
    return [("push", first_pixel(n)) for n in numbers]


def test_the_host_denoises_the_first_frames_and_then_pushes_them_to_the_device():
    pipeline, splitter = RecordingPipeline(), ScanSplitter(INFO, "mean")
    plane, host = device_denoiser(pipeline), HostPlaneDenoiser(views_denoiser(), splitter)
    assert plane.push(0, pixels_of(INFO, 0)) == plane.push(1, pixels_of(INFO, 1)) == []
    assert plane.normalizers is None
    assert pipeline.calls == [*AFTER_INIT]
    ready = plane.push(2, pixels_of(INFO, 2))
    expected = [done for n in range(3) for done in host.push(n, pixels_of(INFO, n))]
    for ours, theirs in zip(ready, expected, strict=True):
        assert (ours.plane_frame, ours.motion) == (theirs.plane_frame, theirs.motion)
        assert np.array_equal(ours.pixels, theirs.pixels)
    frames = np.stack([pixels_of(INFO, n) for n in range(3)])
    assert plane.normalizers == tuple(calibrate(frames[:, c]) for c in range(2))
    assert pipeline.calls == [*AFTER_INIT, ("scale", plane.normalizers, [0.0, 0.0]), *pushes(range(3))]
    [answer] = plane.push(3, pixels_of(INFO, 3))
    assert (answer.plane_frame, answer.motion.confidence) == (3, 9.0)
    plane.push(4, pixels_of(INFO, 4))
    assert np.array_equal(answer.pixels, pixels_of(INFO, 3))  # a copy
    assert pipeline.calls[-2:] == pushes((3, 4))


def test_the_bias_is_measured_once_by_the_host_and_set_on_the_device():
    pipeline = RecordingPipeline()
    plane = device_denoiser(pipeline, error=0.5)
    ready = [done for n in range(3) for done in plane.push(n, pixels_of(INFO, n))]
    [(_, _, bias)] = [call for call in pipeline.calls if call[0] == "scale"]
    assert bias == pytest.approx([0.5, 0.5], abs=1e-6)
    for answer in ready:
        assert (
            np.abs(answer.pixels - pixels_of(INFO, answer.plane_frame).astype(float)).max() <= 1
        )  # because of rounding


def test_missing_frames_are_skipped_on_the_device():
    pipeline = RecordingPipeline()
    plane = device_denoiser(pipeline)
    for plane_frame in (0, 1, 4, 5, 9):
        plane.push(plane_frame, pixels_of(INFO, plane_frame))
    skips = [(n, call) for n, call in enumerate(pipeline.calls) if call[0] == "skip"]
    assert [call for _, call in skips] == [("skip", 2), ("skip", 3)]
    assert [pipeline.calls[n + 1] for n, _ in skips] == pushes((4, 9))


def test_each_frame_gets_its_own_line_offset_on_the_device():
    pipeline, line_offset = RecordingPipeline(), None
    plane = device_denoiser(pipeline)
    for n, px in enumerate((None, 1.0, 1.0, 1.0, 2.0, None)):
        if px != (line_offset and line_offset.px):
            line_offset = px and LineOffset(INFO.scan, INFO.shape[2], px)
        plane.push(n, pixels_of(INFO, n), line_offset)
    calls = [call for call in pipeline.calls[len(AFTER_INIT) :] if call[0] in ("align", "push")]
    frame = pushes(range(6))
    assert calls == [frame[0], ("align", 1.0), *frame[1:4], ("align", 2.0), frame[4], ("align", 0.0), frame[5]]


def test_a_fixed_scale_is_set_at_once_and_no_frame_waits():
    pipeline = RecordingPipeline()
    plane = device_denoiser(pipeline, replace(CARD, normalization=FIXED))
    assert pipeline.calls == [AFTER_INIT[0], ("scale", (Normalizer(0.0, 1.0),) * 2, None), AFTER_INIT[1]]
    assert len(plane.push(7, pixels_of(INFO, 7))) == 1


def test_a_flush_forgets_the_frames_and_an_incomplete_calibration():
    pipeline = RecordingPipeline()
    plane = device_denoiser(pipeline)
    plane.push(0, pixels_of(INFO, 0))
    assert [answer.plane_frame for answer in plane.flush()] == [0]
    assert plane.normalizers is None
    assert plane.flush() == []
    for n in range(3):
        plane.push(n, pixels_of(INFO, n))
    assert [call for call in pipeline.calls if call[0] == "push"] == pushes(range(3))
    calibrated = plane.normalizers
    assert plane.flush() == []
    assert plane.normalizers == calibrated
    assert pipeline.calls[-1] == "reset"
    plane.push(50, pixels_of(INFO, 50))
    assert pipeline.calls[-1] == ("push", first_pixel(50))  # no skip before it


def test_answers_that_are_not_finite_are_refused():
    plane = device_denoiser(RecordingPipeline(mean_bias=np.nan), replace(CARD, normalization=FIXED))
    with pytest.raises(StageError, match="'small' returned values that are not finite, before frame 3 of the plane"):
        plane.push(2, pixels_of(INFO, 2))
