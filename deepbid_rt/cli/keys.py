"""``deepbid-rt keys``: makes the keys of a computer, and lets other computers in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import print_json, print_table, say
from deepbid_rt.errors import require_effect
from deepbid_rt.zmq_io.key_folder import KeyFolder


def keys_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the keys of this computer.")],
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="Name of the new key, or of the computer to allow; by default that of the computer or file."
        ),
    ] = None,
    allow: Annotated[
        Path | None, typer.Option("--allow", help="Public key (NAME.pub) of another computer that may connect to this.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show the keys that are there; write nothing.")] = False,
    as_json: o.JsonOption = False,
) -> None:
    """Make keys for encrypted streams between computers. With --allow, let another computer connect to this one."""
    require_effect(
        "--name",
        name,
        not show,
        why="with --show, which writes nothing",
        expected="a new key, or --allow",
        todo="leave --show out",
    )
    require_effect(
        "--allow",
        allow,
        not show,
        why="with --show, which writes nothing",
        expected="one of the two",
        todo="leave --show out",
    )
    keys = KeyFolder(folder)
    if allow:
        keys.pair()  # a folder without keys is a wrong path
        allowed = keys.allow(allow, name)
        say(f"{allowed.stem} may connect to this computer; to take that back, delete {allowed}")
    elif not show:
        public_file = keys.create(name)
        say(f"copy {public_file} to the other computers, and keep {folder / 'secret.key'} on this one")
    own, others = keys.pair(), keys.allowed()
    rows = [("this computer", own.public.decode())]
    rows += [(f"may connect: {other}", public.decode()) for public, other in others.items()]
    print_table("public keys", rows, ("", ""))
    if as_json:
        allowed_keys = {other: public.decode() for public, other in others.items()}
        print_json({"public_key": own.public.decode(), "allowed": allowed_keys})
