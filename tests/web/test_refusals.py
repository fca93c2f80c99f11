"""What the page refused is counted always, and logged now and then."""

from __future__ import annotations

import logging

import pytest

from deepbid_rt.web.refusals import INTERVAL_S, Refusals


def test_each_cause_is_counted_always_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            refusals.add("token", "192.0.2.7", "refused a wrong token")
            refusals.add("slow", "192.0.2.7", "closed a connection that was too slow")
        now[0] += INTERVAL_S
        refusals.add("token", "192.0.2.8", "refused a wrong token")
    assert refusals.counts["token"] == 1001
    assert refusals.counts["viewers"] == 0
    assert [record.getMessage() for record in caplog.records] == [
        "page: refused a wrong token (192.0.2.7; 1 so far)",
        "page: closed a connection that was too slow (192.0.2.7; 1 so far)",
        "page: refused a wrong token (192.0.2.8; 1001 so far)",
    ]
