from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.doctor.line_pairs import GROUP_FRAMES, group_means, measure_line_pairs
from tests.doctor.scenes import movie


@pytest.mark.parametrize("photons", [0.3, 3.0, 30.0])
@pytest.mark.parametrize(("layout", "pairing"), [("ordinary", 0.0), ("collinear", 1.0)])
def test_pairing_is_1_for_pairs_of_lines_and_0_for_equal_distances(layout, pairing: float, photons: float) -> None:
    found = measure_line_pairs([movie(layout, photons=photons, preset="vessels-flow")])
    value, error = found.pairing(False)
    assert abs(value - pairing) < 3 * error
    assert error < 0.3 or photons < 1


def test_pairing_is_minus_1_when_the_first_line_is_missing() -> None:
    frames = movie("collinear")[:, 1:-1]
    value, error = measure_line_pairs([frames]).pairing(False)
    assert abs(value + 1) < max(3 * error, 0.1)


def test_reversed_lines_agree_reversed() -> None:
    found = measure_line_pairs([movie(mirrored=False)])
    assert found.peak(True)[0] > 1
    assert found.peak(False)[0] < 0.5


def test_the_lag_is_that_of_backward_lines() -> None:
    found = measure_line_pairs([movie(line_phase_px=3.0)])
    assert abs(found.peak(False)[1] - 3.0) <= 0.5


def test_noise_alone_shows_nothing() -> None:
    noise = np.random.default_rng(1).poisson(3, (40, 96, 96)).astype(np.uint16)
    assert abs(measure_line_pairs([noise]).alternate_z) < 4


@pytest.mark.parametrize("shape", [(10, 8, 96), (10, 96, 16), (1, 8, 8)])
def test_small_frames_are_not_judged(shape: tuple[int, ...]) -> None:
    assert measure_line_pairs([np.zeros(shape, np.int16)]) is None


def test_constant_frames_show_nothing() -> None:
    found = measure_line_pairs([np.full((4, 32, 64), 7, np.int16)])
    assert found.alternate_z == 0


def test_no_frame_has_no_mean() -> None:
    assert group_means([]) is None


def test_groups_do_not_reach_across_gaps() -> None:
    runs = [np.full((GROUP_FRAMES, 2, 2), value, np.int16) for value in (1, 2)]
    means = group_means(runs)
    assert means[:, 0, 0].tolist() == [1, 2]
