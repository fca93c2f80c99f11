"""`TensorRtEngine`: a TensorRT plan as an engine, for single views and for whole frames on the GPU."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.device import FramePipeline
from deepbid_rt.denoising.network_inputs import padded_size
from deepbid_rt.errors import EngineError, StageError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.runtimes.gpu.cuda_errors import cuda_refused
from deepbid_rt.runtimes.gpu.device_window import DeviceWindow
from deepbid_rt.runtimes.gpu.protocols import Buffer, Launch
from deepbid_rt.runtimes.gpu.runner import NetworkRunner
from deepbid_rt.runtimes.gpu.series_pipelines import SeriesPipelines
from deepbid_rt.runtimes.tensorrt.load import GpuHost, LoadedPlan, load_plan
from deepbid_rt.runtimes.tensorrt.network import PlanNetwork
from deepbid_rt.runtimes.tensorrt.plan_facts import golden_input, golden_values
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.splitter import ScanSplitter

if TYPE_CHECKING:  # it needs torch, which may not be installed
    from deepbid_rt.runtimes.gpu.protocols import TensorDevice

log = logging.getLogger(__name__)

WholeFrames = Literal["auto", "kernels"]


class TensorRtEngine:
    """Runs a plan.

    Parameters
    ----------
    path : Path
        A plan written by ``deepbid-rt build``, with its sidecar.
    trust : bool
        Accept a plan from outside the engines folder, see `deepbid_rt.runtimes.tensorrt.load.load_plan`.
    host : GpuHost, optional
        Source of TensorRT, the GPU and its memory.
    golden : bool
        Whether to compare with the golden answer; False while that answer is being made.
    frames : {"auto", "kernels"}
        How whole frames are prepared on the device. ``auto``: with torch operations where torch owns the memory, as
        these were run on GPUs and the kernels of this project were not; otherwise with the kernels.

    Raises
    ------
    EngineError
        When a check of `load_plan` fails, the GPU has too little memory or fails, or the plan's answer differs from the
        one it gave when it was built.
    """

    def __init__(
        self,
        path: Path,
        *,
        trust: bool = False,
        host: GpuHost | None = None,
        golden: bool = True,
        frames: WholeFrames = "auto",
    ) -> None:
        self._plan: LoadedPlan | None = load_plan(path, trust=trust, host=host)
        facts, memory = self._plan.facts, self._plan.memory
        self.card = facts.card
        self._shape = facts.shape
        self._frames = frames
        self._series: SeriesPipelines | None = None
        try:
            self._runner = self._make_runner(self._plan)
            if golden:
                self._check_golden(path, self._plan)
        except StageError as error:
            self.close()
            raise cuda_refused(f"{path}", error.__cause__ or error) from error
        except BaseException:
            self.close()
            raise
        where = f"{self._plan.gpu.name}, {memory.description}, {self._runner.mode}"
        self.description = f"TensorRT {self._plan.tensorrt} {facts.precision} on {where}"
        log.info("engine %s: %s", self.card.name, self.description)

    def _make_runner(self, plan: LoadedPlan) -> NetworkRunner:
        shapes = {tensor.mode: tensor.shape for tensor in plan.facts.tensors}
        return NetworkRunner(plan.memory, PlanNetwork(plan), shapes["input"], shapes["output"])

    def _check_golden(self, path: Path, plan: LoadedPlan) -> None:
        golden = plan.facts.golden
        values = np.array(golden_values(self._run(golden_input(golden.seed, self._shape))))
        expected = np.array(golden.values)
        todo = f"build it again on this computer: {plan.rebuild}"
        if not np.isfinite(values).all() or values.shape != expected.shape:
            raise EngineError(
                f"{path} answers values that are not finite, or another number of values",
                expected="the same answer as when it was built",
                todo=todo,
            )
        difference = float(np.abs(values - expected).max())
        if not difference <= golden.tolerance:
            raise EngineError(
                f"{path} differs by up to {difference:.2g} from its answer to the same input when it was built",
                expected=f"a difference of at most {golden.tolerance:.2g}",
                todo=todo,
            )

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Check that the plan is for inputs of shape (K, Y, X).

        Raises
        ------
        EngineError
            When it was built for another size.
        """
        plan = self._open_plan()
        if shape != self._shape:
            rows, columns = shape[1:]
            raise EngineError(
                f"views of (K, Y, X) = {shape}, and a plan for {self._shape}",
                expected="a plan for this size, as each plan takes one",
                todo=f"build one: {plan.rebuild.replace(_size(self._shape), f'--size {rows}x{columns}')}",
            )

    def infer(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Denoise an input (K, Y, X); the result is valid until the next call.

        Raises
        ------
        EngineError
            When the input has another shape than the plan.
        StageError
            When the GPU fails.
        """
        self._open_plan()
        if window.shape != self._shape:
            raise EngineError(
                f"an input of shape {window.shape}", expected=f"{self._shape} as warmed up", todo="call warm_up first"
            )
        return self._run(window)

    def open_window(self, length: int, shape: tuple[int, int]) -> DeviceWindow:
        """Return an empty window on the GPU. Raises `EngineError` for a plan of another size, or without room."""
        plan = self._open_plan()
        self.warm_up((length, *shape))
        return DeviceWindow(length, shape, plan.memory, PlanNetwork(plan).bind_window)

    def open_planes(self, info: StreamInfo, merge: MergeMode) -> Sequence[FramePipeline]:
        """Return one pipeline for each plane of a series, on the GPU.

        Raises
        ------
        EngineError
            When the plan is for another size, there is too little memory, or the GPU refuses the kernels or computes
            other results with them than numpy.
        """
        plan = self._open_plan()
        self.warm_up((self.card.depth, *padded_size(ScanSplitter(info, merge).size, self.card.grid)))
        if self._series is None:
            tensors = None if self._frames == "kernels" else plan.memory.tensors()
            self._series = self._with_torch(plan, tensors) if tensors else self._with_kernels(plan)
        return self._series.open(info, merge)

    def _with_torch(self, plan: LoadedPlan, tensors: TensorDevice) -> SeriesPipelines:
        from deepbid_rt.runtimes.gpu.tensor_series import tensor_series
        from deepbid_rt.runtimes.gpu.torch_memory import TorchBuffer

        def bind(inputs: Any, answers: Any) -> Launch:
            pairs = zip(inputs, answers, strict=True)
            return PlanNetwork(plan).bind_each([(TorchBuffer(view), TorchBuffer(image)) for view, image in pairs])

        return tensor_series(bind, self.card, tensors)

    def _with_kernels(self, plan: LoadedPlan) -> SeriesPipelines:
        from deepbid_rt.runtimes.gpu.kernel_series import kernel_series  # needs scipy, which loading a plan does not

        def bind(inputs: Buffer, answers: Buffer, shape: tuple[int, int, int, int]) -> Launch:
            count, depth, rows, columns = shape
            size, part = 4 * rows * columns, plan.memory.part
            views = [part(inputs, n * depth * size, depth * size) for n in range(count)]
            images = [part(answers, n * size, size) for n in range(count)]
            return PlanNetwork(plan).bind_each(list(zip(views, images, strict=True)))

        return kernel_series(bind, self.card, plan.memory)

    def _run(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        answer = self._runner.run(window)
        return answer.reshape(answer.shape[-3:])

    def _open_plan(self) -> LoadedPlan:
        if self._plan is None:
            raise EngineError("a closed engine", expected="an open one", todo="load the plan again")
        return self._plan

    def inspect(self) -> str:
        """Return TensorRT's description of the plan's layers, as JSON."""
        plan = self._open_plan()
        return plan.engine.create_engine_inspector().get_engine_information(plan.json)

    def close(self) -> None:
        """Release the plan and its memory."""
        if self._plan is not None:
            plan, self._plan = self._plan, None
            if self._series is not None:
                self._series.close()
            plan.memory.close()


def _size(shape: tuple[int, int, int]) -> str:
    return f"--size {shape[1]}x{shape[2]}"
