"""The processes that train one network together, one for each device, as torchrun starts them.

Knows nothing of recordings, networks or files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from deepbid_rt.errors import EngineError


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """Who trains along."""

    size: int = 1
    """Processes."""
    rank: int = 0
    """Number of this one; 0 writes and reports."""
    device: int = 0
    """Number of its device on its computer."""

    def share(self, batch: int) -> range:
        """Return which pairs of a batch are this process's.

        Raises
        ------
        EngineError
            When the batch cannot be shared equally.
        """
        if batch % self.size:
            raise EngineError(
                f"a batch of {batch} for {self.size} processes",
                expected="a batch that can be shared equally",
                todo="set the recipe's batch to a multiple of the number of processes",
            )
        part = batch // self.size
        return range(self.rank * part, (self.rank + 1) * part)

    def total(self, values: Sequence[float]) -> list[float]:
        """Add up each value over all processes, which all have to call this; every one gets the same sums."""
        if self.size == 1:
            return list(values)
        device = f"cuda:{self.device}" if distributed.get_backend() == "nccl" else "cpu"
        sums = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(sums)
        totals: list[float] = sums.tolist()
        return totals

    def any(self, answer: bool) -> bool:
        """Return whether the answer is yes in any process; all have to call this."""
        return self.total([answer])[0] > 0


@contextmanager
def join_process_group() -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started, over NCCL where there is CUDA and Gloo elsewhere; or be alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup()
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield ProcessGroup(size, distributed.get_rank(), int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        distributed.destroy_process_group()
