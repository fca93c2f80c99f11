"""The page that a session shows to browsers: read-only, always the newest frame.

The only folder that imports aiohttp and prometheus_client. Whatever browsers do, frames flow as if nobody watched: the
taps of `LatestFrames` keep references and answer at once, and everything else happens in the server's own thread.
"""

from deepbid_rt.web.latest_frames import LatestFrames
from deepbid_rt.web.server import Server

__all__ = ["LatestFrames", "Server"]
