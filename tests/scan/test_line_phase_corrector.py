"""The correction follows the policy and the measurement."""

import numpy as np
import pytest

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Frame, FrameFlag, ScanGeometry
from deepbid_rt.scan.line_phase_corrector import MIN_CHANGE_PX, LinePhaseCorrector
from tests.jagged import frames, info_of


def corrected(info, *offsets_px, policy="auto", flags=FrameFlag.NONE, seed=0):
    """Push one frame with each offset; return the corrector and its correction after each frame.

    At the frame rate of `info_of` every frame is a block of the measurement.
    """
    corrector, moved = LinePhaseCorrector(info, policy), []
    for index, px in enumerate(offsets_px):
        [pixels] = frames(info, px, 1, seed=seed)
        corrector.push(Frame(index, pixels, flags=flags))
        moved.append(corrector.aligned_px)
    return corrector, moved


@pytest.mark.parametrize("layout", ["collinear", "ordinary"])
def test_lines_are_moved_by_the_measured_offset(layout):
    corrector, moved = corrected(info_of(scan=ScanGeometry(layout)), 1.3)
    assert moved == [pytest.approx(1.3, abs=0.05)]
    assert corrector.measured_px == pytest.approx(corrector.aligned_px, abs=0.006)
    assert corrector.line_offset.px == corrector.aligned_px == round(corrector.aligned_px, 2)


def test_small_offsets_and_small_changes_are_ignored():
    assert corrected(info_of(), *[0.2] * 3)[1] == [0.0] * 3
    corrector, moved = corrected(info_of(), 1.0, 1.04, 1.04)
    assert len(set(moved)) == 1
    assert corrector.measured_px != moved[0]
    corrector, moved = corrected(info_of(), 1.0, *[1.4] * 30)
    assert moved[-1] == pytest.approx(1.4, abs=MIN_CHANGE_PX)
    steps = np.abs(np.diff(sorted(set(moved))))
    assert (steps > MIN_CHANGE_PX - 0.01).all()


def test_the_correction_ends_when_the_offset_disappears():
    corrector, moved = corrected(info_of(), 1.0, *[0.0] * 3)
    assert moved[0] == pytest.approx(1.0, abs=0.05)
    assert moved[-1] == 0.0
    assert corrector.line_offset is None


def test_off_measures_and_does_not_correct():
    corrector, moved = corrected(info_of(), 1.0, policy="off")
    assert moved == [0.0]
    assert corrector.measured_px == pytest.approx(1.0, abs=0.05)


def test_a_given_number_is_applied_from_the_first_frame_on():
    corrector, moved = corrected(info_of(), 1.0, 1.0, policy=0.04)
    assert moved == [0.04] * 2
    assert corrector.measured_px == pytest.approx(1.0, abs=0.05)
    assert LinePhaseCorrector(info_of(), 0.0).line_offset is None


@pytest.mark.parametrize("px", [12.1, -12.1, float("nan"), float("inf")])
def test_a_number_beyond_the_range_is_refused(px):
    with pytest.raises(StreamError, match=r"a line phase of .* lines of 96 px"):
        LinePhaseCorrector(info_of(), px)
    assert LinePhaseCorrector(info_of(), 12.0).aligned_px == 12.0


def test_a_unidirectional_scan_has_no_correction():
    info = info_of(scan=ScanGeometry("ordinary", bidirectional=False))
    with pytest.raises(StreamError, match="scanned in one direction"):
        LinePhaseCorrector(info, 1.0)
    assert corrected(info, 1.0)[1] == [0.0]


@pytest.mark.parametrize("flag", [FrameFlag.FLYBACK, FrameFlag.INCOMPLETE])
def test_flyback_and_incomplete_frames_are_not_measured(flag):
    assert corrected(info_of(), 1.0, flags=flag)[0].measured_px is None
    assert corrected(info_of(), 1.0, flags=FrameFlag.TTL_HIGH)[0].measured_px is not None
