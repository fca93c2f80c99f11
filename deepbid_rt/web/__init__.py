"""The web page of a session: read-only, shows the newest frame and the state of the session.

Browsers cannot slow a session down: the taps of `LatestFrames` only keep references to frames, and everything else
happens in the thread of the server. Only this folder imports aiohttp and prometheus_client.
"""

from deepbid_rt.web.latest_frames import LatestFrames
from deepbid_rt.web.server import PageServer

__all__ = ["LatestFrames", "PageServer"]
