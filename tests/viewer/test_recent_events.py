from __future__ import annotations

import pytest

from deepbid_rt.viewer.recent_events import RecentEvents


def test_a_steady_rate_is_right_from_the_second_event_on() -> None:
    recent = RecentEvents(5.0)
    assert recent.rate_hz(0.0) == 0.0
    for n in range(300):
        recent.add(n / 30)
        if n > 0:
            assert recent.rate_hz(n / 30) == pytest.approx(30, rel=1e-6)


def test_the_rate_falls_to_0_when_events_stop() -> None:
    recent = RecentEvents(5.0)
    for n in range(31):
        recent.add(n / 30)
    rates = [recent.rate_hz(1 + t) for t in (0.0, 1.0, 2.0, 10.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[1] == pytest.approx(15, rel=0.1)
    assert rates[-1] == 0.0


def test_quantiles_cover_the_last_seconds() -> None:
    recent = RecentEvents(2.0)
    recent.add(0.0, 1000.0)
    for n in range(11):
        recent.add(5 + n / 10, n)
    assert recent.quantile(0.5, 6.0) == 5
    assert recent.quantile(0.95, 6.0) == 9.5
    assert recent.quantile(0.5, 60.0) is None


def test_memory_is_bounded() -> None:
    recent = RecentEvents(1e9)
    for n in range(10_000):
        recent.add(n)
    assert len(recent._events) < 5000
