"""``deepbid-rt status``: shows how a running session does, from the beats that it publishes."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.interrupts import INTERRUPTS
from deepbid_rt.cli.output import live_table, number, print_json, print_line, print_table, say, stderr
from deepbid_rt.errors import StageError, require_effect
from deepbid_rt.wire.beat_status import LOSS_CAUSES, BeatStatus
from deepbid_rt.wire.message import BeatMessage
from deepbid_rt.zmq_io.beat_listener import BeatListener
from deepbid_rt.zmq_io.client_keys import configure_client

POLL_S = 0.2
"""Longest wait for a beat before Ctrl-C is looked for again, seconds."""
LOW_DISK_MIN = 10.0
"""Minutes of disk left below which the table shows an alarm."""


def status_command(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Address that the session publishes on, tcp://HOST:PORT.")
    ] = "tcp://127.0.0.1:5591",
    once: Annotated[bool, typer.Option("--once", help="Show one state and end.")] = False,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0.1, help="With --once: seconds to wait for it; 6 if left out.")
    ] = None,
    keys: o.KeysOption = None,
    server_key: o.ServerKeyOption = None,
    insecure_lan: o.InsecureOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each state as one JSON object on a line of stdout.")
    ] = False,
) -> None:
    """Show state, losses, latency and disk of a running session, once a second. Frames are not transferred.

    Without a terminal, one state is shown.
    """
    require_effect("--timeout", timeout_s, once, why="without --once", expected="--once beside it", todo="add --once")
    o.check_connect(address, insecure_lan, keys, server_key)
    configure = configure_client(address, keys=keys, server_key=server_key, insecure_lan=insecure_lan)
    ending = False

    def end() -> None:
        nonlocal ending
        ending = True

    with BeatListener(address, configure=configure) as beats, INTERRUPTS.calling(end):
        if once or not (as_json or stderr.is_terminal):
            _show_once(beats, timeout_s or 6.0, as_json)
            return
        seen = _Seen(beats)
        if not as_json:
            say(f"the session at {address}; Ctrl-C ends this display, and not the session")
        with live_table(seen.table):
            while not ending:
                beat = beats.read(POLL_S)
                if beat is None:
                    continue
                seen.beat = beat
                if as_json and not print_line(as_line(beat)):
                    return  # the reader has gone


def as_line(beat: BeatMessage) -> str:
    """Return a beat as one line of JSON."""
    return json.dumps(facts_of(beat))


def facts_of(beat: BeatMessage) -> dict[str, Any]:
    """Return what a beat says about its session as plain values; unknown ones are null."""
    status = BeatStatus.from_map(beat.status)
    return {
        **asdict(status),
        "alarms": [alarm.to_map() for alarm in status.alarms],
        "minutes_left": status.minutes_left,
        "series": beat.info.series,
        "source": beat.source,
        "shape": list(beat.info.shape),
        "rate_hz": beat.info.rate_hz,
        "series_ended": beat.end is not None,
        "sent_ns": beat.sent_ns,
    }


def status_rows(beat: BeatMessage) -> list[tuple[str, str]]:
    """Return what a beat says as the rows of a table."""
    status, info = BeatStatus.from_map(beat.status), beat.info
    shape = "x".join(str(n) for n in info.shape)
    ended = " (ended)" if beat.end else ""
    return [
        ("state", (status.state or "unknown").upper() if status.state == "behind" else status.state or "unknown"),
        ("source", f"{beat.source}, {shape} at {info.rate_hz:.4g} Hz, from {status.raw_endpoint or 'unknown'}"),
        ("series", f"{info.series}{ended}"),
        ("engine", f"{status.engine or '-'}: {status.runtime or '-'}"),
        (
            "frames in / out / waiting",
            " / ".join(_count(n) for n in (status.frames_in, status.frames_out, status.waiting)),
        ),
        ("lost", _lost(status)),
        (
            "latency p50 / p95",
            f"{number(status.latency_ms.get('p50'), 0)} / {number(status.latency_ms.get('p95'), 0)} ms",
        ),
        ("recording", _recording(status)),
        ("connections", _count(status.peers)),
        *([("UNPROTECTED", status.unprotected)] if status.unprotected else []),
    ]


def alarms_of(beat: BeatMessage | None, problem: str = "") -> list[str]:
    """Return what is wrong, the most urgent first, as sentences."""
    if beat is None:
        return [problem] if problem else []
    status = BeatStatus.from_map(beat.status)
    found = [f"{alarm.kind.upper()}: {alarm.text}" for alarm in status.alarms]
    if status.state == "behind" and not any(alarm.kind == "behind" for alarm in status.alarms):
        found.insert(0, "BEHIND: the engine is slower than the stream; frames are skipped")
    left = status.minutes_left
    if left is not None and left < LOW_DISK_MIN and not any(alarm.kind == "disk" for alarm in status.alarms):
        found.append(f"DISK: full in {left:.0f} minutes")
    return found + ([problem] if problem else [])


class _Seen:
    """The latest beat, as the table shows it."""

    def __init__(self, beats: BeatListener) -> None:
        self._beats = beats
        self.beat: BeatMessage | None = None

    def table(self) -> tuple[str, list[tuple[str, str]], list[str]]:
        """Return title, rows and alarms."""
        beat, silent = self.beat, self._beats.silent
        problem = self._beats.problem or (f"no beat from {self._beats.endpoint}" if silent and beat else "")
        if beat is None:
            return "session", [("state", problem or f"waiting for {self._beats.endpoint}")], []
        age_s = max(0.0, time.time() - beat.sent_ns / 1e9)
        title = f"session, {age_s:.0f} s ago" if silent else "session"
        return title, status_rows(beat), alarms_of(beat, problem)


def _show_once(beats: BeatListener, timeout_s: float, as_json: bool) -> None:
    beat = beats.read(timeout_s)
    if beat is None:
        raise StageError(
            beats.problem or f"no beat from {beats.endpoint} in {timeout_s:g} s",
            expected="a session that publishes there",
            todo="start it with deepbid-rt serve --publish, or name its address",
        )
    if as_json:
        print_json(facts_of(beat))
        return
    for alarm in alarms_of(beat):
        say(alarm)
    print_table("session", status_rows(beat), ("", ""))


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _lost(status: BeatStatus) -> str:
    causes = [cause for cause in LOSS_CAUSES if status.lost.get(cause)]
    causes += [cause for cause, count in status.lost.items() if count and cause not in LOSS_CAUSES]
    return ", ".join(f"{status.lost[cause]} {cause}" for cause in causes) or "0"


def _recording(status: BeatStatus) -> str:
    if not status.recording:
        return "no" if status.recording is False else "unknown"
    free = f"{status.disk_free_bytes / 1e9:.1f} GB free" if status.disk_free_bytes is not None else "room unknown"
    left = status.minutes_left
    return free if left is None else f"{free}, {left:.0f} minutes"
