"""A microscope with a line phase, over loopback: status, page, log and summary of the session report it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from deepbid_rt.frame import StreamEnd
from deepbid_rt.recording.sidecar import read_sidecar
from deepbid_rt.wire.beat_status import BeatStatus
from deepbid_rt.zmq_io import ZmqSource
from tests.e2e.commands import Running, run, started

MAX_READS = 600
"""Largest number of events that a test reads while it waits for the line phase."""


def rest_of_line(command: Running, start: str) -> str:
    """The rest of the first line on stderr that begins with `start`."""
    for line in command.process.stderr:
        if line.startswith(start):
            return line.removeprefix(start).strip()
    raise AssertionError(start)


def measured(source: ZmqSource, page: str | None = None) -> tuple[float | None, dict[str, Any]]:
    """The line phase in the status of a denoised stream, and the figures of its page."""
    for _ in range(MAX_READS):
        if isinstance(source.read(0.1), StreamEnd):
            break
        px = BeatStatus.from_map(source.status().sender).line_phase_px
        if px is not None:
            with urllib.request.urlopen(f"{page}status.json", timeout=20) as answer:
                return px, json.load(answer)
    return None, {}


@pytest.mark.parametrize("scan", ["collinear", "ordinary"])
@pytest.mark.parametrize("policy", ["auto", "off"])
def test_status_page_log_and_summary_report_the_line_phase(tmp_path: Path, scan: str, policy: str) -> None:
    pytest.importorskip("aiohttp", reason="the extra 'http' is not installed")
    simulate = ("simulate", "--frames", "210", "--size", "128", "--photons", "2", "--scan", scan, "--line-phase", "1.5")
    with started(*simulate, "--bind", "tcp://127.0.0.1:*", "--wait") as sender:
        options = ("--publish", "tcp://127.0.0.1:*", "--http", "127.0.0.1:0", "--record", tmp_path, "--frames", "210")
        options += ("--line-phase", policy, "--record-raw", "--max-latency", "none")
        with started("serve", "--source", sender.line(), "--engine", "average", *options, "--json") as served:
            denoised = ZmqSource(rest_of_line(served, "publishing on "), topic=b"den/")
            page = rest_of_line(served, "page on ")
            denoised.open()
            try:
                px, shown = measured(denoised, page)
            finally:
                denoised.close()
            finished = served.finish()
    assert finished.code == 0, finished.stderr
    assert px == pytest.approx(1.5, abs=0.1)
    assert shown["line_phase_px"] == pytest.approx(1.5, abs=0.1)
    assert finished.result["line_phase_px"] == pytest.approx(1.5, abs=0.1)
    (log,) = tmp_path.glob("*.jsonl")
    lines = read_sidecar(log)
    readings = [line for line in lines if line["kind"] == "line_phase"]
    assert readings[-1]["px"] == pytest.approx(1.5, abs=0.2)
    moved = 1.5 if policy == "auto" else 0.0
    for aligned in (readings[-1]["aligned_px"], shown["aligned_px"], finished.result["aligned_px"]):
        assert aligned == pytest.approx(moved, abs=0.2)
    assert 0 < readings[-1]["frame"] < 210
    assert lines[-1]["line_phase_px"] == finished.result["line_phase_px"]
    words = " ".join(finished.stderr.split())
    assert words.count("set the line phase (bidirectional offset) at the microscope") == (policy == "off")
    assert not any(finished.result["lost"].values())
    (raw,), (live,) = tmp_path.glob("*_raw.tif"), tmp_path.glob("*_denoised.tif")
    again = ("denoise", raw, tmp_path / "again.tif", "--engine", "average", "--scan", scan, "--line-phase", policy)
    denoised = run(*again, "--json")
    assert denoised.code == 0, denoised.stderr
    assert denoised.result["aligned_px"] == finished.result["aligned_px"]
    assert denoised.result["line_phase_px"] == finished.result["line_phase_px"]
    assert np.array_equal(tifffile.imread(live), tifffile.imread(tmp_path / "again.tif"))
