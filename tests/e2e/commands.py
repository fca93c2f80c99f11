"""The command line as its users meet it: separate processes, their output and their exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

TIMEOUT_S = 120.0


@dataclass
class Finished:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def result(self) -> dict[str, Any]:
        """The JSON object on the last line of stdout."""
        return json.loads(self.stdout.strip().splitlines()[-1])


class Running:
    """A command at work."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        """The next line of stdout."""
        return self.process.stdout.readline().strip()

    def finish(self) -> Finished:
        """Wait for the end."""
        stdout, stderr = self.process.communicate(timeout=TIMEOUT_S)
        return Finished(self.process.returncode, stdout, stderr)


@contextmanager
def started(*args: str | Path) -> Iterator[Running]:
    """Start ``deepbid-rt`` with `args`; it is killed when the context ends before it does."""
    command = [sys.executable, "-m", "deepbid_rt", *map(str, args)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate()


def run(*args: str | Path) -> Finished:
    """Run ``deepbid-rt`` with `args` to its end."""
    with started(*args) as command:
        return command.finish()


def page_count(path: str | Path) -> int:
    """Count the pages of a TIFF."""
    with tifffile.TiffFile(path) as tif:
        return len(tif.pages)
