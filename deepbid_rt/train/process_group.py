"""The processes that train one network together, one per device, started by torchrun."""

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
    """The processes that train together, as seen from one of them."""

    size: int = 1
    """Number of processes."""
    rank: int = 0
    """Number of this process. Process 0 writes files and reports progress."""
    device: int = 0
    """Number of this process's device on its computer."""

    def share(self, batch: int) -> range:
        """Return the indices of this process's pairs in a batch of `batch` pairs.

        Raises
        ------
        EngineError
            When the batch cannot be divided equally.
        """
        if batch % self.size:
            raise EngineError(
                f"a batch of {batch} for {self.size} processes",
                expected="a batch that can be divided equally",
                todo="set the recipe's batch to a multiple of the number of processes",
            )
        part = batch // self.size
        return range(self.rank * part, (self.rank + 1) * part)

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each value over all processes. All processes must call this; all get the same sums."""
        if self.size == 1:
            return list(values)
        device = f"cuda:{self.device}" if distributed.get_backend() == "nccl" else "cpu"
        sums = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(sums)
        totals: list[float] = sums.tolist()
        return totals

    def any(self, value: bool) -> bool:
        """Return whether the value is true in any process. All processes must call this."""
        return self.total([value])[0] > 0


@contextmanager
def join_process_group() -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started, over NCCL with CUDA and over Gloo without; else a group of one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup()
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield ProcessGroup(size, distributed.get_rank(), int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        distributed.destroy_process_group()
