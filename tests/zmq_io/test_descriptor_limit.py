"""The limit of open files and connections is raised as far as the system allows, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")

RAISED = """
import resource
from deepbid_rt.zmq_io.descriptor_limit import raise_descriptor_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}))
print(raise_descriptor_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize("hard", [64, 300])
def test_the_limit_becomes_the_largest_that_is_allowed(hard: int) -> None:
    command = [sys.executable, "-c", RAISED.format(hard=hard)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(hard), str(hard)]
