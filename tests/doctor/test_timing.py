from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepbid_rt.doctor.sample import Stamps
from deepbid_rt.doctor.timing import clock, dropped, rate, repeated

NUMBERS = np.arange(90)
SENT = 10**18 + NUMBERS * 33_333_333
LIVE = Stamps(NUMBERS, SENT, SENT + 2_000_000, np.full(90, np.nan), live=True)
FILE = Stamps(NUMBERS, np.zeros(90, np.int64), np.zeros(90, np.int64), NUMBERS / 30.0)
ALONE = Stamps(NUMBERS[:1], SENT[:1], SENT[:1], np.zeros(1), live=True)


def test_a_clean_stream_raises_no_alarm() -> None:
    for finding in (dropped(LIVE), repeated(LIVE), clock(LIVE), rate(LIVE, 30.0)):
        assert finding.level == "ok", finding.answer


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ({"missing": 10}, "10 of 100 frames are missing"),
        ({"duplicates": 3}, "3 came with a number that was there before"),
        ({"refused": 2}, "2 were refused"),
    ],
)
def test_losses_are_counted_by_cause(lost: dict[str, int], said: str) -> None:
    finding = dropped(replace(LIVE, **lost))
    assert finding.level == "attention"
    assert finding.answer == said


def test_repeats_are_counted() -> None:
    finding = repeated(replace(LIVE, repeated=4))
    assert finding.level == "attention"
    assert finding.answer == "4 of 90 frames have exactly the pixels of the frame before"


@pytest.mark.parametrize("ahead_s", [10.0, -10.0])
def test_clocks_that_are_apart_are_found(ahead_s: float) -> None:
    finding = clock(replace(LIVE, arrived_ns=LIVE.arrived_ns - int(ahead_s * 1e9)))
    assert finding.level == "attention"
    assert ("ahead of" if ahead_s > 0 else "behind") in finding.answer


@pytest.mark.parametrize("stated_hz", [24.0, 60.0])
def test_a_wrong_rate_is_found(stated_hz: float) -> None:
    finding = rate(LIVE, stated_hz)
    assert finding.level == "attention"
    assert abs(finding.figures["measured_hz"] - 30) < 0.01
    assert finding.options == {}  # a stream states its rate itself
    assert rate(FILE, stated_hz).options == {"rate": pytest.approx(30.0)}


def test_lost_frames_do_not_change_the_rate() -> None:
    kept = NUMBERS % 3 != 1
    some = Stamps(NUMBERS[kept], SENT[kept], SENT[kept], FILE.acquired_s[kept], live=True)
    assert rate(some, 30.0).level == "ok"


def test_bursts_do_not_change_the_rate() -> None:
    bursts = replace(LIVE, sent_ns=np.zeros(90, np.int64), arrived_ns=SENT // 100_000_000 * 100_000_000)
    assert rate(bursts, 30.0).level == "ok"


def test_a_rate_that_is_not_stated_is_an_option() -> None:
    assert rate(FILE, 30.0, known=False).options == {"rate": pytest.approx(30.0)}
    assert rate(FILE, 10.0, known=False).level == "attention"


@pytest.mark.parametrize("stamps", [ALONE, Stamps()], ids=["one frame", "no frame"])
def test_nothing_is_known_of_a_single_frame(stamps: Stamps) -> None:
    for finding in (dropped(stamps), repeated(stamps), clock(stamps), rate(stamps, 30.0)):
        assert finding.level == "not known", finding.answer


def test_what_a_recording_does_not_show() -> None:
    assert clock(FILE).level == "not known"
    assert dropped(replace(FILE, numbered=False)).answer == "not known: the recording does not number its frames"
    untimed = replace(FILE, acquired_s=np.full(90, np.nan))
    assert rate(untimed, 30.0).level == "not known"
    assert rate(replace(LIVE, sent_ns=LIVE.sent_ns * 0 + 1, arrived_ns=LIVE.sent_ns * 0), 30.0).level == "not known"
