from __future__ import annotations

import pytest

from deepbid_rt.viewer.panels import BLINK_S, panels_of


def test_side_by_side_with_the_baseline_between_on_request() -> None:
    assert [p.first for p in panels_of("side", 1, 0.0)] == ["raw", "denoised"]
    assert [p.title for p in panels_of("side", 8, 0.0)] == ["raw", "average of 8 raw", "denoised"]


@pytest.mark.parametrize(("average", "against"), [(1, "raw"), (4, "average")])
def test_one_panel_against_the_baseline(average: int, against: str) -> None:
    for mode in ("swipe", "difference"):
        (panel,) = panels_of(mode, average, 0.0)
        assert (panel.first, panel.second, panel.mix) == (against, "denoised", mode)
    shown = [panels_of("blink", average, BLINK_S * turn)[0].first for turn in range(4)]
    assert shown == ["denoised", against, "denoised", against]
