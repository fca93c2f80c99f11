"""The words for alarms."""

from __future__ import annotations

from typing import get_args

from deepbid_rt.wire.alarm import AlarmKind
from deepbid_rt.wire.alarm_words import ALARM_WORDS, worst_alarm


def test_every_kind_of_alarm_has_words() -> None:
    assert set(ALARM_WORDS) == set(get_args(AlarmKind))


def test_the_worst_comes_first_and_the_others_are_counted() -> None:
    assert worst_alarm([]) is None
    assert worst_alarm(["clock"]) == ("clocks differ", "warn")
    assert worst_alarm(["clock", "behind"]) == ("behind, 1 more alarm", "bad")
    assert worst_alarm(["disk", "sink", "sink"]) == ("output failed, 2 more alarms", "bad")
