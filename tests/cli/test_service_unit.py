"""The systemd unit in examples/: its syntax, and that its command exists."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from deepbid_rt.cli import app
from tests import ROOT

UNIT = ROOT / "examples" / "deepbid-rt.service"


def command() -> list[str]:
    text = UNIT.read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    return shlex.split(line)


def test_the_command_of_the_unit_has_the_options_that_it_uses() -> None:
    program, *words = command()
    assert Path(program).name == "deepbid-rt"
    group = typer.main.get_command(app)
    at = words.index("serve")
    ours, serves = words[:at], words[at + 1 :]
    assert set(ours) <= {name for parameter in group.params for name in parameter.opts}
    known = {name for parameter in group.commands["serve"].params for name in parameter.opts}
    assert {word for word in serves if word.startswith("--")} <= known


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8").replace(command()[0], sys.executable)  # it must be a program
    unit.write_text(text, encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
