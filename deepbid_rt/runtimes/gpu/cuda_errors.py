"""The named errors of a GPU: too little memory, a failure before the session, a failure within it."""

from __future__ import annotations

from deepbid_rt.errors import EngineError, StageError
from deepbid_rt.runtimes.gpu.protocols import ALIGNMENT


def check_alignment(address: int) -> int:
    """Return an address of device memory. Raises `EngineError` unless it is a multiple of `ALIGNMENT`."""
    if address == 0 or address % ALIGNMENT:
        raise EngineError(
            f"device memory at address {address:#x}",
            expected=f"an address that is a multiple of {ALIGNMENT}",
            todo="report this with the versions of torch, pycuda and the driver",
        )
    return address


def no_room(what: str) -> EngineError:
    """Return the error for a GPU that has too little memory for `what`."""
    return EngineError(
        f"the GPU has no room for {what}",
        expected="that much free memory on the GPU",
        todo="end other programs that use the GPU (nvidia-smi), or choose a smaller frame",
    )


def cuda_failed(error: BaseException) -> StageError:
    """Return the error of a session whose GPU failed; everything recorded before is complete."""
    return StageError(
        f"the GPU failed in the middle of the session ({_first_line(error)})",
        expected="a GPU that keeps working",
        todo="check nvidia-smi and the system log, then start again; the recording up to here is complete",
    )


def cuda_refused(what: str, error: BaseException) -> EngineError:
    """Return the error of an engine whose first run on the GPU failed, before any stream."""
    return EngineError(
        f"the GPU failed when {what} was run for the first time ({_first_line(error)})",
        expected="a first run without errors",
        todo="check nvidia-smi and the system log, then start again",
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
