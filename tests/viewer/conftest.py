"""Fixtures: a screen and the Qt application. Tests are skipped, with the reason, where they cannot be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def screen() -> Iterator[str]:
    """The X display: that of the desktop, or a virtual one."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        if shutil.which("Xvfb") is None:
            pytest.skip("no screen: neither DISPLAY nor Xvfb (Debian: apt-get install xvfb)")
        read, write = os.pipe()
        command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x900x24", "-nolisten", "tcp", "-noreset"]
        server = subprocess.Popen(command, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as number:
            os.environ["DISPLAY"] = f":{number.readline().strip()}"
        yield os.environ["DISPLAY"]
        del os.environ["DISPLAY"]
        server.terminate()
        server.wait()
    else:
        yield os.environ.get("DISPLAY", "")


@pytest.fixture(scope="session")
def application(screen: str) -> object:
    """The Qt application; a process can have only one."""
    pytest.importorskip("vispy", reason="the viewer extra is not installed", exc_type=ImportError)
    pytest.importorskip(
        "PySide6.QtWidgets", reason="PySide6 or a library it needs is not installed", exc_type=ImportError
    )
    from PySide6.QtWidgets import QApplication

    from deepbid_rt.errors import RefusedError
    from deepbid_rt.viewer.run import held_screen

    try:
        with held_screen():
            return QApplication.instance() or QApplication(["tests"])
    except RefusedError as error:
        pytest.skip(str(error))
