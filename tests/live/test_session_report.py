from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.live.session_report import CAUSES, SessionReport
from deepbid_rt.wire.header import pack


def test_a_report_survives_the_wire_and_leaves_out_what_is_not_known() -> None:
    report = SessionReport("running", 10, 9, 1, dict.fromkeys(CAUSES, 0), {"p50": 3.5}, "average", recording=False)
    values = report.to_map()
    assert "line_phase_px" not in values
    assert values["recording"] is False
    pack(values)
    assert SessionReport.from_map(values) == report


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*SessionReport.__dataclass_fields__, "other"]), plain))
def test_whatever_a_sender_says_is_read(values: dict) -> None:
    report = SessionReport.from_map(values)
    assert isinstance(report.recording, bool | None)
    assert all(type(count) is int and count >= 0 for count in report.lost.values())
    assert report.disk_free_bytes is None or math.isfinite(report.disk_free_bytes)
    assert report.minutes_left is None or isinstance(report.minutes_left, float)


@pytest.mark.parametrize(
    ("recording", "free", "rate", "minutes"),
    [(True, 6e9, 1e7, 10.0), (False, 6e9, 1e7, None), (True, None, 1e7, None), (True, 6e9, 0.0, None)],
)
def test_minutes_of_disk(recording: bool, free: float, rate: float, minutes: float | None) -> None:
    report = SessionReport(recording=recording, disk_free_bytes=free, record_bytes_per_s=rate)
    assert report.minutes_left == minutes
