"""The time limit of a run, earlier calls included."""

import math

import pytest

from deepbid_rt.train.time_budget import TimeBudget


def test_time_counts_from_what_earlier_calls_took() -> None:
    times = iter([100.0, 110.0, 110.0, 110.0])
    budget = TimeBudget(2, before_s=30, clock=lambda: next(times))
    assert budget.elapsed_s == 40
    assert budget.used == pytest.approx(40 / 120)
    assert budget.left_s == 80


def test_the_fraction_used_after_some_seconds() -> None:
    budget = TimeBudget(1, clock=lambda: 5.0)
    assert budget.used_after(45) == 0.75


def test_without_a_limit_no_time_is_ever_used() -> None:
    budget = TimeBudget(0, before_s=1e9)
    assert (budget.limited, budget.used, budget.used_after(1e9), budget.left_s) == (False, 0, 0, math.inf)
