"""How often tokens can be tried."""

from __future__ import annotations

import pytest

from deepbid_rt.web.attempts import FREE, LONGEST_WAIT_S, MAX_PEERS, TOTAL_BURST, TOTAL_PER_S, Attempts


class Clock:
    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(clock)


def tries(attempts: Attempts, clock: Clock, peer: str, seconds: float) -> int:
    """Count the wrong tokens that a peer which never gives up can send within so many seconds."""
    count, end_s = 0, clock.s + seconds
    while clock.s < end_s:
        if wait_s := attempts.wait_s(peer):
            clock.s += wait_s
        else:
            attempts.failed(peer)
            count += 1
    return count


def test_a_peer_that_never_gives_up_gets_few_attempts(attempts: Attempts, clock: Clock) -> None:
    assert tries(attempts, clock, "192.0.2.1", 3600) < 30
    assert attempts.wait_s("192.0.2.1") <= LONGEST_WAIT_S


def test_a_few_mistakes_cost_nothing_and_the_right_token_forgives_them(attempts: Attempts, clock: Clock) -> None:
    for _ in range(3):
        for _ in range(FREE - 1):
            attempts.failed("192.0.2.1")
            assert attempts.wait_s("192.0.2.1") == 0
        attempts.succeeded("192.0.2.1")


def test_the_wait_doubles(attempts: Attempts, clock: Clock) -> None:
    waits = []
    for _ in range(FREE + 12):
        attempts.failed("192.0.2.1")
        waits.append(attempts.wait_s("192.0.2.1"))
        clock.s += waits[-1]
    assert waits[FREE - 2 : FREE + 3] == [0, 1, 2, 4, 8]
    assert waits[-1] == LONGEST_WAIT_S


def test_many_peers_together_get_few_attempts_as_well(attempts: Attempts, clock: Clock) -> None:
    count = 0
    for n in range(100_000):
        peer = f"2001:db8:{n:x}::/64"
        if attempts.wait_s(peer) == 0:
            attempts.failed(peer)
            count += 1
        clock.s += 0.01
    assert count <= TOTAL_BURST + 1000 * TOTAL_PER_S + 1
    assert len(attempts._peers) <= MAX_PEERS


def test_strangers_cannot_lock_out_a_peer_that_had_the_right_token(attempts: Attempts) -> None:
    attempts.succeeded("192.0.2.7")
    for n in range(5 * MAX_PEERS):
        attempts.failed(f"198.51.{n // 256}.{n % 256}")
    assert attempts.wait_s("192.0.2.99") > 0
    assert attempts.wait_s("192.0.2.7") == 0
