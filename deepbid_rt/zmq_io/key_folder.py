"""The keys of one computer: a key pair, and the public keys of the computers that may connect to it.

::

    DIR/secret.key           the key pair; only its owner can read it
    DIR/NAME.pub             the public key, to be copied to other computers
    DIR/allowed/NAME.pub     public keys of other computers that may connect to this one

The files have the format of ZeroMQ certificates, which other ZeroMQ programs can read.
"""

from __future__ import annotations

import os
import platform
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.auth import load_certificate

from deepbid_rt.errors import EndpointError, FileError

SECRET, ALLOWED = "secret.key", "allowed"
MAX_KEY_FILE_BYTES = 4096
"""Size of a key file up to which it is read; ours have about 200 bytes."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY = re.compile(rb"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")  # Z85
_POSIX = os.name == "posix"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair, each key as 40 characters (Z85)."""

    public: bytes
    secret: bytes = field(repr=False)


class KeyFolder:
    """The keys of one computer, in a folder.

    Parameters
    ----------
    path : Path or str
        The folder; `create` makes it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def allowed_path(self) -> Path:
        """Folder of the public keys that may connect."""
        return self.path / ALLOWED

    def create(self, name: str | None = None) -> Path:
        """Write a new key pair and return the file of its public key.

        Parameters
        ----------
        name : str, optional
            Name of this computer, for the file of the public key: letters, digits, ``_`` and ``-``. By default the
            name of the host.

        Raises
        ------
        FileError
            When there is a key already, which is never overwritten, or the folder cannot be written.
        """
        name = _checked_name(name or re.sub(r"[^A-Za-z0-9_-]+", "-", platform.node())[:64].strip("-") or "computer")
        check_curve()
        secret_file, public_file = self.path / SECRET, self.path / f"{name}.pub"
        for file in (secret_file, public_file):
            if file.exists():
                raise FileError(
                    f"the key {file}, which exists",
                    expected="a folder without keys",
                    todo="use these keys, or choose another folder; keys are never overwritten",
                )
        public, secret = zmq.curve_keypair()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.allowed_path.mkdir(mode=0o700, exist_ok=True)
            _write(secret_file, _text("secret key: keep it on this computer", name, public, secret), 0o600)
            _write(public_file, _text("public key: copy it to other computers", name, public), 0o644)
        except OSError as error:
            raise _unusable(self.path, error, "a folder that can be written") from error
        return public_file

    def pair(self) -> KeyPair:
        """Return the key pair.

        Raises
        ------
        FileError
            When there is none, or other users of this computer can read the secret key.
        """
        check_curve()
        file = self.path / SECRET
        try:
            mode = file.stat().st_mode
        except OSError as error:
            raise FileError(
                f"no secret key at {file} ({error.strerror})",
                expected="a folder made by deepbid-rt keys",
                todo=f"run deepbid-rt keys {self.path}",
            ) from error
        if _POSIX and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise FileError(
                f"the secret key {file}, which other users can read or write (mode {stat.S_IMODE(mode):04o})",
                expected="mode 0600",
                todo=f"run chmod 600 {file}; make new keys if somebody may have read it",
            )
        public, secret = _read(file)
        if secret is None:
            raise _no_key(file)
        return KeyPair(public, secret)

    def allow(self, public_file: Path | str, name: str | None = None) -> Path:
        """Let the owner of a public key connect to this computer; return the file that says so.

        Parameters
        ----------
        public_file : Path or str
            The other computer's ``NAME.pub``.
        name : str, optional
            Name of the other computer; by default the name of the file.

        Raises
        ------
        FileError
            When the file is no public key, or another key has this name already.
        """
        public_file = Path(public_file)
        public = public_key(public_file)
        name = _checked_name(name or re.sub(r"[^A-Za-z0-9_-]+", "-", public_file.stem))
        file = self.allowed_path / f"{name}.pub"
        try:
            if file.exists():
                if public_key(file) == public:
                    return file
                raise FileError(
                    f"the name {name} for a second key",
                    expected="one name for each key",
                    todo=f"choose another name with --name, or delete {file}",
                )
            self.allowed_path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(file, _text("public key of a computer that may connect", name, public), 0o644)
        except OSError as error:
            raise _unusable(file, error, "a folder that can be written") from error
        return file

    def allowed(self) -> dict[bytes, str]:
        """Return the public keys that may connect, and the name of each.

        Raises
        ------
        FileError
            When a file there is no public key, or other users could add files.
        """
        folder = self.allowed_path
        try:
            if not folder.exists():
                return {}
            mode = folder.stat().st_mode
            files = sorted(folder.glob("*.pub"))
        except OSError as error:
            raise _unusable(folder, error, "a folder of public keys") from error
        if _POSIX and mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise FileError(
                f"the folder {folder}, to which other users can add keys (mode {stat.S_IMODE(mode):04o})",
                expected="a folder that only its owner can write",
                todo=f"run chmod 700 {folder} and check the keys in it",
            )
        return {public_key(file): file.stem for file in files}


def public_key(file: Path | str) -> bytes:
    """Return the public key in a file, as 40 characters. Raises `FileError` when it is no key file."""
    public, _ = _read(Path(file))
    return public


def check_curve() -> None:
    """Raise `EndpointError` when this build of ZeroMQ cannot encrypt."""
    if not zmq.has("curve"):
        raise EndpointError(
            "keys for a ZeroMQ without encryption",
            expected="libzmq with CURVE, as in the wheels of pyzmq",
            todo="run pip install --force-reinstall pyzmq",
        )


def _read(file: Path) -> tuple[bytes, bytes | None]:
    """Return the public key and the secret key, if any."""
    try:
        if file.stat().st_size > MAX_KEY_FILE_BYTES:
            raise _no_key(file)
        public, secret = load_certificate(file)
    except OSError as error:
        raise _unusable(file, error, "a key file, as deepbid-rt keys writes it") from error
    except ValueError as error:
        raise _no_key(file) from error
    if not _KEY.fullmatch(public) or not (secret is None or _KEY.fullmatch(secret)):
        raise _no_key(file)
    return public, secret


def _text(title: str, name: str, public: bytes, secret: bytes | None = None) -> str:
    lines = [f"# deepbid-rt, {title}", "metadata", f'    name = "{name}"', "curve"]
    lines.append(f'    public-key = "{public.decode()}"')
    if secret is not None:
        lines.append(f'    secret-key = "{secret.decode()}"')
    return "\n".join(lines) + "\n"


def _write(file: Path, text: str, mode: int) -> None:
    """Write a new file. It has its mode from the beginning, so that nobody can open it before."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write(text)


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise FileError(
            f"the name {name!r} for a key",
            expected="1 to 64 letters, digits, _ and -",
            todo="choose such a name with --name",
        )
    return name


def _no_key(file: Path) -> FileError:
    return FileError(
        f"{file}, which holds no such key",
        expected="a key file, as deepbid-rt keys writes it",
        todo="copy the file again from the computer that made it",
    )


def _unusable(path: Path, error: OSError, expected: str) -> FileError:
    return FileError(
        f"{path} cannot be used ({error.strerror or error})", expected=expected, todo="check the path and its rights"
    )
