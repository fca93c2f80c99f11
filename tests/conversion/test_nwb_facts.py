"""What a user says for an NWB file."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from deepbid_rt.conversion.nwb_facts import NwbFacts, of_channel
from deepbid_rt.errors import OptionError


def test_nothing_said_is_unknown() -> None:
    facts = NwbFacts.of({})
    assert (facts.session_start, facts.device, facts.location, facts.indicator) == (
        None,
        "unknown",
        "unknown",
        ("unknown",),
    )
    assert math.isnan(facts.excitation_nm[0])
    assert facts.identifier != NwbFacts.of({}).identifier


def test_texts_numbers_and_lists() -> None:
    facts = NwbFacts.of(
        {
            "session_start": "2026-01-30T14:05:00+01:00",
            "indicator": "GCaMP6f, mRuby",
            "excitation_nm": 920,
            "emission_nm": [525, "600"],
            "experimenter": "Ada L.",
            "location": " V1 ",
            "sex": "F",
            "age": "P12W",
        }
    )
    assert facts.session_start == datetime(2026, 1, 30, 14, 5, tzinfo=timezone(timedelta(hours=1)))
    assert facts.indicator == ("GCaMP6f", "mRuby")
    assert (facts.excitation_nm, facts.emission_nm) == ((920.0,), (525.0, 600.0))
    assert (facts.location, facts.experimenter) == ("V1", ("Ada L.",))
    assert [of_channel(facts.emission_nm, c) for c in range(2)] == [525.0, 600.0]
    assert [of_channel(facts.excitation_nm, c) for c in range(2)] == [920.0, 920.0]


def test_a_start_without_a_zone_is_local() -> None:
    start = NwbFacts.of({"session_start": "2026-01-30 14:05"}).session_start
    assert start is not None
    assert start.tzinfo is not None
    assert start.replace(tzinfo=None) == datetime(2026, 1, 30, 14, 5)
    assert NwbFacts.of({"session_start": datetime(2020, 1, 1, tzinfo=UTC)}).session_start == datetime(
        2020, 1, 1, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("given", "came"),
    [
        ({"start": "now"}, "the NWB fact 'start'"),
        ({"session_start": "yesterday"}, "session_start=yesterday"),
        ({"session_start": "2990-01-01"}, "session_start=2990-01-01, which is in the future"),
        ({"session_start": ""}, "session_start="),
        ({"location": ""}, "location=''"),
        ({"location": 3}, "location=3"),
        ({"indicator": "GCaMP6f,"}, "indicator=''"),
        ({"excitation_nm": "blue"}, "excitation_nm=blue"),
        ({"excitation_nm": "0.92"}, "excitation_nm=0.92"),
        ({"emission_nm": "525,nan"}, "emission_nm=nan"),
        ({"emission_nm": None}, "emission_nm=None"),
        ({"sex": "female"}, "sex=female"),
        ({"age": "12 weeks"}, "age=12 weeks"),
        ({"age": "P"}, "age=P"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object], came: str) -> None:
    with pytest.raises(OptionError) as info:
        NwbFacts.of(given)
    assert info.value.came == came


def test_values_for_other_channels() -> None:
    NwbFacts.of({"indicator": "a,b"}).check_channels(2)
    NwbFacts.of({"indicator": "a"}).check_channels(2)
    with pytest.raises(OptionError, match="2 values of emission_nm for 3 channels"):
        NwbFacts.of({"emission_nm": "525,600"}).check_channels(3)
