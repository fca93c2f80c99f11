from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.doctor.counts import bit_depth, cut_off, finite, looks, saturated, sentinel
from deepbid_rt.scan.missing_pixels import SENTINEL
from tests.doctor.scenes import movie


@pytest.mark.parametrize("photons", [0.1, 0.3, 1.0, 3.0, 30.0])
def test_a_clean_movie_raises_no_alarm(photons: float) -> None:
    frames = movie(photons=photons)
    found = [looks([frames])]
    for finding in (saturated(found), cut_off(found), finite(found), sentinel(frames), bit_depth(frames, 100.0)):
        assert finding.level == "ok", (finding.question, finding.answer)


def test_saturation_names_share_and_count() -> None:
    frames = movie()
    limit = int(np.quantile(frames, 0.98))
    finding = saturated([looks([np.minimum(frames, limit)])])
    assert finding.level == "attention"
    assert finding.figures["count"] == limit
    assert abs(finding.figures["share"] - 0.02) < 0.005


def test_the_worst_channel_counts() -> None:
    clean, cut = movie(), np.minimum(movie(), int(np.quantile(movie(), 0.9)))
    assert saturated([looks([clean]), looks([cut])]).figures["share"] > 0.05


def test_darkness_that_is_cut_off_is_found() -> None:
    frames = movie().astype(np.int32)
    cut = np.maximum(frames - int(np.quantile(frames, 0.6)), 0).astype(np.uint16)
    finding = cut_off([looks([cut])], 12.0)
    assert finding.level == "attention"
    assert finding.figures["cut_off_share"] > 0.5
    assert "darkness at about 12 counts" in finding.answer


def test_values_that_are_no_numbers_are_found() -> None:
    frames = movie().astype(np.float32)
    frames[3, 2, 1] = np.nan
    finding = finite([looks([frames])])
    assert finding.level == "attention"
    assert "NaN" in finding.answer


@pytest.mark.parametrize(("value", "said"), [(7, "every pixel is 7"), (np.nan, "NaN")])
def test_frames_without_a_picture_are_found(value: float, said: str) -> None:
    frames = np.full((5, 8, 8), value, np.float32)
    finding = finite([looks([frames])])
    assert finding.level == "attention"
    assert said in finding.answer


def test_a_dark_channel_beside_a_picture_is_no_problem() -> None:
    finding = finite([looks([np.zeros((5, 8, 8), np.int16)]), looks([movie()])])
    assert finding.level == "ok"
    assert "1 of 2 channels and planes are constant" in finding.answer


def test_sentinels_are_counted_and_stay_out_of_everything_else() -> None:
    frames = movie().astype(np.int16)
    frames[:, :6] = SENTINEL
    finding = sentinel(frames)
    assert finding.level == "note"
    assert abs(finding.figures["share"] - 6 / 96) < 1e-9
    assert cut_off([looks([frames])]).figures["lowest_count"] > SENTINEL
    assert bit_depth(frames, 100.0).level == "ok"


def test_mostly_sentinels_need_attention() -> None:
    frames = movie().astype(np.int16)
    frames[:, :60] = SENTINEL
    assert sentinel(frames).level == "attention"


@pytest.mark.parametrize(("step", "level"), [(4, "note"), (16, "note"), (3, "attention")])
def test_steps_of_the_converter_are_found(step: int, level: str) -> None:
    finding = bit_depth(movie() // step * step, 100.0)
    assert (finding.level, finding.figures["step_counts"]) == (level, step)


def test_coarse_steps_are_found() -> None:
    frames = np.random.default_rng(0).normal(50.0, 0.3, (20, 64, 64)).round().astype(np.uint8)
    assert bit_depth(frames, 0.3).level == "attention"


@pytest.mark.parametrize(
    ("frames", "level"),
    [
        (np.zeros((3, 4, 4), np.int16), "not known"),
        (np.zeros((3, 4, 4), np.float32), "ok"),
        (np.array([[0, 4], [8, 4]], np.uint16), "not known"),
        (np.full((3, 4, 4), SENTINEL, np.int16), "not known"),
    ],
    ids=["constant", "floating point", "few values", "sentinels only"],
)
def test_bits_that_cannot_be_told(frames: np.ndarray, level: str) -> None:
    assert bit_depth(frames).level == level


def test_no_frame() -> None:
    assert looks([]) == []
    for finding in (saturated([[]]), cut_off([[]]), finite([[]])):
        assert finding.level == "not known"
