"""What queues a plan on the GPU: contexts bound to memory that others own. Knows nothing of frames."""

from __future__ import annotations

from collections.abc import Callable

from deepbid_rt.runtimes.gpu.device_memory import Buffer, Queue, cuda_failed
from deepbid_rt.runtimes.tensorrt.api import ExecutionContext
from deepbid_rt.runtimes.tensorrt.load import LoadedPlan


class PlanNetwork:
    """What queues a plan on the GPU."""

    def __init__(self, plan: LoadedPlan) -> None:
        self._plan = plan

    def bind(self, given: Buffer, answer: Buffer) -> Queue:
        """Return what queues the plan, from one buffer into another; each binding has a context of its own."""
        return self._bound(given, answer)[0]

    def bind_each(self, pairs: list[tuple[Buffer, Buffer]]) -> Queue:
        """Return what queues the plan on one input after another: it answers one view at a time."""
        queues = [self.bind(given, answer) for given, answer in pairs]

        def queue() -> None:
            for one in queues:
                one()

        return queue

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
