import pytest

from deepbid_rt.wire.loopback import is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "::1"])
def test_hosts_that_only_this_machine_reaches(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "[::]", "192.168.0.2", "scope-pc", "localhost.evil.example", ""])
def test_hosts_that_others_reach(host: str) -> None:
    assert not is_loopback(host)
