"""Running the command line in separate processes, as users do."""

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
    """Exit code and output of a finished command."""

    code: int
    stdout: str
    stderr: str

    @property
    def result(self) -> dict[str, Any]:
        """The JSON object on the last line of stdout."""
        return json.loads(self.stdout.strip().splitlines()[-1])


class Running:
    """A running command."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        """Return the next line of stdout."""
        return self.process.stdout.readline().strip()

    def finish(self) -> Finished:
        """Wait until the command ends."""
        stdout, stderr = self.process.communicate(timeout=TIMEOUT_S)
        return Finished(self.process.returncode, stdout, stderr)


@contextmanager
def started(*args: str | Path) -> Iterator[Running]:
    """Start ``deepbid-rt`` with `args`; it is killed if it is still running when the context ends."""
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
