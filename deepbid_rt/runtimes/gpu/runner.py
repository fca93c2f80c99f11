"""`NetworkRunner`: runs one network on a GPU, input by input: upload, network and download as one CUDA graph.

TensorRT and torch differ only in the `DeviceNetwork` that they pass. For one thread.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import DeepbidError
from deepbid_rt.runtimes.gpu.cuda_errors import cuda_failed
from deepbid_rt.runtimes.gpu.protocols import Buffer, DeviceMemory, Launch


class DeviceNetwork(Protocol):
    """A network on the device."""

    def bind(self, inputs: Buffer, answer: Buffer) -> Launch:
        """Return the launch of the network on the memory's stream, from one float32 buffer into another."""
        ...


class NetworkRunner:
    """Runs a network on the device.

    Parameters
    ----------
    memory : DeviceMemory
        Closed here.
    network : DeviceNetwork
        Bound once, to two buffers allocated here.
    input_shape, answer_shape : tuple of int
        Of float32 arrays.

    Raises
    ------
    EngineError
        When the GPU has too little memory.
    StageError
        When the first run fails.
    """

    def __init__(
        self, memory: DeviceMemory, network: DeviceNetwork, input_shape: tuple[int, ...], answer_shape: tuple[int, ...]
    ) -> None:
        self._memory: DeviceMemory | None = memory
        self._input: NDArray[np.float32] = memory.pinned(input_shape, np.float32)
        self._answer: NDArray[np.float32] = memory.pinned(answer_shape, np.float32)
        self._up = memory.allocate(self._input.nbytes)
        self._down = memory.allocate(self._answer.nbytes)
        self._launch = network.bind(self._up, self._down)
        self._input.fill(0)
        self._replay: Launch | None = None
        self._complete(self._queue)  # libraries finish their set-up in the first run, which cannot be captured
        self._replay = memory.capture(self._queue)

    @property
    def mode(self) -> str:
        """Whether a CUDA graph was captured, for logs."""
        return "one CUDA graph" if self._replay else "no CUDA graph"

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._memory is None

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the answer to an input with as many values as `input_shape`; it is valid until the next call.

        Raises
        ------
        StageError
            When the GPU fails.
        """
        np.copyto(self._input.reshape(inputs.shape), inputs)
        self._complete(self._replay or self._queue)
        return self._answer

    def _queue(self) -> None:
        memory = self._open_memory()
        memory.upload(self._up, self._input)
        self._launch()
        memory.download(self._answer, self._down)

    def _complete(self, launch: Launch) -> None:
        """Queue work and wait for it."""
        try:
            launch()
            self._open_memory().synchronize()
        except DeepbidError:
            raise
        except RuntimeError as error:  # torch's error for an error of CUDA
            raise cuda_failed(error) from error

    def _open_memory(self) -> DeviceMemory:
        if self._memory is None:
            raise RuntimeError("the runner is closed")
        return self._memory

    def close(self) -> None:
        """Release the memory; may be called twice."""
        if self._memory is not None:
            memory, self._memory = self._memory, None
            self._replay = None
            memory.close()
