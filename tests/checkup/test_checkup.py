"""All checks of a computer, and the command that runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deepbid_rt.checkup import checkup, disk
from deepbid_rt.checkup.checkup import Plan, check_up, checks_for
from deepbid_rt.checkup.finding import Finding
from deepbid_rt.cli import app

OK = Finding("a", "ok", "fine")
PROBLEM = Finding("b", "problem", "broken", "mend it")


def test_a_check_that_raises_is_a_finding_and_the_others_go_on() -> None:
    def broken() -> Finding:
        raise ZeroDivisionError("by zero")

    found = list(check_up([("x", lambda: OK), ("y", broken), ("z", lambda: [OK, PROBLEM])]))
    assert [finding.part for finding in found] == ["a", "y", "a", "b"]
    assert (found[1].level, found[1].text) == ("problem", "the check failed: ZeroDivisionError: by zero")


def test_a_whole_check_up_of_this_computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "TEST_BYTES", 2**20)
    plan = Plan(32, 1.0, "echo", record=tmp_path)
    found = {finding.part: finding for finding in check_up(checks_for(plan))}
    assert {"version", "packages", "cores", "instructions", "memory", "descriptors", "clock", "time"} <= set(found)
    assert {"port 5590", "port 5591", "loopback", "GPU", "room", "disk", "engine", "speed"} <= set(found)
    assert found["speed"].level == found["packages"].level == "ok"
    assert all(finding.todo for finding in found.values() if finding.level != "ok")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("found", "code"), [([OK], 0), ([OK, PROBLEM], 1)])
def test_the_command_prints_each_line_and_ends_with_1_when_there_is_a_problem(
    found: list[Finding], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "checks_for", lambda _: [("all", lambda: found)])
    done = CliRunner().invoke(app, ["checkup", "--json"])
    assert done.exit_code == code, done.output
    assert "ok       a: fine\n" in done.stderr
    assert ("PROBLEM  b: broken\n          -> mend it\n" in done.stderr) == (code == 1)
    result = json.loads(done.stdout)
    assert (result["ok"], len(result["findings"])) == (code == 0, len(found))
