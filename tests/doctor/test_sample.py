from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.doctor.sample import Sample, Stamps, as_floats, frame_count
from deepbid_rt.frame import StreamInfo


def sample(indices: list[int], planes: list[int], channels: int = 1) -> Sample:
    frames = np.zeros((len(indices), channels, 4, 4), np.int16) + np.array(indices, np.int16)[:, None, None, None]
    info = StreamInfo((channels, 4, 4), frames.dtype, 30.0, planes=max(planes) + 1)
    return Sample(info, frames, np.array(indices), np.array(planes), Stamps())


def first_pixels(found: Sample, channel: int, plane: int) -> list[list[int]]:
    return [[int(image[0, 0]) for image in run] for run in found.runs(channel, plane)]


def test_runs_end_where_a_frame_is_missing() -> None:
    found = sample([0, 1, 2, 5, 6], [0] * 5)
    assert first_pixels(found, 0, 0) == [[0, 1, 2], [5, 6]]
    assert frame_count(found.runs(0, 0)) == 5


def test_frames_of_a_plane_follow_each_other_across_the_other_planes_and_fly_back() -> None:
    found = sample([0, 1, 4, 5, 8, 9, 16, 17], [0, 1] * 4)
    assert first_pixels(found, 0, 1) == [[1, 5, 9], [17]]
    assert found.places == [(0, 0), (0, 1)]


def test_a_single_frame_is_a_run() -> None:
    assert first_pixels(sample([7], [0], 2), 1, 0) == [[7]]


@pytest.mark.parametrize(
    ("image", "filled"),
    [
        (np.array([[1.0, np.nan], [3.0, 1e31]], np.float32), 2.0),
        (np.array([[1, -16384], [3, 2]], np.int16), 2.0),
    ],
)
def test_pixels_without_a_measurement_get_the_mean(image: np.ndarray, filled: float) -> None:
    assert as_floats(image)[0, 1] == filled


def test_a_frame_of_nan_becomes_0() -> None:
    assert (as_floats(np.full((2, 2), np.nan, np.float32)) == 0).all()
