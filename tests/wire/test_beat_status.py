from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.wire.beat_status import LOSS_CAUSES, BeatStatus
from deepbid_rt.wire.header import pack


def test_a_status_survives_the_wire_and_omits_unknown_values() -> None:
    status = BeatStatus("running", 10, 9, 1, dict.fromkeys(LOSS_CAUSES, 0), {"p50": 3.5}, "average", recording=False)
    values = status.to_map()
    assert "line_phase_px" not in values
    assert values["recording"] is False
    pack(values)
    assert BeatStatus.from_map(values) == status


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*BeatStatus.__dataclass_fields__, "other"]), plain))
def test_any_map_of_plain_values_can_be_read(values: dict) -> None:
    status = BeatStatus.from_map(values)
    assert isinstance(status.recording, bool | None)
    assert all(type(count) is int and count >= 0 for count in status.lost.values())
    assert status.disk_free_bytes is None or math.isfinite(status.disk_free_bytes)
    assert status.minutes_left is None or isinstance(status.minutes_left, float)


@pytest.mark.parametrize(
    ("recording", "free", "rate", "minutes"),
    [(True, 6e9, 1e7, 10.0), (False, 6e9, 1e7, None), (True, None, 1e7, None), (True, 6e9, 0.0, None)],
)
def test_minutes_until_the_disk_is_full(recording: bool, free: float, rate: float, minutes: float | None) -> None:
    status = BeatStatus(recording=recording, disk_free_bytes=free, record_bytes_per_s=rate)
    assert status.minutes_left == minutes
