"""The time of a run, earlier calls included."""

import math

import pytest

from deepbid_rt.train.budget import Budget


def test_time_counts_from_what_earlier_calls_took() -> None:
    times = iter([100.0, 110.0, 110.0, 110.0])
    budget = Budget(2, before_s=30, clock=lambda: next(times))
    assert budget.elapsed_s == 40
    assert budget.spent == pytest.approx(40 / 120)
    assert budget.left_s == 80


def test_what_is_spent_later() -> None:
    budget = Budget(1, clock=lambda: 5.0)
    assert budget.spent_after(45) == 0.75


def test_without_a_limit_nothing_is_ever_spent() -> None:
    budget = Budget(0, before_s=1e9)
    assert (budget.limited, budget.spent, budget.spent_after(1e9), budget.left_s) == (False, 0, 0, math.inf)
