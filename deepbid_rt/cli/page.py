"""The page of a session: made from its options before anything starts, and fed while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepbid_rt.cli.output import say
from deepbid_rt.errors import EndpointError
from deepbid_rt.scan.directions import Merge

if TYPE_CHECKING:
    from deepbid_rt.web import Server


def make_page(address: str, token: str | None, merge: Merge = "mean") -> Server:
    """Bind the page's address and tell people where it is; it is served once the session runs.

    Raises
    ------
    EndpointError
        When the extra is not installed, the address cannot be used, or it is not loopback and there is no token.
    """
    try:
        from deepbid_rt.web import LatestFrames, Server
    except ImportError as error:
        raise EndpointError(
            f"a page without {error.name}",
            expected="the extra 'http' to be installed",
            todo='run pip install "deepbid-rt[http]"',
        ) from error
    server = Server(address, LatestFrames(merge), token=token)
    say(f"page on {server.url}{'?token=...' if token else ''}")
    return server
