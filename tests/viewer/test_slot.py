from __future__ import annotations

from deepbid_rt.viewer.slot import Slot


def test_only_the_newest_is_there_and_what_was_missed_is_counted() -> None:
    slot: Slot[int] = Slot()
    assert slot.take() is None
    for n in range(5):
        slot.put(n)
    assert slot.skipped == 4
    assert slot.take() == 4
    assert slot.take() is None
    slot.put(0)
    assert (slot.take(), slot.skipped) == (0, 4)
