"""Whole frames through a device that is a list of what it was asked."""

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

BEGUN = ("align", 0.0), "reset"


class Listener:
    """A `FramePipeline` that answers each frame with itself, one array for all answers."""

    description = "listener"

    def __init__(self, mean_bias=0.0):
        self.calls = []
        self.px = 3.0  # of the series before
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
        self.calls.append(("step", int(pixels[0, 0, 0])))
        self._image[:] = pixels
        return self._image, FrameStats(Motion(0.0, 0.0, 9.0, "tracked"), np.full(2, self.mean_bias))


def lane_of(card=CARD, error=0.0):
    """The lane on the host, with an engine that gives back the view, off by an error."""
    engine = SpyEngine(card, lambda inputs: inputs[:1] + np.float32(error))
    engine.warm_up((card.depth, *INFO.shape[1:]))
    return StreamDenoiser(engine, 2, 1, INFO.shape[1:])


def plane_of(pipeline, card=CARD, error=0.0, views=None):
    return DevicePlaneDenoiser(pipeline, lane_of(card, error), views or ScanSplitter(INFO, "mean"))


def number(n):
    return int(pixels_of(INFO, n)[0, 0, 0])


def steps(numbers):
    return [("step", number(n)) for n in numbers]


def test_the_host_answers_the_first_frames_together_and_then_the_device_goes_on_from_them():
    pipeline, views = Listener(), ScanSplitter(INFO, "mean")
    plane, host = plane_of(pipeline), HostPlaneDenoiser(lane_of(), views)
    assert plane.push(0, pixels_of(INFO, 0)) == plane.push(1, pixels_of(INFO, 1)) == []
    assert plane.normalizers is None
    assert pipeline.calls == [*BEGUN]
    ready = plane.push(2, pixels_of(INFO, 2))
    expected = [done for n in range(3) for done in host.push(n, pixels_of(INFO, n))]
    for ours, theirs in zip(ready, expected, strict=True):
        assert (ours.plane_frame, ours.motion) == (theirs.plane_frame, theirs.motion)
        assert np.array_equal(ours.pixels, theirs.pixels)
    frames = np.stack([pixels_of(INFO, n) for n in range(3)])
    assert plane.normalizers == tuple(calibrate(frames[:, c]) for c in range(2))
    assert pipeline.calls == [*BEGUN, ("scale", plane.normalizers, [0.0, 0.0]), *steps(range(3))]
    [answer] = plane.push(3, pixels_of(INFO, 3))
    assert (answer.plane_frame, answer.motion.confidence) == (3, 9.0)
    plane.push(4, pixels_of(INFO, 4))
    assert np.array_equal(answer.pixels, pixels_of(INFO, 3))  # a copy
    assert pipeline.calls[-2:] == steps((3, 4))


def test_a_mean_that_is_off_is_measured_once_by_the_host_and_told():
    pipeline = Listener()
    plane = plane_of(pipeline, error=0.5)
    ready = [done for n in range(3) for done in plane.push(n, pixels_of(INFO, n))]
    [(_, _, bias)] = [call for call in pipeline.calls if call[0] == "scale"]
    assert bias == pytest.approx([0.5, 0.5], abs=1e-6)
    for answer in ready:
        assert (
            np.abs(answer.pixels - pixels_of(INFO, answer.plane_frame).astype(float)).max() <= 1
        )  # but for what rounding does


def test_missing_ticks_make_what_is_remembered_older():
    pipeline = Listener()
    plane = plane_of(pipeline)
    for plane_frame in (0, 1, 4, 5, 9):
        plane.push(plane_frame, pixels_of(INFO, plane_frame))
    skips = [(n, call) for n, call in enumerate(pipeline.calls) if call[0] == "skip"]
    assert [call for _, call in skips] == [("skip", 2), ("skip", 3)]
    assert [pipeline.calls[n + 1] for n, _ in skips] == steps((4, 9))


def test_each_frame_is_aligned_as_it_was_when_it_came():
    pipeline, line_offset = Listener(), None
    plane = plane_of(pipeline)
    for n, px in enumerate((None, 1.0, 1.0, 1.0, 2.0, None)):
        if px != (line_offset and line_offset.px):
            line_offset = px and LineOffset(INFO.scan, INFO.shape[2], px)
        plane.push(n, pixels_of(INFO, n), line_offset)
    told = [call for call in pipeline.calls[len(BEGUN) :] if call[0] in ("align", "step")]
    frame = steps(range(6))
    assert told == [frame[0], ("align", 1.0), *frame[1:4], ("align", 2.0), frame[4], ("align", 0.0), frame[5]]


def test_a_known_scale_is_told_at_once_and_nothing_waits():
    pipeline = Listener()
    plane = plane_of(pipeline, replace(CARD, normalization=FIXED))
    assert pipeline.calls == [BEGUN[0], ("scale", (Normalizer(0.0, 1.0),) * 2, None), BEGUN[1]]
    assert len(plane.push(7, pixels_of(INFO, 7))) == 1


def test_a_flush_forgets_the_frames_and_a_calibration_on_too_few():
    pipeline = Listener()
    plane = plane_of(pipeline)
    plane.push(0, pixels_of(INFO, 0))
    assert [answer.plane_frame for answer in plane.flush()] == [0]
    assert plane.normalizers is None
    assert plane.flush() == []
    for n in range(3):
        plane.push(n, pixels_of(INFO, n))
    assert [call for call in pipeline.calls if call[0] == "step"] == steps(range(3))
    known = plane.normalizers
    assert plane.flush() == []
    assert plane.normalizers == known
    assert pipeline.calls[-1] == "reset"
    plane.push(50, pixels_of(INFO, 50))
    assert pipeline.calls[-1] == ("step", number(50))  # no skip before it


def test_answers_that_are_not_finite_are_refused():
    plane = plane_of(Listener(mean_bias=np.nan), replace(CARD, normalization=FIXED))
    with pytest.raises(StageError, match="'small' answered values that are not finite, in the window before frame 3"):
        plane.push(2, pixels_of(INFO, 2))
