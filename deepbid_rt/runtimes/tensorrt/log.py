"""Messages of TensorRT. TensorRT reports a failure by returning None and logging a line, not by an exception."""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.tensorrt.api import TensorRt

log = logging.getLogger(__name__)

KEPT = 20
"""Messages that are kept."""
Made = TypeVar("Made")
_CAUSES = (
    (r"magicTag", "it is not a plan of TensorRT, or it has a prefix"),
    (r"stdVersionRead|Serialization assertion|Serialized Engine Version", "another version of TensorRT wrote it"),
    (r"incompatible device|compute capability|expecting compute", "it was built for another GPU"),
    (r"out of memory|OutOfMemory|Cuda failure: 2\b|cudaErrorMemoryAllocation", "the GPU has too little free memory"),
    (r"CUDA initialization failure|CUDA error 35|insufficient", "the GPU or its driver cannot be used"),
)


class Messages:
    """Keeps the last warnings and errors, from any thread, and finds their cause."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=KEPT)

    def push(self, level: int, text: str) -> None:
        """Keep a message of a `logging` level if it is a warning or an error, and log it as information at most."""
        line = " ".join(text.split())
        if level >= logging.WARNING:
            with self._lock:
                self._lines.append(line)
        log.log(min(level, logging.INFO), "TensorRT: %s", line)

    def reset(self) -> None:
        """Forget all messages."""
        with self._lock:
            self._lines.clear()

    def explain(self) -> str:
        """Return the cause that the messages show, if one is known, and the last message."""
        with self._lock:
            lines = list(self._lines)
        if not lines:
            return "TensorRT gave no reason"
        text = " ".join(lines)
        causes = [cause for pattern, cause in _CAUSES if re.search(pattern, text)]
        return f"{causes[0]}: {lines[-1][:300]}" if causes else lines[-1][:300]

    def refuse(self, came: str, *, expected: str, todo: str) -> EngineError:
        """Return an error that quotes `explain`."""
        return EngineError(f"{came} ({self.explain()})", expected=expected, todo=todo)


def make_logger(trt: TensorRt, messages: Messages) -> Any:
    """Return an ``ILogger`` that passes everything to `messages`; it must outlive all objects created with it."""
    severity = trt.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.INFO,
        severity.VERBOSE: logging.DEBUG,
    }

    class Log(trt.ILogger):  # type: ignore[name-defined, misc]  # the class is only known once TensorRT is imported
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            messages.push(levels.get(severity, logging.INFO), msg)

    return Log()


def create_with_logger(make: Callable[[Any], Made], logger: Any, messages: Messages) -> Made:
    """Return an object of TensorRT's class `make`; the first such object initialises the GPU.

    Raises
    ------
    EngineError
        When TensorRT cannot use the GPU. Its bindings then raise TypeError; only the messages hold the reason.
    """
    try:
        return make(logger)
    except TypeError as error:
        raise messages.refuse(
            "TensorRT cannot use this GPU with this driver",
            expected="a driver at least as new as the CUDA that TensorRT was built for",
            todo="check nvidia-smi, and update the driver or install an older TensorRT",
        ) from error
