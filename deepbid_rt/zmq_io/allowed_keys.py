"""The list of public keys that may connect, read again while a session runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from deepbid_rt.errors import FileError
from deepbid_rt.zmq_io.key_folder import KeyFolder

log = logging.getLogger(__name__)

READ_AGAIN_S = 1.0
"""How old the list may be: a key can be added or removed while a session runs, and strangers who connect all the time
do not make this computer read files all the time."""


class AllowedKeys:
    """Public keys that may connect: the folder's own key, and those in its folder ``allowed``.

    For one thread. A key that is removed keeps the connections that it has.

    Parameters
    ----------
    folder : KeyFolder
    clock : callable
        Returns monotonic seconds.

    Raises
    ------
    FileError
        When the keys cannot be read.
    """

    def __init__(self, folder: KeyFolder, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self.own = folder.pair()
        """The key pair of this computer."""
        self._allowed = folder.allowed()
        self._read_s = clock()
        self.failures = 0
        """How often the folder could not be read. Nobody but the own key may connect then."""

    def name_of(self, public: bytes) -> str | None:
        """Return the name of the computer with this public key (40 characters); None when it may not connect."""
        if public == self.own.public:
            return "this computer"
        if self._clock() - self._read_s >= READ_AGAIN_S:
            self._read_s = self._clock()
            try:
                self._allowed = self._folder.allowed()
            except FileError as error:
                # Nobody is let in by mistake; connections that exist go on.
                self._allowed = {}
                self.failures += 1
                log.warning("no other computer can connect, because the allowed keys cannot be read: %s", error)
        return self._allowed.get(public)
