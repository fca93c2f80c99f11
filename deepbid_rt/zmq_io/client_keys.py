"""The keys of a connection to another computer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zmq

from deepbid_rt.errors import require_effect
from deepbid_rt.zmq_io.endpoint import check_protection, set_common
from deepbid_rt.zmq_io.key_folder import KeyFolder, KeyPair, public_key

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a connection needs: its own key pair, and the public key of the computer that it connects to.

    With these, the socket talks to nobody but the owner of that key: not to a program without keys either.
    """

    own: KeyPair
    server: bytes
    """Public key of the other side, 40 characters."""

    @classmethod
    def load(cls, folder: Path | str | None, server_key: Path | str | None) -> ClientKeys | None:
        """Read the keys of this computer, and the file of the other one's public key; None for neither.

        Raises
        ------
        OptionError
            When only one of the two is given.
        FileError
            When a key cannot be used.
        """
        require_effect(
            "a folder of keys",
            folder is not None,
            server_key is not None,
            why="without the public key of the computer to connect to",
            expected="both",
            todo="name its .pub file",
        )
        require_effect(
            "the public key of the computer to connect to",
            server_key is not None,
            folder is not None,
            why="without keys of this computer",
            expected="both",
            todo="name the folder that deepbid-rt keys made",
        )
        if folder is None or server_key is None:
            return None
        return cls(KeyFolder(folder).pair(), public_key(server_key))

    def apply(self, socket: zmq.Socket[bytes]) -> None:
        """Set the keys of a socket, before it connects."""
        socket.setsockopt(zmq.CURVE_SERVERKEY, self.server)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.own.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.own.secret)


def configure_client(
    endpoint: str,
    *,
    keys: Path | str | None = None,
    server_key: Path | str | None = None,
    insecure_lan: bool = False,
) -> Callable[[zmq.Socket[bytes]], None]:
    """Return a function that sets the options of a socket that will connect to an address; see `ZmqSource`.

    Raises
    ------
    EndpointError
        When the endpoint is not an address, or is not loopback without keys or `insecure_lan`.
    FileError
        When the keys cannot be used.
    """
    unprotected = check_protection(endpoint, connect=True, keys=server_key is not None, insecure_lan=insecure_lan)
    if unprotected:
        log.warning("%s", unprotected)
    client = ClientKeys.load(keys, server_key)

    def configure(socket: zmq.Socket[bytes]) -> None:
        set_common(socket, endpoint)
        if client:
            client.apply(socket)

    return configure
