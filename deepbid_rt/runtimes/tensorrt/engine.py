"""A TensorRT plan as an `Engine`: views up, denoised views down, or whole frames where torch owns the GPU's memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.calibration import padded_size
from deepbid_rt.errors import EngineError, StageError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.ports import FramePipeline
from deepbid_rt.runtimes.gpu.memory import Buffer, cuda_failed, cuda_refused
from deepbid_rt.runtimes.gpu.runner import Queue, Runner
from deepbid_rt.runtimes.gpu.window import DeviceWindow
from deepbid_rt.runtimes.tensorrt.api import ExecutionContext
from deepbid_rt.runtimes.tensorrt.facts import golden_input, golden_values
from deepbid_rt.runtimes.tensorrt.load import Host, LoadedPlan, load_plan
from deepbid_rt.scan import Merge
from deepbid_rt.views import Views

if TYPE_CHECKING:  # it needs torch, which need not be there
    from deepbid_rt.runtimes.gpu.series import SeriesOnDevice

log = logging.getLogger(__name__)


class PlanNetwork:
    """What queues a plan on the GPU."""

    def __init__(self, plan: LoadedPlan) -> None:
        self._plan = plan

    def bind(self, given: Buffer, answer: Buffer) -> Queue:
        """Return what queues the plan, from one buffer into another; each binding has a context of its own."""
        return self._bound(given, answer)[0]

    def bind_ring(self, places: list[Buffer], answer: Buffer) -> Callable[[int], None]:
        """Return what queues the plan on one of several places that overlap: one context, whose input moves."""
        plan = self._plan
        queue, context = self._bound(places[0], answer)
        [name] = [tensor.name for tensor in plan.facts.tensors if tensor.mode == "input"]

        def run(place: int) -> None:
            if not context.set_tensor_address(name, places[place].address):
                reason = RuntimeError(plan.messages.explain())
                raise cuda_failed(reason) from reason
            queue()

        return run

    def _bound(self, given: Buffer, answer: Buffer) -> tuple[Queue, ExecutionContext]:
        plan = self._plan
        with plan.memory.current():
            context = plan.engine.create_execution_context()
        if context is None:
            raise plan.messages.refuse(
                f"no room to run engine {plan.facts.card.name!r}",
                expected="enough free memory on the GPU",
                todo="end other programs that use the GPU (nvidia-smi), or choose a smaller frame",
            )
        for tensor in plan.facts.tensors:
            buffer = given if tensor.mode == "input" else answer
            if not context.set_tensor_address(tensor.name, buffer.address):
                raise plan.messages.refuse(
                    f"TensorRT refuses the memory of {tensor.name!r}",
                    expected="an address it can use",
                    todo=f"build the plan again: {plan.rebuild}",
                )

        def queue() -> None:
            with plan.memory.current():
                queued = context.execute_async_v3(plan.memory.stream)
            if not queued:
                reason = RuntimeError(plan.messages.explain())
                raise cuda_failed(reason) from reason

        return queue, context


class TensorRtEngine:
    """Runs a plan.

    Parameters
    ----------
    path : Path
        A plan written by ``deepbid-rt build``, with its sidecar.
    trust : bool
        Take a plan from outside the engines folder.
    host : Host, optional
        Where TensorRT, the GPU and its memory come from.
    golden : bool
        False while the golden answer is being made.

    Raises
    ------
    EngineError
        When any check of `load_plan` fails, the GPU has too little memory or fails, or the plan does not answer what
        it answered when it was built.
    """

    def __init__(self, path: Path, *, trust: bool = False, host: Host | None = None, golden: bool = True) -> None:
        self._plan: LoadedPlan | None = load_plan(path, trust=trust, host=host)
        facts, memory = self._plan.facts, self._plan.memory
        self.card = facts.card
        self._shape = facts.shape
        self._series: SeriesOnDevice | None = None
        try:
            self._runner = self._prepare(self._plan)
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

    def _prepare(self, plan: LoadedPlan) -> Runner:
        shapes = {tensor.mode: tensor.shape for tensor in plan.facts.tensors}
        return Runner(plan.memory, PlanNetwork(plan), shapes["input"], shapes["output"])

    def _check_golden(self, path: Path, plan: LoadedPlan) -> None:
        golden = plan.facts.golden
        values = np.array(golden_values(self._run(golden_input(golden.seed, self._shape))))
        expected = np.array(golden.values)
        todo = f"build it again on this computer: {plan.rebuild}"
        if not np.isfinite(values).all() or values.shape != expected.shape:
            raise EngineError(
                f"{path} answers values that are not finite, or another number of them",
                expected="the answer it gave when it was built",
                todo=todo,
            )
        difference = float(np.abs(values - expected).max())
        if not difference <= golden.tolerance:
            raise EngineError(
                f"{path} answers known noise by up to {difference:.2g} differently than when it was built",
                expected=f"a difference of at most {golden.tolerance:.2g}",
                todo=todo,
            )

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Check that the plan takes inputs of shape (K, Y, X).

        Raises
        ------
        EngineError
            When it was built for another size.
        """
        plan = self._opened()
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
        self._opened()
        if window.shape != self._shape:
            raise EngineError(
                f"an input of shape {window.shape}", expected=f"{self._shape} as warmed up", todo="call warm_up first"
            )
        return self._run(window)

    def open_window(self, length: int, shape: tuple[int, int]) -> DeviceWindow:
        """Return a window on the GPU. Raises `EngineError` when the plan is for another size, or there is no room."""
        plan = self._opened()
        self.warm_up((length, *shape))
        return DeviceWindow(length, shape, plan.memory, PlanNetwork(plan).bind_ring)

    def open_planes(self, info: StreamInfo, merge: Merge) -> Sequence[FramePipeline]:
        """Return one pipeline for each plane of a series, on the GPU.

        Raises
        ------
        EngineError
            When the plan is for another size, the owner of the memory has no tensors, or there is too little memory.
        """
        plan = self._opened()
        self.warm_up((self.card.depth, *padded_size(Views(info, merge).size, self.card.grid)))
        if self._series is None:
            tensors = plan.memory.tensors()  # refuses where the owner is not torch, which is imported next
            from deepbid_rt.runtimes.gpu.series import SeriesOnDevice
            from deepbid_rt.runtimes.gpu.torch_memory import TorchBuffer

            network = PlanNetwork(plan)

            def bind(given: Any, answer: Any) -> Queue:
                pairs = zip(given, answer, strict=True)  # a plan answers one view at a time
                queues = [network.bind(TorchBuffer(view), TorchBuffer(image)) for view, image in pairs]

                def queue() -> None:
                    for one in queues:
                        one()

                return queue

            self._series = SeriesOnDevice(bind, self.card, tensors)
        return self._series.open(info, merge)

    def _run(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        answer = self._runner.run(window)
        return answer.reshape(answer.shape[-3:])

    def _opened(self) -> LoadedPlan:
        if self._plan is None:
            raise EngineError("a closed engine", expected="an open one", todo="load the plan again")
        return self._plan

    def inspect(self) -> str:
        """Return what TensorRT says about the plan's layers, as JSON."""
        plan = self._opened()
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
