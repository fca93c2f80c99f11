from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from deepbid_rt.doctor.examination import QUESTIONS, examine, noise_counts
from deepbid_rt.doctor.sample import Sample, Stamps
from deepbid_rt.frame import ScanGeometry, StreamInfo
from tests.doctor.scenes import movie, sample_of


def levels(examination) -> dict[str, str]:
    return {finding.question: finding.level for finding in examination.findings}


@pytest.mark.parametrize("layout", ["ordinary", "collinear"])
def test_a_clean_stream_needs_no_attention(layout) -> None:
    examination = examine(sample_of(movie(layout, photons=30.0), ScanGeometry(layout)))
    assert tuple(levels(examination)) == QUESTIONS
    assert not examination.attention, [finding.answer for finding in examination.attention]
    assert examination.options["scan"] == layout
    summary = json.loads(json.dumps(examination.summary()))
    assert summary["ok"] is True
    assert len(summary["findings"]) == len(QUESTIONS)


def test_a_wrong_description_is_corrected_and_questions_after_it_are_answered_with_the_correction() -> None:
    examination = examine(sample_of(movie("collinear", mirrored=False, photons=30.0)), pictures=True)
    found = {finding.question: finding for finding in examination.findings}
    assert {finding.question for finding in examination.attention} == {"mirrored", "layout"}
    assert examination.options["unmirrored"] is True
    assert examination.options["scan"] == "collinear"
    assert (examination.scan.layout, examination.scan.mirrored) == ("collinear", False)
    assert found["line phase"].level == "ok"
    assert found["mirrored"].panels


def test_the_channel_with_the_clearest_picture_is_judged() -> None:
    good = sample_of(movie())
    dark = np.random.default_rng(0).normal(100, 15, good.frames.shape).astype(np.uint16)
    frames = np.concatenate([dark, good.frames], axis=1)
    info = replace(good.info, shape=frames.shape[1:])
    examination = examine(replace(good, info=info, frames=frames, _runs={}))
    assert examination.place == (1, 0)
    assert levels(examination)["mirrored"] == "ok"


def test_planes_that_are_stated_are_no_interleaving() -> None:
    parts = [movie(seed=seed) for seed in (1, 2)]
    frames = np.stack([parts[t % 2][t] for t in range(40)])
    mixed = sample_of(frames)
    assert levels(examine(mixed))["interleaved"] == "attention"
    stated = replace(mixed, info=replace(mixed.info, planes=2), planes=np.arange(40) % 2, _runs={})
    assert levels(examine(stated))["interleaved"] != "attention"


BAD = {
    "constant": np.full((20, 64, 64), 7, np.int16),
    "all NaN": np.full((20, 64, 64), np.nan, np.float32),
    "some NaN": np.where(np.arange(64) < 3, np.nan, movie()[:20, :64, :64]).astype(np.float32),
    "one frame": movie()[:1],
    "two frames": movie()[:2],
    "8x8": movie()[:, :8, :8],
    "one line": movie()[:, :1],
    "one pixel": movie()[:, :1, :1],
    "one column": movie()[..., :1],
    "odd size": movie()[:, :95, :93],
    "noise": np.random.default_rng(0).normal(100, 15, (20, 64, 64)).astype(np.int16),
    "huge": movie()[:5, :32, :32].astype(np.float32) * np.float32(1e34),
    "sentinels only": np.full((9, 64, 64), -16384, np.int16),
    "8 bits": np.minimum(movie() // 8, 255).astype(np.uint8),
}


@pytest.mark.parametrize("frames", BAD.values(), ids=BAD)
def test_whatever_comes_is_answered_without_an_error_and_without_claims_about_the_scan(frames: np.ndarray) -> None:
    examination = examine(sample_of(frames), pictures=True)
    assert tuple(levels(examination)) == QUESTIONS
    json.dumps(examination.summary(), allow_nan=False)
    for question in ("mirrored", "layout", "axes", "interleaved"):
        assert levels(examination)[question] in ("ok", "not known"), question
    for finding in examination.findings:
        assert (finding.level == "not known") == (finding.confidence == "none")


def test_frames_with_gaps_between_all_of_them() -> None:
    whole = sample_of(movie())
    numbers = np.cumsum(np.where(np.arange(40) % 2, 1, 3))
    examination = examine(replace(whole, indices=numbers, _runs={}))
    assert levels(examination)["noise"] in ("ok", "not known")


def test_the_noise_of_a_pixel() -> None:
    frames = np.random.default_rng(0).normal(100, 15, (20, 64, 64)).astype(np.float32)
    assert abs(noise_counts([frames]) - 15) < 1
    assert noise_counts([frames[:1]]) is None


def test_an_examination_of_one_frame_of_each_plane() -> None:
    frames = movie()[:3, None]
    info = StreamInfo((1, 96, 96), frames.dtype, 30.0, planes=3)
    sample = Sample(info, frames, np.arange(3), np.arange(3), Stamps())
    assert tuple(levels(examine(sample))) == QUESTIONS
