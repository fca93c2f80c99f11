"""Limits of a rate."""

from __future__ import annotations

import pytest

from deepbid_rt.web.pace import Pace


def test_a_burst_passes_and_then_events_come_at_the_rate() -> None:
    now = [10.0]
    pace = Pace(4.0, 3, clock=lambda: now[0])
    assert [pace.take() for _ in range(6)] == pytest.approx([0, 0, 0, 0.25, 0.5, 0.75])
    now[0] += 0.75
    assert pace.wait_s() == pytest.approx(0.25)
    now[0] += 100
    assert [pace.take() for _ in range(4)] == pytest.approx([0, 0, 0, 0.25])


def test_asking_for_the_wait_counts_nothing() -> None:
    pace = Pace(1.0, 1, clock=lambda: 0.0)
    assert [pace.wait_s() for _ in range(5)] == [0] * 5
