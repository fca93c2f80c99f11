from __future__ import annotations

from deepbid_rt.viewer.latest_value import LatestValue


def test_only_the_newest_value_is_kept_and_replaced_ones_are_counted() -> None:
    latest: LatestValue[int] = LatestValue()
    assert latest.take() is None
    for n in range(5):
        latest.put(n)
    assert latest.skipped == 4
    assert latest.take() == 4
    assert latest.take() is None
    latest.put(0)
    assert (latest.take(), latest.skipped) == (0, 4)
