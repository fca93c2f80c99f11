from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import typer

from deepbid_rt.cli import app
from deepbid_rt.doctor.finding import Finding
from deepbid_rt.doctor.rig import OF_COMMANDS, rig_text, write_rig
from deepbid_rt.errors import FileError

FOUND = (
    Finding("layout", "ok", "collinear", options={"scan": "collinear"}),
    Finding("mirrored", "attention", "in sampling\norder", todo="use --unmirrored", options={"unmirrored": True}),
    Finding("line phase", "ok", "fine", options={"line-phase": "auto"}),
)


def test_each_command_gets_the_options_that_it_has() -> None:
    tables = tomllib.loads(rig_text("movie.tif, 40 frames", {"channels": 2, "scan": "ordinary"}, FOUND))
    assert tables == {
        "serve": {"scan": "collinear", "line-phase": "auto"},
        "denoise": {"scan": "collinear", "unmirrored": True, "channels": 2, "line-phase": "auto"},
        "train": {"scan": "collinear", "unmirrored": True, "channels": 2, "line-phase": "auto"},
    }


def test_every_option_exists() -> None:
    commands = typer.main.get_command(app).commands
    for command, names in OF_COMMANDS.items():
        declared = {option for parameter in commands[command].params for option in parameter.opts}
        assert {f"--{name}" for name in names} <= declared


def test_what_needs_attention_stands_in_comments() -> None:
    text = rig_text('a "b"\n[evil]\n.tif', {}, FOUND)
    assert "# mirrored: in sampling order\n#   use --unmirrored\n" in text
    assert set(tomllib.loads(text)) == set(OF_COMMANDS)


@pytest.mark.parametrize("name", ['quote"back\\slash', "smile 😀", "tab\tand\x7f", "new\nline"])
def test_texts_come_back_as_they_were(name: str) -> None:
    assert tomllib.loads(rig_text("x", {"dataset": name}, ()))["denoise"]["dataset"] == name


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        write_rig(tmp_path / "none" / "rig.toml", "")
