from __future__ import annotations

from deepbid_rt.evaluation.metrics import METRICS, missing_metrics
from tests import ROOT

DOCS = ROOT / "docs" / "reference" / "evaluate.md"


def test_the_promised_metrics_exist() -> None:
    assert {"correlation_xyt", "correlation_frame", "snr_db", "ssim_2d", "ssim_3d"} <= METRICS.keys()
    assert {"snr_affine_db", "correlation_dynamic", "sharpness"} <= METRICS.keys()


def test_missing_metrics_are_those_without_their_reference() -> None:
    assert missing_metrics({"truth", "raw", "traces", "reference"}) == []
    nothing = missing_metrics(set())
    assert set(nothing) == {name for name, metric in METRICS.items() if metric.requires}
    assert "snr_db" in missing_metrics({"raw", "traces", "reference"})
    assert "flicker" in missing_metrics({"truth"})
    assert "rsp" not in missing_metrics({"reference"})


def test_the_documentation_explains_every_metric() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in METRICS if f"`{name}`" not in text] == []
