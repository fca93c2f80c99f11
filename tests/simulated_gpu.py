"""A simulated GPU and a simulated TensorRT, to test this package's order of calls, addresses and error paths.

Addresses are keys of a table. Work is queued and done at `synchronize`, so a result that is read too early is wrong.
A plan is a header with the layout of a real one, and the ONNX itself, which OpenVINO runs. Methods have the signatures
that ``tests/runtimes/tensorrt/test_api.py`` compares with NVIDIA's bindings.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import math
import struct
import tempfile
import weakref
from collections.abc import Callable
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.cuda_errors import cuda_failed
from deepbid_rt.runtimes.gpu.host_memory import HostMemory
from deepbid_rt.runtimes.gpu.probe import Gpu
from deepbid_rt.runtimes.openvino_core import core
from deepbid_rt.runtimes.tensorrt.engine import TensorRtEngine
from deepbid_rt.runtimes.tensorrt.load import GpuHost
from deepbid_rt.runtimes.tensorrt.plan_facts import GoldenAnswer, PlanFacts, TensorFacts
from deepbid_rt.runtimes.tensorrt.sidecar import write_plan

VERSION = "10.13.3.9"
GPU = Gpu("simulated GPU", "9.0", "simulated driver (CUDA 13.0)")


def plan_of(network: bytes, version: str = VERSION) -> bytes:
    numbers = [int(n) & 0xFF for n in version.split(".")]
    return b"ftrt" + struct.pack("<I", 0) + bytes(16) + bytes(numbers + [0] * (4 - len(numbers))) + network


class SimulatedMemory:
    """Memory and one stream of the simulated GPU."""

    description = "simulated memory"

    def __init__(self, *, room: int = 1 << 30, graphs: bool = True) -> None:
        self.stream = 7
        self.arrays: dict[int, np.ndarray] = {}
        self.queue: list[Callable[[], None]] = []
        self.captured = self.closed = self.replayed = 0
        self.refuses = False
        self.inside = False
        self._room, self._graphs = room, graphs
        self._recording = False
        self._next = itertools.count(1)

    @contextmanager
    def current(self) -> Any:
        before, self.inside = self.inside, True
        yield
        self.inside = before

    def at(self, address: int) -> np.ndarray | None:
        """The bytes at an address; None where TensorRT cannot use it."""
        return self.arrays.get(address) if address % 256 == 0 and not self.refuses else None

    def tensors(self) -> Any:
        return None

    def mark(self) -> Callable[[], None]:
        return self.synchronize

    def program(self, text: bytes) -> Any:
        raise EngineError("the simulated GPU takes no kernels", expected="another", todo="take the stand-in")

    def allocate(self, nbytes: int) -> Any:
        if nbytes > self._room:
            raise EngineError("the simulated GPU has no room", expected="room", todo="take less")
        address = 4096 * 256 * next(self._next)
        self.arrays[address] = np.full(nbytes, 0xFF, np.uint8)  # NaN as float32
        return SimpleNamespace(address=address)

    def part(self, buffer: Any, offset: int, nbytes: int) -> Any:
        address = buffer.address + offset
        self.arrays[address] = self.arrays[buffer.address][offset : offset + nbytes] if offset else self.arrays[address]
        return SimpleNamespace(address=address)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.full(math.prod(shape) * np.dtype(dtype).itemsize, 0xFF, np.uint8).view(dtype).reshape(shape)

    def upload(self, buffer: Any, array: np.ndarray) -> None:
        def copy() -> None:
            self.arrays[buffer.address][: array.nbytes] = array.reshape(-1).view(np.uint8)

        self.push(copy)

    def download(self, array: np.ndarray, buffer: Any) -> None:
        def copy() -> None:
            array.reshape(-1).view(np.uint8)[:] = self.arrays[buffer.address][: array.nbytes]

        self.push(copy)

    def push(self, work: Callable[[], None]) -> None:
        self.queue.append(work)

    def synchronize(self) -> None:
        assert not self._recording, "synchronised while a graph was captured"
        work, self.queue = self.queue, []
        for step in work:
            try:
                step()
            except RuntimeError as error:
                raise cuda_failed(error) from error

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        if not self._graphs:
            return None
        assert not self.queue
        self._recording = True
        work()
        self._recording = False
        steps, self.queue = self.queue, []
        self.captured += 1

        def replay() -> None:
            self.replayed += 1
            self.queue.extend(steps)

        return replay

    def close(self) -> None:
        self.closed += 1


class SimulatedTorchMemory(HostMemory):
    """Memory of the simulated GPU owned by torch: addresses are those of the host, and work is done at once."""

    def __init__(self) -> None:
        super().__init__()
        self.description = "simulated torch memory"
        self.closed = 0

    def at(self, address: int) -> np.ndarray | None:
        # 1 MiB from the address on: more than any test reads or writes.
        return np.ctypeslib.as_array((ctypes.c_uint8 * (1 << 20)).from_address(address))

    def push(self, work: Callable[[], None]) -> None:
        work()

    def close(self) -> None:
        self.closed += 1


class _Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class _Logger:
    Severity = _Severity

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class _Monitor:
    pass


class _Runtime:
    deserialize_cuda_engine: Callable[[bytes], Any]


class _Mode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class _Type(IntEnum):
    FLOAT = 0
    HALF = 1


class SimulatedContext:
    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self.runs = 0

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return self._engine.trt.memory.at(memory) is not None

    def execute_async_v3(self, stream_handle: int) -> bool:
        trt = self._engine.trt
        assert stream_handle == trt.memory.stream
        trt.check_current()
        self.runs += 1
        if trt.refuse_run:
            self._engine.logger.log(_Severity.ERROR, trt.refuse_run)
            return False
        inputs, answer = (self._addresses[name] for name in self._engine.names)

        def work() -> None:
            if trt.fail_after is not None:
                trt.fail_after -= 1
                if trt.fail_after < 0:
                    raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore lines")
            shape = self._engine.shapes[0]
            window = trt.memory.at(inputs)[: 4 * math.prod(shape)].view(np.float32).reshape(shape)
            result = self._engine.compiled(window)[0] * trt.gain
            trt.memory.at(answer)[: result.nbytes].view(np.float32)[:] = result.ravel()

        trt.memory.push(work)
        return True


class SimulatedEngine:
    def __init__(self, trt: SimulatedTensorRt, network: bytes, logger: Any) -> None:
        plugin = core()
        model = plugin.read_model(network)
        self.compiled = plugin.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        self.trt, self.logger = trt, weakref.proxy(logger)
        self.names = [model.input(0).any_name, model.output(0).any_name]
        self.shapes = [tuple(model.input(0).shape), tuple(model.output(0).shape)]
        self.num_io_tensors = 2

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> Any:
        return _Mode.INPUT if (name == self.names[0]) is not self.trt.io_swapped else _Mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return self.trt.io_type

    def get_tensor_shape(self, name: str) -> Any:
        return self.shapes[self.names.index(name)]

    def get_tensor_location(self, name: str) -> Any:
        return self.trt.io_place

    def get_tensor_format(self, name: str) -> Any:
        return self.trt.io_format

    def create_execution_context(self) -> Any:
        self.trt.check_current()
        if self.trt.no_context:
            self.logger.log(_Severity.ERROR, "Requested amount of GPU memory could not be allocated: out of memory")
            return None
        self.trt.contexts.append(SimulatedContext(self))
        return self.trt.contexts[-1]

    def create_engine_inspector(self) -> Any:
        text = '{"Layers": [{"Outputs": [{"Format": "simulated"}]}, "name only"], "Bindings": []}'
        return SimpleNamespace(get_engine_information=lambda format: text)  # noqa: A006


class SimulatedTensorRt:
    """The module ``tensorrt``, with attributes that make it fail."""

    ILogger = _Logger
    IProgressMonitor = _Monitor
    Logger = _Logger
    TensorIOMode = _Mode
    DataType = _Type
    TensorLocation = SimpleNamespace(DEVICE="device")
    TensorFormat = SimpleNamespace(LINEAR="linear")
    LayerInformationFormat = SimpleNamespace(JSON="json")
    ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    BuilderFlag = SimpleNamespace(TF32="tf32")
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)

    def __init__(self, memory: Any = None, version: str = VERSION) -> None:
        self.__version__ = version
        self.memory = memory or SimulatedMemory()
        self.io_type: Any = _Type.FLOAT
        self.io_format = "linear"
        self.io_place = "device"
        self.io_swapped = False
        self.gain = np.float32(1)
        self.no_context = False
        self.no_gpu: str | None = None
        self.refuse_load: str | None = None
        self.refuse_run: str | None = None
        self.refuse_build: str | None = None
        self.fail_after: int | None = None
        self.on_step: Callable[[int], None] | None = None
        self.configs: list[Any] = []
        self.contexts: list[SimulatedContext] = []
        self.flags: list[int] = []

    def check_current(self) -> None:
        """Assert that the GPU is current: real calls without it fail, or go to another GPU."""
        assert getattr(self.memory, "inside", True)

    def _initialize(self, logger: Any) -> None:
        if self.no_gpu:
            logger.log(_Severity.ERROR, self.no_gpu)
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def Runtime(self, logger: Any) -> Any:
        self._initialize(logger)

        def deserialize_cuda_engine(serialized_engine: bytes) -> Any:
            self.check_current()
            self.logger = weakref.ref(logger)
            if self.refuse_load:
                logger.log(_Severity.ERROR, self.refuse_load)
                return None
            return SimulatedEngine(self, bytes(serialized_engine[28:]), logger)

        runtime = _Runtime()
        runtime.deserialize_cuda_engine = deserialize_cuda_engine
        self.runtime = weakref.ref(runtime)
        return runtime

    def Builder(self, logger: Any) -> Any:
        self._initialize(logger)

        def create_network(flags: int) -> Any:
            self.flags.append(flags)
            return SimpleNamespace(onnx=b"")

        def create_builder_config() -> Any:
            self.configs.append(_Config(self))
            return self.configs[-1]

        def build_serialized_network(network: Any, config: Any) -> Any:
            monitor = config.progress_monitor
            monitor.phase_start("Building", None, 4)
            for step in range(4):
                if self.on_step:
                    self.on_step(step)
                monitor.phase_start("Tactics", "Building", 2)
                for inner in range(2):
                    monitor.step_complete("Tactics", inner)
                monitor.phase_finish("Tactics")
                if not monitor.step_complete("Building", step):
                    return None
            monitor.phase_finish("Building")
            if self.refuse_build:
                logger.log(_Severity.ERROR, self.refuse_build)
                return None
            return plan_of(network.onnx, self.__version__)

        return SimpleNamespace(
            create_network=create_network,
            create_builder_config=create_builder_config,
            build_serialized_network=build_serialized_network,
        )

    def OnnxParser(self, network: Any, logger: Any) -> Any:
        def parse(model: bytes) -> bool:
            network.onnx = bytes(model)
            return model[:1] == b"\x08"

        def get_error(index: int) -> Any:
            return SimpleNamespace(desc=lambda: f"simulated parser error {index}")

        return SimpleNamespace(parse=parse, num_errors=1, get_error=get_error)


class _Config:
    def __init__(self, trt: SimulatedTensorRt) -> None:
        self._trt = trt
        self.pools: dict[Any, int] = {}
        self.cleared: list[Any] = []
        self.caches: list[bytes] = []

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self.pools[pool] = pool_size

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        data = serialized_timing_cache
        return SimpleNamespace(serialize=lambda: b"simulated cache", data=data)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self.caches.append(cache.data)
        self._cache = cache
        return cache.data in (b"", b"simulated cache")

    def get_timing_cache(self) -> Any:
        return self._cache

    def clear_flag(self, flag: Any) -> None:
        self.cleared.append(flag)


def simulated_host(trt: SimulatedTensorRt | None = None, gpu: Gpu = GPU) -> GpuHost:
    trt = trt or SimulatedTensorRt()
    return GpuHost(lambda: trt, lambda: gpu, lambda: trt.memory)


class EverySizeEngine:
    """A TensorRT engine on the simulated GPU that builds a plan for each size, for the contract tests."""

    description = "TensorRT on the simulated GPU, a plan for every size"

    def __init__(self, onnx: Path) -> None:
        from deepbid_rt.runtimes.tensorrt.onnx_specialize import read_onnx

        self._onnx = onnx
        self._model, self.card = read_onnx(onnx)
        self._engine: TensorRtEngine | None = None

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        from deepbid_rt.runtimes.tensorrt.onnx_specialize import specialize

        stream = self.card.kind == "stream"
        shape_of_input = (1, *shape) if stream else (1, 1, *shape)
        data = plan_of(specialize(self._model, shape_of_input, "fp32").SerializeToString())
        facts = PlanFacts(
            plan_sha256=hashlib.sha256(data).hexdigest(),
            onnx=str(self._onnx),
            onnx_sha256="",
            tensorrt=VERSION,
            gpu=GPU.name,
            capability=GPU.capability,
            driver=GPU.driver,
            precision="fp32",
            tensors=(
                TensorFacts("inputs" if stream else "window", "input", shape_of_input, "float32"),
                TensorFacts("denoised", "output", (1, 1, *shape_of_input[2:]), "float32"),
            ),
            card=self.card,
            golden=GoldenAnswer(0, (), 0.0),
        )
        self.close()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.plan"
            write_plan(path, data, facts)
            self._engine = TensorRtEngine(path, trust=True, host=simulated_host(), golden=False)
        self._engine.warm_up(shape)

    def open_window(self, length: int, shape: tuple[int, int]) -> Any:
        assert self._engine
        return self._engine.open_window(length, shape)

    def infer(self, window: np.ndarray) -> np.ndarray:
        assert self._engine
        return self._engine.infer(window)

    def close(self) -> None:
        if self._engine:
            self._engine.close()
        self._engine = None
