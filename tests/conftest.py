"""Shared fixtures. After every test, no thread, process or socket may be left."""

from __future__ import annotations

import logging
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import zmq
from hypothesis import HealthCheck, settings

from deepbid_rt.frame import Frame, ScanGeometry, StreamInfo
from deepbid_rt.ports import Engine
from deepbid_rt.runtimes.average import AverageEngine
from deepbid_rt.runtimes.echo import EchoEngine
from tests.fakes import STREAM_CARD, WINDOW_CARD, echo_card, stamped_frames, stream

if "PYTEST_XDIST_WORKER" in os.environ:
    # Read when torch is imported, also by the commands and tools that tests start. Several test processes share the
    # cores: with a thread pool each, small networks take up to ten times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine draws examples slowly, which says nothing about the code.
settings.register_profile("deepbid-rt", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("deepbid-rt")

GRACE_S = 2.0
"""Time for threads and processes that are just ending, seconds."""

_opened: weakref.WeakSet[Any] = weakref.WeakSet()


def _track(cls: type) -> None:
    begin = cls.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        _opened.add(self)

    cls.__init__ = init  # type: ignore[misc]


_track(zmq.Context)
_track(zmq.Socket)


@pytest.fixture
def listens_to_ctrl_c() -> Iterator[None]:
    """Restore the handler of Ctrl-C: a shell sets programs in the background to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def log_level_restored() -> Iterator[None]:
    """Restore the log level, which a command run in this process may change."""
    logger = logging.getLogger("deepbid_rt")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test after which a thread, a child process, a ZeroMQ socket or a ZeroMQ context is still there."""
    threads = set(threading.enumerate())
    me = psutil.Process()
    children = {child.pid for child in me.children(recursive=True)}
    opened = {id(thing) for thing in _opened}
    yield
    left: list[str] = []
    for thread in set(threading.enumerate()) - threads:
        thread.join(GRACE_S)
        if thread.is_alive():
            left.append(f"thread {thread.name!r}")
    started = [child for child in me.children(recursive=True) if child.pid not in children]
    if started:
        # The resource tracker of multiprocessing lives as long as the interpreter.
        started = [child for child in started if "resource_tracker" not in " ".join(_command(child))]
        left += [f"process {child.pid} {_command(child)}" for child in psutil.wait_procs(started, GRACE_S)[1]]
    for thing in list(_opened):
        if id(thing) not in opened and not thing.closed:
            left.append(f"open {type(thing).__name__}")
            thing.destroy(linger=0) if isinstance(thing, zmq.Context) else thing.close(linger=0)
    assert not left, f"left behind: {', '.join(left)}"


def _command(child: psutil.Process) -> list[str]:
    try:
        return child.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch use one thread: small networks are slower with several, and sums have another order."""
    torch = pytest.importorskip("torch", reason="the train extra is not installed")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def stamped_movie() -> Callable[..., tuple[StreamInfo, list[Frame]]]:
    """Return a function that makes a movie with each frame's number in its first pixel."""

    def make(
        count: int = 30,
        shape: tuple[int, int, int] = (1, 4, 6),
        dtype: Any = np.int16,
        scan: ScanGeometry | None = None,
        planes: int = 1,
        first: int = 0,
    ) -> tuple[StreamInfo, list[Frame]]:
        info = stream(shape, dtype, scan, planes)
        return info, stamped_frames(info, count, first)

    return make


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine file with the papers' network at width 2, untrained."""
    torch = pytest.importorskip("torch", reason="the train extra is not installed")
    from deepbid_rt.nets.unet3d import UNet3D
    from deepbid_rt.train.export import write_onnx

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("engine") / "tiny.onnx"
    write_onnx(UNet3D(width=2).eval(), WINDOW_CARD, path)
    return path


@pytest.fixture(scope="session")
def tiny_rcan_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine file with the smallest residual channel attention network, untrained."""
    torch = pytest.importorskip("torch", reason="the train extra is not installed")
    from deepbid_rt.nets.rcan3d import RCAN3D
    from deepbid_rt.train.export import write_onnx

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("engine") / "tiny.onnx"
    write_onnx(RCAN3D(4, 1, 1).eval(), WINDOW_CARD, path)
    return path


@pytest.fixture(scope="session")
def tiny_stream_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine file with the stream engine's network at width 2, untrained."""
    torch = pytest.importorskip("torch", reason="the train extra is not installed")
    from deepbid_rt.nets.unet2d import UNet2D
    from deepbid_rt.train.export import write_onnx

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("engine") / "tiny.onnx"
    write_onnx(UNet2D(2, STREAM_CARD.memories).eval(), STREAM_CARD, path)
    return path


@pytest.fixture(scope="session")
def simulated_plans(
    tiny_onnx: Path, tiny_stream_onnx: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Plans of both kinds of engine for a simulated TensorRT: (40, 16, 24) and (5, 24, 32)."""
    from deepbid_rt.runtimes.tensorrt.build import BuildEffort, BuildProgress, BuildSpec, build, read_onnx
    from tests.simulated_gpu import simulated_host

    folder = tmp_path_factory.mktemp("plans")
    movie = [np.random.default_rng(k).poisson(40, (24, 32)).astype(np.int16) for k in range(20)]
    plans = {}
    for kind, onnx, shape in (("window", tiny_onnx, (40, 16, 24)), ("stream", tiny_stream_onnx, (5, 24, 32))):
        order = BuildSpec(onnx, folder / f"{kind}.plan", shape, "fp32", BuildEffort())
        build(order, *read_onnx(onnx), movie, BuildProgress(lambda *_: None), simulated_host())
        plans[kind] = order.plan
    return plans


@pytest.fixture(
    params=[
        *("echo", "echo-window", "average", "openvino-f32", "openvino-auto", "stream-f32", "stream-auto"),
        *("rcan-f32", "trained-window", "trained-stream"),
        *("torch-f32", "torch-stream-f32", "torch-stream-bf16", "tensorrt-window", "tensorrt-stream"),
    ]
)
def any_engine(
    request: pytest.FixtureRequest, tiny_onnx: Path, tiny_stream_onnx: Path, tiny_rcan_onnx: Path
) -> Iterator[Engine]:
    """Each engine, with windows of at most 40 frames. TensorRT is simulated and builds a plan for each size.

    The engine files are requested by name, so that they are exported before `no_leaks` counts threads.
    """
    name: str = request.param
    engine: Engine
    if name == "echo":
        engine = EchoEngine()
    elif name == "echo-window":
        engine = EchoEngine(echo_card(16, 8, 8, 8))
    elif name == "average":
        engine = AverageEngine()
    elif name.startswith("torch"):
        from deepbid_rt.runtimes.torch import TorchEngine

        path = request.getfixturevalue("tiny_stream_onnx" if "stream" in name else "tiny_onnx")
        engine = TorchEngine(path, precision="bf16" if name.endswith("bf16") else "f32", device="cpu")
    elif name.startswith("trained"):
        torch = pytest.importorskip("torch", reason="the train extra is not installed")
        from deepbid_rt.nets.unet2d import UNet2D
        from deepbid_rt.nets.unet3d import UNet3D
        from deepbid_rt.train.net_engine import NetEngine

        torch.manual_seed(0)
        if name == "trained-stream":
            engine = NetEngine(UNet2D(2, STREAM_CARD.memories).eval(), STREAM_CARD)
        else:
            engine = NetEngine(UNet3D(2).eval(), WINDOW_CARD)
    elif name.startswith("tensorrt"):
        from tests.simulated_gpu import EverySizeEngine

        engine = EverySizeEngine(request.getfixturevalue("tiny_stream_onnx" if "stream" in name else "tiny_onnx"))
    else:
        from deepbid_rt.runtimes.openvino import OpenVinoEngine

        path = request.getfixturevalue(
            {"stream": "tiny_stream_onnx", "rcan": "tiny_rcan_onnx"}.get(name.partition("-")[0], "tiny_onnx")
        )
        engine = OpenVinoEngine(path, precision="f32" if name.endswith("f32") else "auto", threads=2)
    yield engine
    engine.close()
