"""Every error a user can meet, in one tree.

::

    DeepbidError
    ├── RefusedError          the input or the set-up was refused (exit code 2)
    │   ├── WireError         a message is not DBRT/1
    │   ├── StreamError       a stream or recording contradicts itself or the engine
    │   ├── EngineError       an engine file or its card cannot be used
    │   ├── FileError         a file cannot be read or written
    │   └── EndpointError     a network address cannot be used
    └── FailedError           a session stopped mid-way (exit code 1)
        ├── OverrunError      a consumer that must not lose frames was too slow
        └── StageError        an engine, source or sink raised while running

Each message is one sentence of three parts: what came, what was expected, what to do next.
"""

from __future__ import annotations


class DeepbidError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    came : str
        What was found.
    expected : str
        What would have been accepted.
    todo : str
        What the reader can do next.
    """

    def __init__(self, came: str, *, expected: str, todo: str) -> None:
        self.came = came
        self.expected = expected
        self.todo = todo
        super().__init__(f"{came}; expected {expected}; {todo}.")


class RefusedError(DeepbidError):
    """The input or the set-up was refused."""


class WireError(RefusedError):
    """A message is not valid DBRT/1. ``kind`` groups equal faults for counting.

    Parameters
    ----------
    kind : str
        Short name of the fault, such as ``"version"`` or ``"byte-count"``.
    """

    def __init__(self, kind: str, came: str, *, expected: str, todo: str) -> None:
        self.kind = kind
        super().__init__(came, expected=expected, todo=todo)


class StreamError(RefusedError):
    """A stream or recording contradicts itself, its start message or the engine's card."""


class EngineError(RefusedError):
    """An engine file is missing, damaged, of another version, or does not fit."""


class FileError(RefusedError):
    """A file cannot be read or written as asked."""


class EndpointError(RefusedError):
    """A network address cannot be bound or reached."""


class FailedError(DeepbidError):
    """A running session had to stop."""


class OverrunError(FailedError):
    """A consumer that must not lose frames could not keep up."""


class StageError(FailedError):
    """An engine, a source or a sink raised; the original error is the ``__cause__``."""
