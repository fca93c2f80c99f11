"""Addresses of publishers that do not speak DBRT/1, and the translation of what they send."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from deepbid_rt.errors import EndpointError
from deepbid_rt.frame import Layout
from deepbid_rt.wire.codec import Part
from deepbid_rt.wire.scanimage_dialect import ScanImageDialect

_MAX_PLANES = 1000


class Dialect(Protocol):
    """Turns the messages of a publisher into those of DBRT/1."""

    def translate(self, parts: Sequence[Part], *, now_s: float, now_ns: int) -> list[list[Part]]:
        """Return the messages that one stands for. Raises `WireError`."""
        ...

    def tick(self, now_s: float) -> list[list[Part]]:
        """Return the messages that silence stands for."""
        ...


def plain_address(endpoint: str) -> str:
    """Return ``tcp://HOST:PORT`` of an address that may name a dialect."""
    _, plus, address = endpoint.rpartition("scanimage+")
    return address.partition("?")[0] if plus else endpoint


def dialect_of(endpoint: str, layout: Layout | None) -> Dialect | None:
    """Return the translation that an address asks for; None for an address of DBRT/1.

    Parameters
    ----------
    endpoint : str
        ``tcp://HOST:PORT``, or ``scanimage+tcp://HOST:PORT`` with ``?planes=P`` and ``&flyback=F`` for a volume.
    layout : Layout or None
        Scan layout; None is ordinary.

    Raises
    ------
    EndpointError
        When the part behind ``?`` is not understood.
    """
    if not endpoint.startswith("scanimage+"):
        return None
    numbers = {"planes": 1, "flyback": 0}
    _, mark, query = endpoint.partition("?")
    for pair in query.split("&") if mark else ():
        match = re.fullmatch(r"(planes|flyback)=([0-9]{1,4})", pair)
        if match is None or int(match[2]) > _MAX_PLANES or (match[1] == "planes" and int(match[2]) == 0):
            raise EndpointError(
                f"{pair!r} in the address {endpoint!r}",
                expected="planes=P and flyback=F, as in scanimage+tcp://HOST:65179?planes=3&flyback=1",
                todo="correct the address, and put it in quotes",
            )
        numbers[match[1]] = int(match[2])
    return ScanImageDialect(layout=layout or "ordinary", planes=numbers["planes"], flyback=numbers["flyback"])
