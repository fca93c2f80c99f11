from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.wire.number_ranges import NumberRanges


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 40)), max_size=30))
@settings(max_examples=200, deadline=None)
def test_it_is_a_set_of_numbers(steps: list[tuple[int, int, int]]) -> None:
    ranges, model, top = NumberRanges(), set(), 0
    for skip, count, taken in steps:
        ranges.add(top + skip, count)
        model |= set(range(top + skip, top + skip + count))
        top += skip + count
        assert ranges.discard(taken) == (taken in model)
        model.discard(taken)
        assert {number for number in range(top + 2) if number in ranges} == model


def test_the_lowest_ranges_are_forgotten() -> None:
    ranges = NumberRanges(most=3)
    for first in range(0, 100, 10):
        ranges.add(first, 2)
    assert [number for number in range(100) if number in ranges] == [70, 71, 80, 81, 90, 91]
    assert ranges.known_from == 62
