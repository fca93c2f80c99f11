"""Files of keys: who can read them, and what is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from deepbid_rt.errors import FileError, OptionError
from deepbid_rt.zmq_io.allowed_keys import READ_AGAIN_S, AllowedKeys
from deepbid_rt.zmq_io.client_keys import ClientKeys
from deepbid_rt.zmq_io.key_folder import KeyFolder, public_key

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such rights of files")


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    folder = KeyFolder(tmp_path / "keys")
    folder.create("scope")
    return folder


def other(tmp_path: Path, name: str) -> Path:
    return KeyFolder(tmp_path / f"of {name}").create(name)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_keys_are_a_pair_whose_public_part_is_in_a_file_of_its_own(folder: KeyFolder) -> None:
    pair = folder.pair()
    assert public_key(folder.path / "scope.pub") == pair.public
    assert pair.secret.decode() not in (folder.path / "scope.pub").read_text()
    assert pair.secret.decode() not in repr(pair)
    assert (len(pair.public), len(pair.secret)) == (40, 40)


@posix
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_nobody_else_can_read_the_secret_key_whatever_the_mask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        folder = KeyFolder(tmp_path / "keys")
        folder.create("scope")
    finally:
        os.umask(before)
    assert mode(folder.path / "secret.key") == 0o600
    assert mode(folder.path) == 0o700
    folder.pair()
    folder.allowed()


def test_keys_are_never_overwritten(folder: KeyFolder) -> None:
    before = folder.pair()
    for name in ("scope", "another"):
        with pytest.raises(FileError, match=r"which exists; expected a folder without keys; .* never overwritten"):
            folder.create(name)
    assert folder.pair() == before


def test_a_public_key_is_not_overwritten_either(tmp_path: Path) -> None:
    file = other(tmp_path, "viewer")
    file.with_name("secret.key").unlink()
    with pytest.raises(FileError, match="which exists"):
        KeyFolder(file.parent).create("viewer")


@posix
@pytest.mark.parametrize("wrong", [0o640, 0o604, 0o620, 0o644])
def test_a_secret_key_that_others_can_read_or_write_is_refused(folder: KeyFolder, wrong: int) -> None:
    file = folder.path / "secret.key"
    file.chmod(wrong)
    with pytest.raises(FileError, match=rf"other users can read or write \(mode {wrong:04o}\); .* run chmod 600"):
        folder.pair()


@posix
def test_a_list_to_which_others_can_add_keys_is_refused(folder: KeyFolder) -> None:
    folder.allowed_path.chmod(0o777)
    with pytest.raises(FileError, match=r"to which other users can add keys \(mode 0777\)"):
        folder.allowed()


def test_an_allowed_key_is_listed_under_its_name(folder: KeyFolder, tmp_path: Path) -> None:
    viewer, laptop = other(tmp_path, "viewer"), other(tmp_path, "laptop")
    assert folder.allowed() == {}
    folder.allow(viewer)
    folder.allow(viewer)  # again
    folder.allow(laptop, "anna")
    assert folder.allowed() == {public_key(viewer): "viewer", public_key(laptop): "anna"}


def test_one_name_is_one_key(folder: KeyFolder, tmp_path: Path) -> None:
    folder.allow(other(tmp_path, "viewer"))
    with pytest.raises(FileError, match="the name viewer for a second key"):
        folder.allow(other(tmp_path, "laptop"), "viewer")


def test_allowing_a_secret_key_file_stores_its_public_part_only(folder: KeyFolder, tmp_path: Path) -> None:
    """Somebody copies the wrong file. The secret must not spread further."""
    secret_file = other(tmp_path, "viewer").with_name("secret.key")
    stored = folder.allow(secret_file, "viewer").read_text()
    assert KeyFolder(secret_file.parent).pair().secret.decode() not in stored


@pytest.mark.parametrize("content", [b"", b"curve\n", b'public-key = "short"', b"\xff" * 90, b"x" * 10_000])
def test_a_file_that_is_no_key_is_refused(folder: KeyFolder, tmp_path: Path, content: bytes) -> None:
    wrong = tmp_path / "wrong.pub"
    wrong.write_bytes(content)
    for read in (folder.allow, public_key):
        with pytest.raises(FileError, match="which holds no such key"):
            read(wrong)
    with pytest.raises(FileError, match="cannot be used"):
        public_key(tmp_path / "none.pub")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "x" * 65, "é"])
def test_a_name_that_is_no_file_name_is_refused(folder: KeyFolder, tmp_path: Path, name: str) -> None:
    file = other(tmp_path, "viewer")
    if name:  # without a name, that of the file is taken
        with pytest.raises(FileError, match="letters, digits, _ and -"):
            folder.allow(file, name)
    assert folder.allow(file, "viewer").parent == folder.allowed_path


def test_a_public_key_alone_is_not_taken_for_a_pair(folder: KeyFolder) -> None:
    (folder.path / "secret.key").write_text((folder.path / "scope.pub").read_text())
    with pytest.raises(FileError, match="which holds no such key"):
        folder.pair()


def test_a_missing_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no secret key at .* run deepbid-rt keys"):
        KeyFolder(tmp_path / "none").pair()


def test_the_list_is_read_again_after_a_second(folder: KeyFolder, tmp_path: Path) -> None:
    now = [0.0]
    keys = AllowedKeys(folder, clock=lambda: now[0])
    viewer = public_key(folder.allow(other(tmp_path, "viewer")))
    assert keys.name_of(viewer) is None
    now[0] = READ_AGAIN_S
    assert keys.name_of(viewer) == "viewer"
    (folder.allowed_path / "viewer.pub").write_text("damaged")
    assert keys.name_of(viewer) == "viewer"
    now[0] = 2 * READ_AGAIN_S
    assert keys.name_of(viewer) is None
    assert (keys.name_of(keys.own.public), keys.failures) == ("this computer", 1)


def test_a_connection_needs_both_its_own_keys_and_that_of_the_other_side(folder: KeyFolder) -> None:
    file = folder.path / "scope.pub"
    assert ClientKeys.load(None, None) is None
    assert ClientKeys.load(folder.path, file) == ClientKeys(folder.pair(), folder.pair().public)
    with pytest.raises(OptionError, match="without the public key of the computer to connect to"):
        ClientKeys.load(folder.path, None)
    with pytest.raises(OptionError, match="without keys of this computer"):
        ClientKeys.load(None, file)
