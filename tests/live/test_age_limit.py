"""How old the newest picture may be."""

from __future__ import annotations

import pytest

from deepbid_rt.live.age_limit import DISPLAY_MS, WITHOUT_RULE_MS, age_limit_ms


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        ((200.0, 50.0), 200 + 20),
        ((200.0, 50.0, 1, 2), 200 + 3 * 20),
        ((200.0, 50.0, 4, 8), 200 + 12 * 20),
        ((None, 50.0), WITHOUT_RULE_MS + 20),
        ((200.0, 50.0, 1, None), 200 + 20),
        ((200.0, 0.5), 200 + 2000),
    ],
)
def test_a_picture_may_be_as_old_as_the_rule_the_delay_and_one_frame(arguments: tuple, limit: float) -> None:
    assert age_limit_ms(*arguments) == pytest.approx(limit + DISPLAY_MS)
