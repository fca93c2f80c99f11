"""`Slots`: slots in turn, and frames back in the order they were sent."""

import pytest

from deepbid_rt.errors import StageError
from deepbid_rt.runtimes.gpu.slots import SLOTS, Slots


def sent(slots, launch=lambda: None):
    slot = slots.take()
    slots.send(slot, launch)
    return slot


def test_slots_alternate_and_frames_come_back_in_order():
    waited, marks = [], iter(range(9))

    def mark():
        number = next(marks)
        return lambda: waited.append(number)

    slots = Slots(mark)
    assert [sent(slots) for _ in range(SLOTS)] == list(range(SLOTS))
    with pytest.raises(RuntimeError, match="collect a frame before the next one is submitted"):
        slots.take()
    assert (slots.collect(), waited, slots.next) == (0, [0], 0)
    assert sent(slots) == 0
    slots.drain()
    assert (len(slots), waited) == (0, [0, 1, 2])


def test_a_device_error_is_a_stage_error_and_leaves_no_frame_waiting():
    def fail():
        raise RuntimeError("CUDA error: unspecified launch failure\nmore")

    slots = Slots(lambda: fail)
    with pytest.raises(StageError, match=r"the GPU failed in the middle of the session \(CUDA error"):
        sent(slots, fail)
    assert len(slots) == 0
