"""ZeroMQ: a source that subscribes to a DBRT/1 stream, and a sink that publishes one.

Only this folder imports zmq. It moves bytes; `deepbid_rt.wire` encodes and decodes them.
"""

from deepbid_rt.zmq_io.lossless_sink import LosslessSink
from deepbid_rt.zmq_io.lossless_source import LosslessSource
from deepbid_rt.zmq_io.sink import ZmqSink
from deepbid_rt.zmq_io.source import ZmqSource

__all__ = ["LosslessSink", "LosslessSource", "ZmqSink", "ZmqSource"]
