"""`PlanNetwork`: execution contexts of a TensorRT plan, bound to memory that others own."""

from __future__ import annotations

from collections.abc import Callable

from deepbid_rt.runtimes.gpu.cuda_errors import cuda_failed
from deepbid_rt.runtimes.gpu.protocols import Buffer, Launch
from deepbid_rt.runtimes.tensorrt.api import ExecutionContext
from deepbid_rt.runtimes.tensorrt.load import LoadedPlan


class PlanNetwork:
    """A plan as a network, see `deepbid_rt.runtimes.gpu.runner.DeviceNetwork`."""

    def __init__(self, plan: LoadedPlan) -> None:
        self._plan = plan

    def bind(self, inputs: Buffer, answer: Buffer) -> Launch:
        """Return the launch of the plan, from one buffer into another; each binding has its own context."""
        return self._bind_context(inputs, answer)[0]

    def bind_each(self, pairs: list[tuple[Buffer, Buffer]]) -> Launch:
        """Return a function that queues the plan on one input after another: a plan takes one view at a time."""
        launches = [self.bind(inputs, answer) for inputs, answer in pairs]

        def launch_all() -> None:
            for launch in launches:
                launch()

        return launch_all

    def bind_window(self, places: list[Buffer], answer: Buffer) -> Callable[[int], None]:
        """Return a function that queues the plan on one of several overlapping buffers: one context, moving input."""
        plan = self._plan
        launch, context = self._bind_context(places[0], answer)
        [name] = [tensor.name for tensor in plan.facts.tensors if tensor.mode == "input"]

        def run(place: int) -> None:
            if not context.set_tensor_address(name, places[place].address):
                reason = RuntimeError(plan.messages.explain())
                raise cuda_failed(reason) from reason
            launch()

        return run

    def _bind_context(self, inputs: Buffer, answer: Buffer) -> tuple[Launch, ExecutionContext]:
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
            buffer = inputs if tensor.mode == "input" else answer
            if not context.set_tensor_address(tensor.name, buffer.address):
                raise plan.messages.refuse(
                    f"TensorRT refuses the memory of {tensor.name!r}",
                    expected="an address it can use",
                    todo=f"build the plan again: {plan.rebuild}",
                )

        def launch() -> None:
            with plan.memory.current():
                queued = context.execute_async_v3(plan.memory.stream)
            if not queued:
                reason = RuntimeError(plan.messages.explain())
                raise cuda_failed(reason) from reason

        return launch, context
