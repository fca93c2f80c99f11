"""Which requests the page answers."""

from __future__ import annotations

import socket

import pytest

from deepbid_rt.errors import EndpointError
from deepbid_rt.web.access_policy import MIN_TOKEN_CHARS, AccessPolicy

TOKEN = "a-token-long-enough"


@pytest.mark.parametrize("address", ["127.0.0.1:8080", "localhost:0", "[::1]:65535"])
def test_loopback_needs_no_token(address: str) -> None:
    policy = AccessPolicy.of(address, None)
    assert f"{policy.host}:{policy.port}" == address
    assert policy.admits_token(None)


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "192.168.1.2:80", "[::]:80", "scope-pc:8080"])
def test_other_addresses_need_a_token(address: str) -> None:
    with pytest.raises(EndpointError) as caught:
        AccessPolicy.of(address, None)
    assert str(caught.value) == (
        f"a page on {address.rpartition(':')[0]}, which other machines can reach, without a token; expected a loopback "
        "address such as 127.0.0.1:8080, or a token; bind loopback, or choose a token with --http-token."
    )
    assert AccessPolicy.of(address, TOKEN).token == TOKEN


@pytest.mark.parametrize(
    "address", ["", "8080", "127.0.0.1", "127.0.0.1:65536", "http://127.0.0.1:80", "*:80", "a b:1"]
)
def test_malformed_addresses_are_refused(address: str) -> None:
    with pytest.raises(EndpointError, match="for the page; expected HOST:PORT"):
        AccessPolicy.of(address, TOKEN)


@pytest.mark.parametrize("token", ["", "x" * (MIN_TOKEN_CHARS - 1), "x" * 20 + ";", "x" * 20 + " ", "ü" * 20])
def test_weak_tokens_are_refused(token: str) -> None:
    with pytest.raises(EndpointError, match="a token that is too short or has other characters than"):
        AccessPolicy.of("127.0.0.1:80", token)


@pytest.mark.parametrize("given", [None, "", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ü\udc80"])
def test_only_the_exact_token_is_accepted(given: str | None) -> None:
    policy = AccessPolicy.of("0.0.0.0:80", TOKEN)
    assert not policy.admits_token(given)
    assert policy.admits_token(TOKEN)


@pytest.mark.parametrize(
    "header", ["127.0.0.1", "127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "192.168.1.2:80"]
)
def test_ip_addresses_and_names_of_this_machine_are_accepted(header: str) -> None:
    policy = AccessPolicy.of("127.0.0.1:8080", None)
    assert policy.admits_host(header)
    assert policy.admits_host(f"{socket.gethostname()}:8080")
    assert AccessPolicy.of("scope-pc:8080", TOKEN).admits_host("Scope-PC:8080")


@pytest.mark.parametrize(
    "header",
    [None, "", ":80", "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example:80"],
)
def test_other_names_are_refused_even_if_they_resolve_here(header: str | None) -> None:
    assert not AccessPolicy.of("127.0.0.1:8080", None).admits_host(header)
    assert not AccessPolicy.of("0.0.0.0:8080", TOKEN).admits_host(header)
