from deepbid_rt.live.alarms import Alarms
from deepbid_rt.wire.alarm import Alarm


def test_a_part_has_one_alarm_and_only_changes_are_reported(caplog):
    changes = []
    alarms = Alarms(lambda part, alarm: changes.append((part, alarm)))
    alarms.set("the disk", "disk", "9 minutes left")
    alarms.set("the disk", "disk", "8 minutes left")
    alarms.set("the engine", "safe-mode", "it failed")
    assert alarms.current() == (Alarm("disk", "8 minutes left"), Alarm("safe-mode", "it failed"))
    alarms.clear("the disk")
    alarms.clear("the disk")
    assert alarms.current() == (Alarm("safe-mode", "it failed"),)
    assert changes == [
        ("the disk", Alarm("disk", "9 minutes left")),
        ("the engine", Alarm("safe-mode", "it failed")),
        ("the disk", None),
    ]
    assert caplog.messages == ["9 minutes left", "it failed", "over: 8 minutes left"]
