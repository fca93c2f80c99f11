"""The page of a session, made from the options of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepbid_rt.cli.output import say
from deepbid_rt.errors import EndpointError
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.scan.directions import MergeMode

if TYPE_CHECKING:
    from deepbid_rt.web import PageServer


def make_page(address: str, token: str | None, merge: MergeMode = "mean") -> PageServer:
    """Bind the address of the page and print its URL. The page is served once the session runs.

    Raises
    ------
    EndpointError
        When the extra is not installed, the address cannot be used, or it is not loopback and there is no token.
    """
    try:
        from deepbid_rt.web import LatestFrames, PageServer
    except ImportError as error:
        raise EndpointError(
            f"the page needs {error.name}, which is not installed",
            expected="the extra 'http'",
            todo='run pip install "deepbid-rt[http]"',
        ) from error
    server = PageServer(address, LatestFrames(merge), token=token)
    say(f"page on {server.url}{'?token=...' if token else ''}")
    return server


def page_sinks(page: PageServer | None) -> tuple[list[SinkSettings], list[SinkSettings]]:
    """Return the sinks that hand raw and denoised frames to the page; none without a page."""
    if page is None:
        return [], []
    return [SinkSettings("the page, raw", page.frames.raw)], [SinkSettings("the page", page.frames.denoised)]
