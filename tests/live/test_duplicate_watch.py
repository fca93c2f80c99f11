"""Frame numbers that stand still."""

from __future__ import annotations

import dataclasses

from deepbid_rt.live.alarms import Alarms
from deepbid_rt.live.duplicate_watch import DuplicateWatch
from deepbid_rt.wire.source_status import SourceStatus

NOTHING = SourceStatus(state="live", received=0, lost={}, bad={}, refused={}, unread=0)


def duplicates(count: int) -> SourceStatus:
    return dataclasses.replace(NOTHING, duplicates=count)


def test_a_number_that_stands_still_is_an_alarm_until_it_moves() -> None:
    alarms = Alarms()
    watch = DuplicateWatch(alarms)
    watch.check(duplicates(0), 1)
    assert not alarms.current()
    watch.check(duplicates(30), 1)
    (alarm,) = alarms.current()
    assert alarm.kind == "source"
    assert alarm.text.startswith("the frame numbers stand still: most frames that arrive have a number that was there ")
    assert "(30 were not so far)" in alarm.text
    watch.check(duplicates(60), 1)
    assert len(alarms.current()) == 1
    watch.check(duplicates(60), 31)
    assert not alarms.current()


def test_a_network_that_repeats_some_messages_is_none() -> None:
    alarms = Alarms()
    watch = DuplicateWatch(alarms)
    for second in range(5):
        watch.check(duplicates(second * 10), second * 30)
    assert not alarms.current()


def test_a_slow_sender_is_noticed_too() -> None:
    alarms = Alarms()
    watch = DuplicateWatch(alarms)
    for look in range(10):
        watch.check(duplicates(look), 1)
    assert alarms.current()
