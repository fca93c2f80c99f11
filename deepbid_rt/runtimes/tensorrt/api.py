"""The part of TensorRT's Python API that this package uses, as protocols, and `import_tensorrt`.

NVIDIA ships no type stubs; mypy checks against these protocols. The part is the same from TensorRT 10.3 to 11.4:
``tests/runtimes/tensorrt/test_api.py`` compares every name and argument with NVIDIA's bindings where they are present.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

from deepbid_rt.errors import EngineError

FLOOR = (10, 3)
"""Oldest TensorRT that has every name below."""


class TensorRtBytes(Protocol):
    """``IHostMemory``: bytes owned by TensorRT."""

    nbytes: int

    def __buffer__(self, flags: int, /) -> memoryview: ...


class NetworkDefinition(Protocol):
    """A network before it is built; the parser fills it."""


class TimingCache(Protocol):
    """Times of layers that earlier builds on this GPU measured."""

    def serialize(self) -> TensorRtBytes: ...


class BuilderConfig(Protocol):
    """Settings of a build."""

    builder_optimization_level: int
    max_aux_streams: int
    profiling_verbosity: Any
    progress_monitor: Any

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None: ...
    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache: ...
    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool: ...
    def get_timing_cache(self) -> TimingCache | None: ...
    def clear_flag(self, flag: Any) -> None: ...


class Builder(Protocol):
    """Builds plans."""

    def create_network(self, flags: int) -> NetworkDefinition: ...
    def create_builder_config(self) -> BuilderConfig: ...
    def build_serialized_network(self, network: NetworkDefinition, config: BuilderConfig) -> TensorRtBytes | None: ...


class ParserError(Protocol):
    """Why a network could not be parsed."""

    def desc(self) -> str: ...


class OnnxParser(Protocol):
    """Reads ONNX into a network."""

    num_errors: int

    def parse(self, model: bytes) -> bool: ...
    def get_error(self, index: int) -> ParserError: ...


class EngineInspector(Protocol):
    """Describes the layers of a plan."""

    def get_engine_information(self, format: Any) -> str: ...  # noqa: A002  # NVIDIA's name


class ExecutionContext(Protocol):
    """Runs an engine; used by one thread at a time."""

    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class CudaEngine(Protocol):
    """A plan on the GPU."""

    num_io_tensors: int

    def get_tensor_name(self, index: int) -> str: ...
    def get_tensor_mode(self, name: str) -> Any: ...
    def get_tensor_dtype(self, name: str) -> Any: ...
    def get_tensor_shape(self, name: str) -> Sequence[int]: ...
    def get_tensor_location(self, name: str) -> Any: ...
    def get_tensor_format(self, name: str) -> Any: ...
    def create_execution_context(self) -> ExecutionContext | None: ...
    def create_engine_inspector(self) -> EngineInspector: ...


class PlanRuntime(Protocol):
    """``Runtime``: loads plans."""

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> CudaEngine | None: ...


class Modes(Protocol):
    """``TensorIOMode``."""

    INPUT: Any
    OUTPUT: Any


class Locations(Protocol):
    """``TensorLocation``."""

    DEVICE: Any


class Formats(Protocol):
    """``TensorFormat``."""

    LINEAR: Any


class DataTypes(Protocol):
    """``DataType``."""

    FLOAT: Any


class InformationFormats(Protocol):
    """``LayerInformationFormat``."""

    JSON: Any


class Verbosities(Protocol):
    """``ProfilingVerbosity``."""

    DETAILED: Any


class Pools(Protocol):
    """``MemoryPoolType``."""

    WORKSPACE: Any


class BuilderFlags(Protocol):
    """``BuilderFlag``. Its precision flags do not exist in 11; a strongly typed network does not need them."""

    TF32: Any


class CreationFlags(Protocol):
    """``NetworkDefinitionCreationFlag``. The numbers differ between versions: always ``1 << int(member)``."""

    STRONGLY_TYPED: Any


class TensorRt(Protocol):
    """The module ``tensorrt``."""

    __version__: str
    ILogger: Any
    IProgressMonitor: Any
    TensorIOMode: Modes
    TensorLocation: Locations
    TensorFormat: Formats
    DataType: DataTypes
    LayerInformationFormat: InformationFormats
    ProfilingVerbosity: Verbosities
    MemoryPoolType: Pools
    BuilderFlag: BuilderFlags
    NetworkDefinitionCreationFlag: CreationFlags

    def Builder(self, logger: Any) -> Builder: ...  # noqa: N802  # NVIDIA's name, like the next two
    def OnnxParser(self, network: NetworkDefinition, logger: Any) -> OnnxParser: ...  # noqa: N802
    def Runtime(self, logger: Any) -> PlanRuntime: ...  # noqa: N802


PROTOCOLS: dict[str, type] = {
    "IHostMemory": TensorRtBytes,
    "INetworkDefinition": NetworkDefinition,
    "ITimingCache": TimingCache,
    "IBuilderConfig": BuilderConfig,
    "Builder": Builder,
    "ParserError": ParserError,
    "OnnxParser": OnnxParser,
    "EngineInspector": EngineInspector,
    "IExecutionContext": ExecutionContext,
    "ICudaEngine": CudaEngine,
    "Runtime": PlanRuntime,
    "TensorIOMode": Modes,
    "TensorLocation": Locations,
    "TensorFormat": Formats,
    "DataType": DataTypes,
    "LayerInformationFormat": InformationFormats,
    "ProfilingVerbosity": Verbosities,
    "MemoryPoolType": Pools,
    "BuilderFlag": BuilderFlags,
    "NetworkDefinitionCreationFlag": CreationFlags,
}
"""Name of NVIDIA's class for each protocol."""


def import_tensorrt() -> TensorRt:
    """Import TensorRT.

    Raises
    ------
    EngineError
        When it is not installed, its libraries do not load, or it is older than `FLOOR`.
    """
    other = "or serve the .onnx file of the engine, which needs no GPU"
    try:
        module: Any = importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        raise EngineError(
            f"a plan, but the Python package {error.name} is not installed",
            expected="TensorRT 10.3 or newer",
            todo=f'run pip install "deepbid-rt[tensorrt]", {other}',
        ) from error
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError(
            f"TensorRT cannot be loaded ({str(error).splitlines()[0] if str(error) else type(error).__name__})",
            expected="its libraries beside its Python package, and the CUDA libraries they need",
            todo=f"install TensorRT again, {other}",
        ) from error
    version = str(getattr(module, "__version__", "0"))
    if tuple(int(n) for n in version.split(".")[:2] if n.isdigit()) < FLOOR:
        raise EngineError(f"TensorRT {version}", expected="10.3 or newer", todo=f"install a newer TensorRT, {other}")
    trt: TensorRt = module
    return trt
