"""Whose turn it is, and in which order frames come back."""

import pytest

from deepbid_rt.errors import StageError
from deepbid_rt.runtimes.gpu.slots import SLOTS, Slots


def sent(slots, queue=lambda: None):
    slot = slots.take()
    slots.send(slot, queue)
    return slot


def test_frames_take_turns_and_come_back_in_their_order():
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


def test_an_error_of_the_device_is_named_and_nothing_is_waited_for():
    def fail():
        raise RuntimeError("CUDA error: unspecified launch failure\nmore")

    slots = Slots(lambda: fail)
    with pytest.raises(StageError, match=r"the GPU failed in the middle of the session \(CUDA error"):
        sent(slots, fail)
    assert len(slots) == 0
