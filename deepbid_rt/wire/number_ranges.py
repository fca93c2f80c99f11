"""A bounded set of numbers that grows upwards."""

from __future__ import annotations

from collections import deque


class NumberRanges:
    """Whole numbers, kept as ranges in rising order. When there are too many ranges, the lowest are forgotten.

    Parameters
    ----------
    most : int
        Largest number of ranges.
    """

    __slots__ = ("_most", "_ranges", "known_from")

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._ranges: deque[tuple[int, int]] = deque()  # first, and one after the last
        self.known_from = 0
        """Whether numbers below this one were added is forgotten."""

    def __contains__(self, number: int) -> bool:
        return any(first <= number < after for first, after in reversed(self._ranges))

    def add(self, first: int, count: int) -> None:
        """Add `count` numbers from `first` on, which must be above all that were added before."""
        if count <= 0:
            return
        after = first + count
        if self._ranges and self._ranges[-1][1] == first:
            first, _ = self._ranges.pop()
        self._ranges.append((first, after))
        self._forget()

    def discard(self, number: int) -> bool:
        """Take a number out; False when it is not there."""
        for at, (first, after) in enumerate(self._ranges):
            if first <= number < after:
                del self._ranges[at]
                if number + 1 < after:
                    self._ranges.insert(at, (number + 1, after))
                if first < number:
                    self._ranges.insert(at, (first, number))
                self._forget()
                return True
        return False

    def _forget(self) -> None:
        while len(self._ranges) > self._most:
            self.known_from = self._ranges.popleft()[1]
