"""The exceptions that deepbid-rt raises on purpose, in one tree.

::

    DeepbidError
    ├── RefusedError          the input or the configuration was refused (exit code 2)
    │   ├── WireError         a message is not DBRT/1
    │   ├── StreamError       a stream or recording contradicts itself or the engine
    │   ├── EngineError       an engine file or its card cannot be used
    │   ├── FileError         a file cannot be read or written
    │   ├── EndpointError     a network address cannot be used
    │   └── OptionError       an option cannot take effect beside the others
    └── FailedError           a running session had to stop (exit code 1)
        ├── OverrunError      a consumer that must not lose frames was too slow
        └── StageError        an engine, source or sink raised while running

Each message is one sentence with three parts: what was found, what was expected, what to do next.
"""

from __future__ import annotations


class DeepbidError(Exception):
    """Base class of all exceptions that deepbid-rt raises on purpose.

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
    """The input or the configuration was refused."""


class WireError(RefusedError):
    """A message is not valid DBRT/1.

    Parameters
    ----------
    kind : str
        Short name of the fault, such as ``"version"`` or ``"byte-count"``; faults are counted by it.
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


class OptionError(RefusedError):
    """An option or argument cannot take effect beside the others that were given."""


def require_effect(option: str, asked: object, effective: object, *, why: str, expected: str, todo: str) -> None:
    """Refuse an option that cannot take effect. Commands and Python functions call this before they open anything.

    Parameters
    ----------
    option : str
        The option as the caller writes it, such as ``--record-raw``.
    asked : object
        What the option asks for; false when that is what happens without the option too. So an option that is left out,
        or given at its default as scripts do, is never refused.
    effective : object
        False when the option cannot take effect.
    why : str
        What prevents it, such as "without --record".
    expected, todo : str
        See `DeepbidError`; `todo` is continued by the advice to leave the option out.

    Raises
    ------
    OptionError
        When the option asks for something and cannot take effect.
    """
    if asked and not effective:
        raise OptionError(f"{option} {why}", expected=expected, todo=f"{todo}, or leave {option} out")


class FailedError(DeepbidError):
    """A running session had to stop."""


class OverrunError(FailedError):
    """A consumer that must not lose frames was too slow."""


class StageError(FailedError):
    """An engine, a source or a sink raised while running; its own exception is the ``__cause__``."""
