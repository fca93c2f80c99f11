"""What the head-up display says, and in which tone. Facts in, text out; knows no window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deepbid_rt.live.session_report import CAUSES, LARGE_PHASE_PX, SessionReport
from deepbid_rt.viewer.playback import ViewState
from deepbid_rt.wire.source_status import SourceState

Tone = Literal["plain", "good", "warn", "alarm", "faint"]
RECENT_S = 10.0
"""So long a loss is an alarm; then it stays as a warning."""
LOW_DISK_MIN = (10.0, 30.0)
"""Minutes of disk left below which it is an alarm, and a warning."""
CLOCKS_MS = 3.6e6
"""A latency that no stream has: the clocks of two computers differ."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the display."""

    label: str
    value: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at one moment."""

    state: ViewState
    report: SessionReport = field(default_factory=SessionReport)
    raw_state: SourceState | None = None
    """None when no raw stream is connected."""
    frame: int | None = None
    plane: int = 0
    planes: int = 1
    shape: tuple[int, ...] = ()
    back_s: float = 0.0
    input_hz: float = 0.0
    display_hz: float = 0.0
    age_ms: tuple[float | None, float | None] = (None, None)
    """p50 and p95 of the time from the microscope's sending to the picture on the screen, last seconds."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Frames lost so far, by cause: `CAUSES` and ``viewer``."""
    lost_now: frozenset[str] = frozenset()
    """Causes whose count rose during the last `RECENT_S`."""
    not_finite: int = 0
    """Pixels of the shown frame that are NaN or infinite."""
    message: str = ""
    """The last thing that went wrong."""


class LossWatch:
    """Remembers when counters rose."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._rose_s: dict[str, float] = {}

    def update(self, counts: Mapping[str, int], now_s: float) -> frozenset[str]:
        """Return the causes whose count rose during the last `RECENT_S`; a count that falls is a new session's."""
        for cause, count in counts.items():
            if count > self._counts.get(cause, 0):
                self._rose_s[cause] = now_s
        self._counts = dict(counts)
        return frozenset(cause for cause, at in self._rose_s.items() if now_s - at < RECENT_S)


def state_line(facts: Facts) -> Line:
    """Return the one line that must be seen from across the room."""
    match facts.state:
        case "live":
            return Line("state", "LIVE", "good")
        case "paused":
            return Line("state", f"PAUSED  −{facts.back_s:.1f} s", "warn")
        case "stalled":
            return Line("state", "STALLED: no new frames", "alarm")
        case "lost":
            return Line("state", "LOST: the session is silent", "alarm")
        case "ended":
            return Line("state", "ENDED", "faint")
        case "waiting":
            return Line("state", "WAITING for a session", "faint")


def frame_text(facts: Facts) -> str:
    """Return which frame is shown."""
    if facts.frame is None:
        return "no frame yet"
    channels, lines, pixels = facts.shape
    size = f"{lines}x{pixels}" + (f", {channels} channels" if channels > 1 else "")
    plane = f", plane {facts.plane + 1} of {facts.planes}" if facts.planes > 1 else ""
    odd = f", {facts.not_finite} pixels are not finite" if facts.not_finite else ""
    return f"frame {facts.frame}  ({size}{plane}{odd})"


def recording_line(facts: Facts) -> Line:
    """Return whether frames are written, and for how long there is room."""
    report, minutes = facts.report, facts.report.minutes_left
    if report.recording is None:
        return Line("recording", "not known", "faint")
    if not report.recording:
        return Line("recording", "OFF", "warn")
    if facts.state in ("lost", "ended", "waiting"):
        return Line("recording", f"was on; {facts.state}", "alarm" if facts.state == "lost" else "faint")
    if minutes is None:
        return Line("recording", "ON", "good")
    alarm, warn = LOW_DISK_MIN
    left = f"{minutes:.0f} min" if minutes < 600 else f"{minutes / 60:.0f} h"
    return Line("recording", f"ON  {left} of disk left", "alarm" if minutes < alarm else tone_if(minutes < warn))


def loss_lines(facts: Facts) -> list[Line]:
    """Return one line for each cause of loss; all are shown, so that none is forgotten."""
    lines = []
    for cause in (*CAUSES, "viewer"):
        count = facts.lost.get(cause)
        tone: Tone = "faint" if not count else "alarm" if cause in facts.lost_now and cause != "viewer" else "warn"
        lines.append(Line(cause, "–" if count is None else str(count), tone))
    return lines


def figure_lines(facts: Facts) -> list[Line]:
    """Return rates, latency, engine and line phase."""
    report = facts.report
    p50, p95 = facts.age_ms
    if facts.state == "paused" or p50 is None or p95 is None:
        latency = Line("latency", "–", "faint")
    elif not 0 <= p50 < CLOCKS_MS:
        latency = Line("latency", "not known: clocks of two computers differ", "faint")
    else:
        latency = Line("latency", f"p50 {p50:.0f}  p95 {p95:.0f} ms", tone_if(p95 > 1000))
    delay = "" if report.delay_frames is None else f", delay {report.delay_frames} frames"
    px = report.line_phase_px
    phase = Line("line phase", "not measured", "faint")
    if px is not None:
        aligned = report.aligned_px or 0.0
        done = f", moved by {-aligned:+.2f}" if aligned else ""
        phase = Line("line phase", f"{px:+.2f} px{done}", tone_if(abs(px - aligned) > LARGE_PHASE_PX))
    raw = "not connected" if facts.raw_state is None else facts.raw_state
    return [
        Line("input", f"{facts.input_hz:.1f} frames/s", tone_if(facts.state == "stalled")),
        Line("display", f"{facts.display_hz:.1f} frames/s"),
        latency,
        Line("engine", f"{report.engine}{delay}") if report.engine else Line("engine", "not known", "faint"),
        phase,
        Line("raw stream", raw, "plain" if raw == "live" else "warn"),
    ]


def tone_if(warn: bool) -> Tone:
    """Return a warning or nothing special."""
    return "warn" if warn else "plain"
