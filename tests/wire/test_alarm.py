import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.wire.alarm import MAX_ALARMS, Alarm, read_alarms
from deepbid_rt.wire.received_text import MAX_TEXT


def test_alarms_survive_the_wire():
    alarms = (Alarm("disk", "9 minutes left"), Alarm("behind", "too slow"))
    assert read_alarms([alarm.to_map() for alarm in alarms]) == alarms


@pytest.mark.parametrize("values", [None, 3, "disk", {}, [None], [{"kind": "disk"}], [{"kind": "x", "text": "y"}]])
def test_what_is_not_an_alarm_is_left_out(values):
    assert read_alarms(values) == ()


@given(st.lists(st.fixed_dictionaries({"kind": st.just("disk"), "text": st.text(max_size=500)}), max_size=40))
def test_received_text_is_bounded_and_printable(values):
    alarms = read_alarms(values)
    assert len(alarms) <= MAX_ALARMS
    for alarm in alarms:
        assert len(alarm.text) <= MAX_TEXT
        assert alarm.text.isprintable()
