"""Which requests the page answers: its address, the host names it accepts, and its token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import socket
from dataclasses import dataclass

from deepbid_rt.errors import EndpointError
from deepbid_rt.wire.loopback import is_loopback

MIN_TOKEN_CHARS = 12
"""Characters of the shortest token that is accepted; as many random ones are 72 bits, too many to try."""

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True)
class AccessPolicy:
    """Decides which requests are answered.

    Parameters
    ----------
    host, port
        The address of the page.
    token : str, optional
        What every request must contain. Without one, `host` must be a loopback address.

    Raises
    ------
    EndpointError
        When other machines can reach the host and there is no token, or when the token is too short or has characters
        that a URL cannot contain.
    """

    host: str
    port: int
    token: str | None = None

    def __post_init__(self) -> None:
        if self.token is None:
            if not is_loopback(self.host):
                raise EndpointError(
                    f"a page on {self.host}, which other machines can reach, without a token",
                    expected="a loopback address such as 127.0.0.1:8080, or a token",
                    todo="bind loopback, or choose a token with --http-token",
                )
        elif len(self.token) < MIN_TOKEN_CHARS or not _TOKEN.fullmatch(self.token):
            raise EndpointError(
                "a token that is too short or has other characters than letters, digits, and . _ ~ -",
                expected=f"at least {MIN_TOKEN_CHARS} of these characters",
                todo="make one with python -c 'import secrets; print(secrets.token_urlsafe())'",
            )

    @classmethod
    def of(cls, address: str, token: str | None) -> AccessPolicy:
        """Read ``HOST:PORT``, where port 0 means any free port. Raises `EndpointError` also when it is malformed."""
        match = _ADDRESS.fullmatch(address)
        if match is None or int(match["port"]) > 65535:
            raise EndpointError(
                f"the address {address!r} for the page",
                expected="HOST:PORT, such as 127.0.0.1:8080",
                todo="correct the address",
            )
        return cls(match["host"], int(match["port"]), token)

    def admits_host(self, header: str | None) -> bool:
        """Return whether the ``Host`` header of a request is an IP address or a name of this machine.

        This refuses DNS rebinding: a page of another origin, whose name was made to resolve to this machine, sends that
        name and cannot send an IP address.
        """
        if not header:
            return False
        host = re.sub(r":[0-9]*$", "", header).lower()
        if host in ("localhost", self.host.lower(), socket.gethostname().lower()):
            return True
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
        return True

    def admits_token(self, given: str | None) -> bool:
        """Return whether a token is correct. The time it takes does not tell how much of the token is correct."""
        if self.token is None:
            return True
        # Digests have the same length, so that the comparison does not tell the length of the token either.
        digests = (hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (given or "", self.token))
        return hmac.compare_digest(*digests)
