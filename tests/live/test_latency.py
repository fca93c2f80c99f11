import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.live.latency import LatencyHistogram


def filled(durations):
    histogram = LatencyHistogram()
    for duration in durations:
        histogram.add(int(duration))
    return histogram


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=200), st.floats(0.001, 1.0))
def test_quantiles_are_within_2_percent_of_the_true_ones(durations, q):
    true_ms = np.quantile(durations, q, method="inverted_cdf") / 1e6
    assert filled(durations).quantile_ms(q) == pytest.approx(true_ms, rel=0.025)


@pytest.mark.parametrize("q", [0.01, 0.5, 0.9, 0.99, 1.0])
def test_quantiles_of_many_durations(q):
    durations = np.random.default_rng(0).lognormal(15, 1.5, 20_000)
    assert filled(durations).quantile_ms(q) == pytest.approx(np.quantile(durations, q) / 1e6, rel=0.025)


def test_an_empty_histogram_has_no_quantiles():
    histogram = LatencyHistogram()
    assert (histogram.count, histogram.quantile_ms(0.5)) == (0, None)
    assert histogram.summary() == {"p50": None, "p99": None}


def test_negative_durations_count_as_zero_and_very_long_ones_as_the_longest():
    histogram = filled([-5, 0, 10**18])
    assert histogram.count == 3
    assert histogram.quantile_ms(0.5) < 1e-5
    assert histogram.quantile_ms(1.0) > 3_600_000


def test_the_summary_is_rounded_for_reading():
    summary = filled([12_345_678] * 99 + [1_000_000_000]).summary()
    assert summary == {"p50": pytest.approx(12.345678, rel=0.02), "p99": pytest.approx(12.345678, rel=0.02)}
    assert all(len(f"{value:g}".replace(".", "")) <= 3 for value in summary.values())


def test_memory_does_not_grow():
    histogram = filled(range(1, 1000))
    before = histogram._counts.nbytes
    for duration in range(1, 10_000, 7):
        histogram.add(duration**3)
    assert histogram._counts.nbytes == before
