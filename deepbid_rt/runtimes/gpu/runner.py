"""One network on a GPU, view by view: pinned input up, the network, pinned answer down, captured as one graph.

The same for TensorRT and torch: what queues the network is all that differs. Owned by one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import DeepbidError
from deepbid_rt.runtimes.gpu.device_memory import Buffer, DeviceMemory, cuda_failed

Queue = Callable[[], None]


class Network(Protocol):
    """What computes an answer on the device."""

    def bind(self, given: Buffer, answer: Buffer) -> Queue:
        """Return what queues the network on the memory's stream, from one float32 buffer into another."""
        ...


class Runner:
    """Runs a network.

    Parameters
    ----------
    memory : DeviceMemory
        Closed here.
    network : Network
        Bound once, to the two buffers allocated here.
    given, answer : tuple of int
        Shapes of input and answer, float32.

    Raises
    ------
    EngineError
        When the GPU has too little memory.
    StageError
        When the first run fails.
    """

    def __init__(self, memory: DeviceMemory, network: Network, given: tuple[int, ...], answer: tuple[int, ...]) -> None:
        self._memory: DeviceMemory | None = memory
        self._given: NDArray[np.float32] = memory.pinned(given, np.float32)
        self._answer: NDArray[np.float32] = memory.pinned(answer, np.float32)
        self._up = memory.allocate(self._given.nbytes)
        self._down = memory.allocate(self._answer.nbytes)
        self._enqueue = network.bind(self._up, self._down)
        self._given.fill(0)
        self._replay: Queue | None = None
        self._guarded(self._queue)  # libraries finish their set-up in the first run, which cannot be captured
        self._replay = memory.capture(self._queue)

    @property
    def mode(self) -> str:
        """Whether a graph was captured, for logs."""
        return "one CUDA graph" if self._replay else "no CUDA graph"

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._memory is None

    def run(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer an input of the size given; the result is valid until the next call.

        Raises
        ------
        StageError
            When the GPU fails.
        """
        np.copyto(self._given.reshape(given.shape), given)
        self._guarded(self._replay or self._queue)
        return self._answer

    def _queue(self) -> None:
        memory = self._opened()
        memory.upload(self._up, self._given)
        self._enqueue()
        memory.download(self._answer, self._down)

    def _guarded(self, work: Queue) -> None:
        try:
            work()
            self._opened().synchronize()
        except DeepbidError:
            raise
        except RuntimeError as error:  # what torch raises for an error of CUDA
            raise cuda_failed(error) from error

    def _opened(self) -> DeviceMemory:
        if self._memory is None:
            raise RuntimeError("the runner is closed")
        return self._memory

    def close(self) -> None:
        """Release the memory; may be called twice."""
        if self._memory is not None:
            memory, self._memory = self._memory, None
            self._replay = None
            memory.close()
