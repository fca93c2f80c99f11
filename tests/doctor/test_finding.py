from __future__ import annotations

import math

from deepbid_rt.doctor.finding import Finding, how_sure, not_known


def test_what_is_not_known_says_why_and_has_no_confidence() -> None:
    finding = not_known("layout", "no frame", frames=0.0)
    assert (finding.level, finding.confidence, finding.answer) == ("not known", "none", "not known: no frame")


def test_evidence_counts_double_for_high_confidence() -> None:
    assert (how_sure(2.0, 1.0), how_sure(1.9, 1.0)) == ("high", "low")


def test_the_summary_holds_plain_figures_only() -> None:
    finding = Finding("a", "ok", "b", {"x": 1.23456, "y": math.inf, "z": math.nan}, options={"scan": "ordinary"})
    summary = finding.summary()
    assert summary["figures"] == {"x": 1.235}
    assert summary["options"] == {"scan": "ordinary"}
    assert "panels" not in summary
