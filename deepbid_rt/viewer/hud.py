"""The texts of the head-up display and their tones (colours), made from `Facts`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deepbid_rt.live.age_limit import FROZEN_MS
from deepbid_rt.live.line_phase_monitor import LARGE_PHASE_PX
from deepbid_rt.viewer.playback import ViewerState
from deepbid_rt.wire.alarm_words import ALARM_WORDS, worst_alarm
from deepbid_rt.wire.beat_status import LOSS_CAUSES, BeatStatus
from deepbid_rt.wire.source_status import SourceState

Tone = Literal["plain", "good", "warn", "alarm", "faint"]
RECENT_S = 10.0
"""A loss of frames is an alarm for this long, and a warning afterwards."""
LOW_DISK_MIN = (10.0, 30.0)
"""Minutes of disk left: below the first number an alarm, below the second a warning."""
MAX_ALARM_LINES = 4
"""Alarms that are shown in words at a time, so that they leave room for the picture."""
MAX_NAME = 24
"""Characters of a name that are shown."""
MAX_LATENCY_MS = 3.6e6
"""One hour. A larger (or negative) latency means that the clocks of two computers differ."""


@dataclass(frozen=True, slots=True)
class HudLine:
    """One line of the display: a label, a value and the tone of the value."""

    label: str
    value: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the display shows, at one moment. `snapshot` writes the fields to JSON under these names."""

    state: ViewerState
    report: BeatStatus = field(default_factory=BeatStatus)
    raw_state: SourceState | None = None
    """None when no raw stream is connected."""
    frame: int | None = None
    plane: int = 0
    planes: int = 1
    shape: tuple[int, ...] = ()
    """(C, Y, X) of the shown frame."""
    back_s: float = 0.0
    """Seconds from the shown frame to the newest of those kept, while paused."""
    input_hz: float = 0.0
    """Denoised frames received per second."""
    display_hz: float = 0.0
    """Frames displayed per second."""
    picture_ms: float | None = None
    """Age of the picture on the screen, since its raw frame arrived; None before the first and while paused."""
    picture_exact: bool = True
    """False when the picture may be older, because only the arrival of the denoised frame is known."""
    late_ms: float = math.inf
    """Age from which the picture is late."""
    not_denoised: bool = False
    """True when the shown frame holds raw pixels, because the session's engine had failed."""
    clocks_agree: bool = True
    """False when the clock of the microscope's computer and that of this one differ."""
    age_ms: tuple[float | None, float | None] = (None, None)
    """Median and 95th percentile of the time from sending by the microscope to display, over the last seconds."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Frames lost so far, by cause: those of `LOSS_CAUSES`, and ``viewer``."""
    lost_now: frozenset[str] = frozenset()
    """Causes whose count rose in the last `RECENT_S`."""
    refused: int = 0
    """Frames that this viewer received and could not use."""
    duplicates: int = 0
    """Further copies of frames that this viewer received."""
    not_finite: int = 0
    """Pixels of the shown frame that are NaN or infinite."""
    message: str = ""
    """The last error."""


class LossWatch:
    """Keeps the time at which each loss counter last rose."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._rose_s: dict[str, float] = {}

    def update(self, counts: Mapping[str, int], now_s: float) -> frozenset[str]:
        """Return the causes whose count rose in the last `RECENT_S`. A count that falls belongs to a new session."""
        for cause, count in counts.items():
            if count > self._counts.get(cause, 0):
                self._rose_s[cause] = now_s
        self._counts = dict(counts)
        return frozenset(cause for cause, at in self._rose_s.items() if now_s - at < RECENT_S)


def state_line(facts: Facts) -> HudLine:
    """Return the state of the viewer. It is shown large, to be read from across the room."""
    match facts.state:
        case "live":
            return _live_line(facts)
        case "paused":
            return HudLine("state", f"PAUSED  −{facts.back_s:.1f} s", "warn")
        case "stalled":
            return HudLine("state", "STALLED: no new frames", "alarm")
        case "lost":
            return HudLine("state", "LOST: the session is silent", "alarm")
        case "undescribed":
            return HudLine("state", "FRAMES WITHOUT A DESCRIPTION", "alarm")
        case "ended":
            return HudLine("state", "ENDED", "faint")
        case "waiting":
            return HudLine("state", "WAITING for a session", "faint")


def _live_line(facts: Facts) -> HudLine:
    """Return the state while frames arrive: green only when nothing at all is wrong."""
    state = facts.report.state
    kinds = [alarm.kind for alarm in facts.report.alarms]
    if state == "behind" and "behind" not in kinds:
        kinds.append("behind")
    if facts.not_denoised and "safe-mode" not in kinds:
        kinds.append("safe-mode")
    age = "" if facts.picture_ms is None else f": the picture is {duration_text(facts.picture_ms)} old"
    if state == "failed":
        return HudLine("state", "THE SESSION HAS FAILED", "alarm")
    if is_frozen(facts):
        return HudLine("state", f"NOT LIVE{age}", "alarm")
    if (alarm := worst_alarm(kinds)) is not None:
        text, severity = alarm
        return HudLine("state", text.upper(), "alarm" if severity == "bad" else "warn")
    if facts.lost_now - {"viewer"}:
        return HudLine("state", "FRAMES ARE LOST", "alarm")
    if _late(facts):
        return HudLine("state", f"LATE{age}", "warn")
    if state not in (None, "running"):
        return HudLine("state", f"LIVE, the session is {_short(state)}", "warn")
    return HudLine("state", "LIVE", "good")


def _late(facts: Facts) -> bool:
    return facts.picture_ms is not None and facts.picture_ms > facts.late_ms


def is_frozen(facts: Facts) -> bool:
    """Return whether the picture on the screen is too old to be called live."""
    return facts.picture_ms is not None and facts.picture_ms > facts.late_ms + FROZEN_MS


def alarm_lines(facts: Facts) -> list[HudLine]:
    """Return one line for each alarm of the session, the worst first; at most `MAX_ALARM_LINES`, with their number."""
    alarms = sorted(facts.report.alarms, key=lambda alarm: list(ALARM_WORDS).index(alarm.kind))
    tones: dict[str, Tone] = {"bad": "alarm", "warn": "warn"}
    lines = [HudLine(alarm.kind, alarm.text, tones[ALARM_WORDS[alarm.kind][1]]) for alarm in alarms]
    more = len(lines) - MAX_ALARM_LINES
    return lines if more <= 0 else [*lines[:MAX_ALARM_LINES], HudLine("more", f"{more} more alarms", "alarm")]


def _short(text: str) -> str:
    """Return a name of the session, cut so that it cannot widen the window."""
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"


def duration_text(ms: float) -> str:
    """Return a duration with its unit, in three digits or fewer."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def frame_text(facts: Facts) -> str:
    """Return the number and the size of the shown frame."""
    if facts.frame is None:
        return "no frame yet"
    channels, lines, pixels = facts.shape
    size = f"{lines}x{pixels}" + (f", {channels} channels" if channels > 1 else "")
    plane = f", plane {facts.plane + 1} of {facts.planes}" if facts.planes > 1 else ""
    not_finite = f", {facts.not_finite} pixels are not finite" if facts.not_finite else ""
    return f"frame {facts.frame}  ({size}{plane}{not_finite})"


