from deepbid_rt.api.array_denoiser import Denoiser
from deepbid_rt.api.denoise import denoise
from deepbid_rt.api.movie import Movie
from deepbid_rt.api.movie import open_movie as open  # noqa: A004  # named like the function of other readers
from deepbid_rt.api.publish import FrameSender, publish
from deepbid_rt.api.serve import serve
from deepbid_rt.api.subscribe import Subscription, subscribe
from deepbid_rt.errors import (
    DeepbidError,
    EndpointError,
    EngineError,
    FailedError,
    FileError,
    OptionError,
    OverrunError,
    RefusedError,
    StageError,
    StreamError,
    WireError,
)
from deepbid_rt.frame import (
    Frame,
    FrameFlag,
    Gap,
    Motion,
    ScanGeometry,
    StreamEnd,
    StreamInfo,
)
from deepbid_rt.ports import Engine, FrameSource, Sink
from deepbid_rt.runtimes import load_engine

__version__: str

__all__ = [
    "DeepbidError",
    "Denoiser",
    "EndpointError",
    "Engine",
    "EngineError",
    "FailedError",
    "FileError",
    "Frame",
    "FrameFlag",
    "FrameSender",
    "FrameSource",
    "Gap",
    "Motion",
    "Movie",
    "OptionError",
    "OverrunError",
    "RefusedError",
    "ScanGeometry",
    "Sink",
    "StageError",
    "StreamEnd",
    "StreamError",
    "StreamInfo",
    "Subscription",
    "WireError",
    "__version__",
    "denoise",
    "load_engine",
    "open",
    "publish",
    "serve",
    "subscribe",
]
