"""The keys that browsers hold."""

from __future__ import annotations

from deepbid_rt.web.browser_keys import MAX_KEYS, BrowserKeys


def test_only_keys_that_were_given_are_valid() -> None:
    keys = BrowserKeys()
    mine = keys.new()
    assert keys.admits(mine)
    assert not any(keys.admits(other) for other in (None, "", mine[:-1], mine + "x", BrowserKeys().new()))
    assert len(mine) >= 43


def test_their_number_is_bounded_and_a_key_in_use_stays() -> None:
    keys = BrowserKeys()
    used, unused = keys.new(), keys.new()
    for _ in range(3 * MAX_KEYS):
        keys.new()
        assert keys.admits(used)
    assert not keys.admits(unused)
    assert len(keys._keys) == MAX_KEYS
