"""The network: a source that subscribes to a DBRT/1 stream, and a sink that publishes one.

The only folder that imports zmq. Knows how bytes travel, not what they say: that is `wire` and `intake`.
"""

from deepbid_rt.zmq_io.sink import ZmqSink
from deepbid_rt.zmq_io.source import ZmqSource

__all__ = ["ZmqSink", "ZmqSource"]