def recording_line(facts: Facts) -> HudLine:
    """Return whether frames are recorded, and how long the disk lasts."""
    report, minutes = facts.report, facts.report.minutes_left
    healthy = state_line(facts).tone == "good"
    if report.recording is None:
        return HudLine("recording", "not known", "faint")
    if not report.recording:
        return HudLine("recording", "OFF", "warn")
    if facts.state in ("lost", "ended", "waiting"):
        return HudLine("recording", f"was on; {facts.state}", "alarm" if facts.state == "lost" else "faint")
    if any(alarm.kind == "sink" for alarm in report.alarms):
        return HudLine("recording", "ON, with an alarm", "alarm")
    if minutes is None:
        return HudLine("recording", "ON", "good" if healthy else "plain")
    alarm, warn = LOW_DISK_MIN
    left = f"{minutes:.0f} min" if minutes < 600 else f"{minutes / 60:.0f} h"
    return HudLine("recording", f"ON  {left} of disk left", "alarm" if minutes < alarm else tone_if(minutes < warn))


def loss_lines(facts: Facts) -> list[HudLine]:
    """Return one line for each cause of loss, also for those without any loss."""
    lines = []
    for cause in (*LOSS_CAUSES, "viewer"):
        count = facts.lost.get(cause)
        tone: Tone = "faint" if not count else "alarm" if cause in facts.lost_now and cause != "viewer" else "warn"
        lines.append(HudLine(cause, "–" if count is None else str(count), tone))
    return lines


def figure_lines(facts: Facts) -> list[HudLine]:
    """Return the lines for rates, latency, engine, line phase and raw stream."""
    report = facts.report
    delay = "" if report.delay_frames is None else f", delay {report.delay_frames} frames"
    px = report.line_phase_px
    phase = HudLine("line phase", "not measured", "faint")
    if px is not None:
        aligned = report.aligned_px or 0.0
        done = f", moved by {-aligned:+.2f}" if aligned else ""
        phase = HudLine("line phase", f"{px:+.2f} px{done}", tone_if(abs(px - aligned) > LARGE_PHASE_PX))
    raw = "not connected" if facts.raw_state is None else facts.raw_state
    return [
        _picture_line(facts),
        HudLine("input", f"{facts.input_hz:.1f} frames/s", tone_if(facts.state == "stalled")),
        HudLine("display", f"{facts.display_hz:.1f} frames/s"),
        _latency_line(facts),
        HudLine("engine", f"{_short(report.engine)}{delay}")
        if report.engine
        else HudLine("engine", "not known", "faint"),
        phase,
        HudLine("raw stream", raw, "plain" if raw == "live" else "warn"),
        HudLine("refused", f"{facts.refused}, {facts.duplicates} duplicates", tone_if(facts.refused > 0)),
    ]


def _picture_line(facts: Facts) -> HudLine:
    if facts.picture_ms is None:
        return HudLine("picture", "–", "faint")
    tone: Tone = "alarm" if is_frozen(facts) else tone_if(_late(facts))
    least = "" if facts.picture_exact else "at least "
    return HudLine("picture", f"{least}{duration_text(facts.picture_ms)} old", tone)


def _latency_line(facts: Facts) -> HudLine:
    p50, p95 = facts.age_ms
    report = facts.report
    clocks_differ = not facts.clocks_agree or any(alarm.kind == "clock" for alarm in report.alarms)
    if clocks_differ or (p50 is not None and not 0 <= p50 < MAX_LATENCY_MS):
        return HudLine("latency", "unknown: clocks differ", "warn")
    if report.frames_out and not report.latency_ms:
        return HudLine("latency", "unknown", "faint")
    if facts.state == "paused" or p50 is None or p95 is None:
        return HudLine("latency", "–", "faint")
    return HudLine("latency", f"p50 {p50:.0f}  p95 {p95:.0f} ms", tone_if(p95 > 1000))


def tone_if(warn: bool) -> Tone:
    """Return ``warn`` or ``plain``."""
    return "warn" if warn else "plain"
