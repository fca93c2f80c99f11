from __future__ import annotations

from deepbid_rt.evaluation.figures import FIGURES, unknown
from tests import ROOT

DOCS = ROOT / "docs" / "evaluation.md"


def test_the_names_of_the_contract_are_there() -> None:
    assert {"correlation_xyt", "correlation_frame", "snr_db", "ssim_2d", "ssim_3d"} <= FIGURES.keys()
    assert {"snr_affine_db", "correlation_dynamic", "sharpness"} <= FIGURES.keys()


def test_what_is_unknown_is_what_lacks_its_need() -> None:
    assert unknown({"truth", "raw", "traces", "reference"}) == []
    nothing = unknown(set())
    assert set(nothing) == {name for name, figure in FIGURES.items() if figure.need}
    assert "snr_db" in unknown({"raw", "traces", "reference"})
    assert "flicker" in unknown({"truth"})
    assert "rsp" not in unknown({"reference"})


def test_the_documentation_explains_every_figure() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in FIGURES if f"`{name}`" not in text] == []
