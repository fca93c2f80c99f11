"""When lines are moved and when they are let be, and that it depends on the frames alone."""

import numpy as np
import pytest

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Frame, FrameFlag, ScanGeometry
from deepbid_rt.scan.line_phase_corrector import FOLLOW_PX, LinePhaseCorrector
from tests.jagged import frames, info_of


def locked(info, *offsets_px, policy="auto", flags=FrameFlag.NONE, seed=0):
    """Return a lock that has seen one frame (a block of the measurement) with each offset, and what it did at each."""
    corrector, moved = LinePhaseCorrector(info, policy), []
    for index, px in enumerate(offsets_px):
        [pixels] = frames(info, px, 1, seed=seed)
        corrector.push(Frame(index, pixels, flags=flags))
        moved.append(corrector.aligned_px)
    return corrector, moved


@pytest.mark.parametrize("layout", ["collinear", "ordinary"])
def test_lines_are_moved_by_what_was_measured(layout):
    corrector, moved = locked(info_of(scan=ScanGeometry(layout)), 1.3)
    assert moved == [pytest.approx(1.3, abs=0.05)]
    assert corrector.measured_px == pytest.approx(corrector.aligned_px, abs=0.006)
    assert corrector.line_offset.px == corrector.aligned_px == round(corrector.aligned_px, 2)


def test_small_offsets_and_small_changes_are_let_be():
    assert locked(info_of(), *[0.2] * 3)[1] == [0.0] * 3
    corrector, moved = locked(info_of(), 1.0, 1.04, 1.04)
    assert len(set(moved)) == 1
    assert corrector.measured_px != moved[0]
    corrector, moved = locked(info_of(), 1.0, *[1.4] * 30)
    assert moved[-1] == pytest.approx(1.4, abs=FOLLOW_PX)
    steps = np.abs(np.diff(sorted(set(moved))))
    assert (steps > FOLLOW_PX - 0.01).all()


def test_a_mended_scan_is_moved_no_longer():
    corrector, moved = locked(info_of(), 1.0, *[0.0] * 3)
    assert moved[0] == pytest.approx(1.0, abs=0.05)
    assert moved[-1] == 0.0
    assert corrector.line_offset is None


def test_off_measures_only():
    corrector, moved = locked(info_of(), 1.0, policy="off")
    assert moved == [0.0]
    assert corrector.measured_px == pytest.approx(1.0, abs=0.05)


def test_a_number_is_kept_from_the_first_frame_on():
    corrector, moved = locked(info_of(), 1.0, 1.0, policy=0.04)
    assert moved == [0.04] * 2
    assert corrector.measured_px == pytest.approx(1.0, abs=0.05)
    assert LinePhaseCorrector(info_of(), 0.0).line_offset is None


@pytest.mark.parametrize("px", [12.1, -12.1, float("nan"), float("inf")])
def test_more_than_is_looked_for_is_refused(px):
    with pytest.raises(StreamError, match=r"a line phase of .* lines of 96 px"):
        LinePhaseCorrector(info_of(), px)
    assert LinePhaseCorrector(info_of(), 12.0).aligned_px == 12.0


def test_one_direction_has_no_line_phase():
    info = info_of(scan=ScanGeometry("ordinary", bidirectional=False))
    with pytest.raises(StreamError, match="scanned in one direction"):
        LinePhaseCorrector(info, 1.0)
    assert locked(info, 1.0)[1] == [0.0]


@pytest.mark.parametrize("flag", [FrameFlag.FLYBACK, FrameFlag.INCOMPLETE])
def test_frames_that_are_no_picture_are_not_looked_at(flag):
    assert locked(info_of(), 1.0, flags=flag)[0].measured_px is None
    assert locked(info_of(), 1.0, flags=FrameFlag.TTL_HIGH)[0].measured_px is not None
