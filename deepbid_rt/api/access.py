"""Checks of the options about keys and access from other computers, for commands and for Python functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepbid_rt.errors import EndpointError, require_effect
from deepbid_rt.wire.loopback import is_loopback
from deepbid_rt.zmq_io.dialect import plain_address
from deepbid_rt.zmq_io.endpoint import host_of

KeyFile = Path | str | None
"""A folder of keys or the file of a public key; None for none."""


@dataclass(frozen=True, slots=True)
class AccessOptions:
    """How the options are written: on the command line, or as arguments of a function."""

    keys: str = "--keys"
    insecure_lan: str = "--insecure-lan"


COMMAND_LINE = AccessOptions()
PYTHON = AccessOptions("keys", "insecure_lan=True")


@dataclass(frozen=True, slots=True)
class End:
    """An address that is connected to or bound."""

    endpoint: str
    protected: object
    """Truthy when keys protect it."""

    @property
    def is_open(self) -> bool:
        """Whether other computers can be reached there without keys. False for a malformed address."""
        try:
            return not self.protected and not is_loopback(host_of(plain_address(self.endpoint)))
        except EndpointError:
            return False  # refused where it is used, with a message of its own


def check_access(
    ends: Sequence[End],
    *,
    keys: KeyFile,
    server_keys: dict[str, KeyFile],
    insecure_lan: bool,
    binds: bool,
    options: AccessOptions = COMMAND_LINE,
) -> None:
    """Refuse options about access that cannot take effect.

    Parameters
    ----------
    ends : sequence of End
        All addresses that are used.
    keys : path or None
        Folder of the keys of this computer.
    server_keys : dict of str to path or None
        Public keys of the computers to connect to, by the option that gives each.
    insecure_lan : bool
        Whether addresses of other computers are allowed without keys.
    binds : bool
        Whether an address is bound, so that the own keys alone have an effect.
    options : AccessOptions
        How the options are written.

    Raises
    ------
    OptionError
        When `keys` or a server key is given without the other, or `insecure_lan` where nothing is open.
    """
    for option, key in server_keys.items():
        require_effect(
            option,
            key is not None,
            keys is not None,
            why=f"without {options.keys}",
            expected=f"{options.keys} beside it: the folder of the keys of this computer",
            todo=f"make keys with deepbid-rt keys and add {options.keys}",
        )
    given = [key for key in server_keys.values() if key is not None]
    require_effect(
        options.keys,
        keys is not None,
        binds or given,
        why=f"without {' or '.join(server_keys)}",
        expected="the public key of the computer to connect to",
        todo=f"add {next(iter(server_keys), 'it')}",
    )
    if any(End(end.endpoint, end.protected).is_open for end in ends):
        return
    endpoints = " and ".join(end.endpoint for end in ends)
    if not ends:
        why, todo = "without an address", "name one"
    elif any(end.protected for end in ends):
        why, todo = f"with {endpoints}, which keys protect", f"use {options.keys} alone"
    else:
        why, todo = (
            f"with {endpoints}, which only this computer can reach",
            "bind such an address, as tcp://0.0.0.0:PORT",
        )
        todo = todo if binds else "connect to such an address"
    require_effect(
        options.insecure_lan,
        insecure_lan,
        effective=False,
        why=why,
        expected="an address that other computers can reach",
        todo=todo,
    )
