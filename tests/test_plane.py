"""Whole frames through a device that is a list of what it was asked."""

from dataclasses import replace

import numpy as np
import pytest

from deepbid_rt.card import ModelCard, Normalization
from deepbid_rt.errors import StageError
from deepbid_rt.frame import Motion
from deepbid_rt.line_alignment import LineAlignment
from deepbid_rt.normalize import Normalizer, calibrate
from deepbid_rt.plane import DevicePlane
from deepbid_rt.ports import Note
from deepbid_rt.views import Views
from tests.fakes import FIXED, pixels_of, stream

INFO = stream((2, 4, 6))
CARD = ModelCard(name="small", kind="stream", memories=(0.5,), normalization=Normalization(rule="calibrate", frames=3))

BEGUN = ("align", 0.0), "reset"


class Listener:
    """A `FramePipeline` that answers each frame with itself, one array for all answers."""

    description = "listener"

    def __init__(self, excess=0.0):
        self.calls = []
        self.px = 3.0  # of the series before
        self.excess = excess
        self._image = np.zeros(INFO.shape, INFO.dtype)

    def scale(self, normalizers, bias=None):
        self.calls.append(("scale", tuple(normalizers), None if bias is None else bias.tolist()))

    def align(self, alignment):
        if alignment or self.px:
            self.calls.append(("align", alignment.px if alignment else 0.0))
        self.px = alignment.px if alignment else 0.0

    def reset(self):
        self.calls.append("reset")

    def skip(self, count):
        self.calls.append(("skip", count))

    def step(self, pixels):
        self.calls.append(("step", int(pixels[0, 0, 0])))
        self._image[:] = pixels
        return self._image, Note(Motion(0.0, 0.0, 9.0, "tracked"), np.full(2, self.excess))


def plane_of(pipeline, card=CARD):
    return DevicePlane(pipeline, card, Views(INFO, "mean"), INFO.shape[0])


def number(n):
    return int(pixels_of(INFO, n)[0, 0, 0])


def test_first_frames_wait_for_the_calibration_and_come_out_together():
    pipeline = Listener()
    plane = plane_of(pipeline)
    assert plane.push(0, pixels_of(INFO, 0)) == plane.push(1, pixels_of(INFO, 1)) == []
    ready = plane.push(2, pixels_of(INFO, 2))
    assert [tick for tick, _, _ in ready] == [0, 1, 2]
    for tick, image, _ in ready:
        assert np.array_equal(image, pixels_of(INFO, tick))  # each a copy
    frames = np.stack([pixels_of(INFO, n) for n in range(3)])
    assert plane.normalizers == tuple(calibrate(frames[:, c]) for c in range(2))
    back, there = ([("step", number(n)) for n in order] for order in ((2, 1, 0), range(3)))
    assert pipeline.calls == [*BEGUN, ("scale", plane.normalizers, None), *back, "reset", *there]
    assert [tick for tick, _, _ in plane.push(3, pixels_of(INFO, 3))] == [3]


def test_a_mean_that_is_off_is_measured_once_and_the_first_frames_are_answered_anew():
    pipeline = Listener(excess=0.5)
    plane = plane_of(pipeline)
    for n in range(3):
        plane.push(n, pixels_of(INFO, n))
    first = [*(("step", number(n)) for n in (2, 1, 0)), "reset", *(("step", number(n)) for n in range(3))]
    scales = ("scale", plane.normalizers, None), ("scale", plane.normalizers, [0.5, 0.5])
    assert pipeline.calls == [*BEGUN, scales[0], *first, "reset", scales[1], *first]


def test_the_first_half_of_the_first_frames_is_answered_from_what_came_after_them():
    class Counter(Listener):
        """Answers with how many frames it remembers; where a frame lay is the same number."""

        def reset(self):
            super().reset()
            self.remembered = 0

        def step(self, pixels):
            image, note = super().step(pixels)
            image[:] = self.remembered
            self.remembered += 1
            return image, Note(Motion(0.0, float(self.remembered), 9.0, "tracked"), note.excess)

    plane = plane_of(Counter(), replace(CARD, normalization=Normalization(rule="calibrate", frames=8)))
    ready = [done for n in range(9) for done in plane.push(n, pixels_of(INFO, n))]
    assert [int(image[0, 0, 0]) for _, image, _ in ready] == [7, 6, 5, 4, 4, 5, 6, 7, 8]
    assert [motion.dx for _, _, motion in ready] == list(range(1, 10))


def test_missing_ticks_make_what_is_remembered_older():
    pipeline = Listener()
    plane = plane_of(pipeline)
    for tick in (0, 1, 4, 5, 9):
        plane.push(tick, pixels_of(INFO, tick))
    skips = [(n, call) for n, call in enumerate(pipeline.calls) if call[0] == "skip"]
    assert [call for _, call in skips] == [("skip", 2), ("skip", 2), ("skip", 3)]
    assert [pipeline.calls[n + 1] for n, _ in skips] == [("step", number(n)) for n in (1, 4, 9)]


def test_each_frame_is_aligned_as_it_was_when_it_came():
    pipeline, views = Listener(), Views(INFO, "mean")
    plane = DevicePlane(pipeline, CARD, views, INFO.shape[0])
    for n, px in enumerate((None, 1.0, 1.0, 1.0, 2.0, None)):
        if px != (views.alignment and views.alignment.px):
            views.alignment = px and LineAlignment(INFO.scan, INFO.shape[2], px)
        plane.push(n, pixels_of(INFO, n))
    told = [call for call in pipeline.calls[len(BEGUN) :] if call[0] in ("align", "step")]
    steps = [("step", number(n)) for n in range(6)]
    back = [("align", 1.0), steps[2], steps[1], ("align", 0.0), steps[0]]
    there = [steps[0], ("align", 1.0), *steps[1:4], ("align", 2.0), steps[4], ("align", 0.0), steps[5]]
    assert told == [*back, *there]


def test_a_known_scale_is_told_at_once_and_nothing_waits():
    pipeline = Listener()
    card = ModelCard(name="small", kind="stream", memories=(0.5,), normalization=FIXED)
    plane = plane_of(pipeline, card)
    assert pipeline.calls == [BEGUN[0], ("scale", (Normalizer(0.0, 1.0),) * 2, None), BEGUN[1]]
    assert len(plane.push(7, pixels_of(INFO, 7))) == 1


def test_a_flush_forgets_the_frames_and_a_calibration_on_too_few():
    pipeline = Listener()
    plane = plane_of(pipeline)
    plane.push(0, pixels_of(INFO, 0))
    assert [tick for tick, _, _ in plane.flush()] == [0]
    assert plane.normalizers is None
    for n in range(3):
        plane.push(n, pixels_of(INFO, n))
    known = plane.normalizers
    assert plane.flush() == []
    assert plane.normalizers == known
    assert pipeline.calls[-1] == "reset"
    plane.push(50, pixels_of(INFO, 50))
    assert pipeline.calls[-1] == ("step", number(50))  # no skip before it


def test_answers_that_are_not_finite_are_refused():
    plane = plane_of(Listener(excess=np.nan))
    plane.push(0, pixels_of(INFO, 0))
    plane.push(1, pixels_of(INFO, 1))
    with pytest.raises(StageError, match="'small' answered values that are not finite, in the window before frame 3"):
        plane.push(2, pixels_of(INFO, 2))
