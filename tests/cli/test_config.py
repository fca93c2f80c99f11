"""Options of commands from a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from deepbid_rt.cli import app
from deepbid_rt.errors import FileError, OptionError, StreamError

FRAMES = np.random.default_rng(0).poisson(30, (12, 16, 16)).astype(np.int16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "in.tif", FRAMES, photometric="minisblack")
    return tmp_path


def denoise(folder: Path, config: str, *more: str):
    (folder / "rig.toml").write_text(config, encoding="utf-8")
    arguments = [str(folder / "in.tif"), str(folder / "out.tif"), "--config", str(folder / "rig.toml"), "--json"]
    return CliRunner().invoke(app, ["denoise", *arguments, *more])


def test_values_of_the_file_are_defaults(folder: Path) -> None:
    done = denoise(folder, '[denoise]\nengine = "echo"\nchannels = 2\nscan = "collinear"\nrate = 15\n[train]\nx = 1\n')
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["engine"] == "echo"
    assert result["shape"] == [2, 8, 16]


def test_the_command_line_wins(folder: Path) -> None:
    done = denoise(
        folder, '[denoise]\nengine = "no such engine"\nchannels = 2\n', "--engine", "echo", "--channels", "3"
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["shape"] == [3, 16, 16]


def test_a_flag_of_the_file_is_checked_like_one_of_the_command_line(folder: Path) -> None:
    done = denoise(folder, '[denoise]\nengine = "echo"\nunmirrored = true\nunidirectional = true\n')
    assert isinstance(done.exception, OptionError)
    assert str(done.exception).startswith("--unmirrored with --unidirectional")


def test_a_number_where_text_is_expected_is_read_as_on_the_command_line(folder: Path) -> None:
    done = denoise(folder, '[denoise]\nengine = "echo"\nline-phase = 99.5\n')
    assert isinstance(done.exception, StreamError)
    assert "a line phase of 99.5 px" in str(done.exception)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[denoise]\nunmirored = true\n", "the key 'unmirored' in table [denoise] of "),
        ("[denoise]\nsource = 'tcp://127.0.0.1:9'\n", "the key 'source' in table [denoise] of "),
        ("[denoise]\nconfig = 'other.toml'\n", "the key 'config' in table [denoise] of "),
        ("[denoise]\nunmirrored = 'yes'\n", "unmirrored = 'yes' in table [denoise] of "),
        ("[denoise]\nchannels = true\n", "channels = True in table [denoise] of "),
        ("[denoise]\nchannels = [1, 2]\n", "channels = [1, 2] in table [denoise] of "),
        ("[denoise.scan]\nx = 1\n", "scan = {'x': 1} in table [denoise] of "),
        ("[denoiser]\n", "'denoiser' in "),
        ("scan = 'ordinary'\n", "'scan' in "),
        ("[serve]\n", "--config "),
        ("", "--config "),
    ],
)
def test_what_the_file_must_not_say(folder: Path, config: str, message: str) -> None:
    error = denoise(folder, config).exception
    assert isinstance(error, OptionError), error
    assert str(error).startswith(message)
    assert str(error).count("; ") == 2
    assert not (folder / "out.tif").exists()


def test_a_value_that_the_option_refuses_is_named(folder: Path) -> None:
    done = denoise(folder, '[denoise]\nchannels = 2.5\nengine = "echo"\n')
    assert done.exit_code == 2
    assert "--channels" in done.output


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"[denoise\n", "is no TOML"), (b"\xff\xfe\x00", "is no TOML")],
)
def test_a_file_that_is_no_toml(folder: Path, content: bytes | None, message: str) -> None:
    path = folder / "rig.toml"
    if content is not None:
        path.write_bytes(content)
    error = CliRunner().invoke(app, ["denoise", "a", "b", "--config", str(path)]).exception
    assert isinstance(error, FileError)
    assert message in str(error)


def test_the_source_of_serve_may_come_from_the_file(folder: Path) -> None:
    (folder / "rig.toml").write_text("[serve]\nsource = 'nowhere'\nengine = 'echo'\nrecord-raw = true\n")
    error = CliRunner().invoke(app, ["serve", "--config", str(folder / "rig.toml")]).exception
    assert isinstance(error, OptionError)
    assert str(error).startswith("--record-raw without --record")


@pytest.mark.parametrize("command", ["serve", "denoise", "train"])
def test_the_help_of_each_command_names_it(command: str) -> None:
    assert "--config" in CliRunner().invoke(app, [command, "--help"]).output
