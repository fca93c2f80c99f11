from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deepbid_rt.evaluation.evaluate import evaluate
from deepbid_rt.evaluation.more import markdown, more


@pytest.fixture(scope="module")
def movies() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    truth = np.full((40, 1, 24, 24), 100.0) + gaussian_filter(rng.uniform(0, 300, (24, 24)), 1)
    truth[15:20, :, 8:14, 8:14] += 400
    return truth, truth + rng.normal(0, 80, truth.shape)


def test_every_column_has_the_same_keys(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    paper, extra = evaluate(truth, truth, raw), more(truth, truth, raw)
    own = extra.keys() - {"raw", "residual", "baselines"}
    assert {"snr_affine_db", "correlation_dynamic", "sharpness", "event_f1", "linearity_slope", "rsp"} < own
    assert extra["raw"].keys() == own
    assert len(extra["baselines"]) == 3
    for scores in extra["baselines"].values():
        assert scores.keys() == own | (paper.keys() - {"raw"})
        assert scores["sharpness"] <= extra["sharpness"]
    assert extra["snr_affine_db"] > extra["raw"]["snr_affine_db"] + 5
    table = markdown(paper, extra).splitlines()
    assert table[0].startswith("| | denoised | raw | rolling mean 8 |")
    assert {line.count("|") for line in table} == {7}
    assert len(table) == 2 + len(own) + 5


def test_without_raw_there_is_one_column(movies: tuple[np.ndarray, np.ndarray]) -> None:
    truth, raw = movies
    extra = more(raw, truth)
    assert not extra.keys() & {"raw", "baselines", "residual"}
    assert markdown(evaluate(raw, truth), extra).splitlines()[0] == "| | denoised |"
