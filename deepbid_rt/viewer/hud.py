"""The texts of the head-up display and their tones (colours), made from `Facts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deepbid_rt.live.line_phase_monitor import LARGE_PHASE_PX
from deepbid_rt.viewer.playback import ViewerState
from deepbid_rt.wire.beat_status import LOSS_CAUSES, BeatStatus
from deepbid_rt.wire.source_status import SourceState

Tone = Literal["plain", "good", "warn", "alarm", "faint"]
RECENT_S = 10.0
"""A loss of frames is an alarm for this long, and a warning afterwards."""
LOW_DISK_MIN = (10.0, 30.0)
"""Minutes of disk left: below the first number an alarm, below the second a warning."""
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
    age_ms: tuple[float | None, float | None] = (None, None)
    """Median and 95th percentile of the time from sending by the microscope to display, over the last seconds."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Frames lost so far, by cause: those of `LOSS_CAUSES`, and ``viewer``."""
    lost_now: frozenset[str] = frozenset()
    """Causes whose count rose in the last `RECENT_S`."""
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
            return HudLine("state", "LIVE", "good")
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
    if report.recording is None:
        return HudLine("recording", "not known", "faint")
    if not report.recording:
        return HudLine("recording", "OFF", "warn")
    if facts.state in ("lost", "ended", "waiting"):
        return HudLine("recording", f"was on; {facts.state}", "alarm" if facts.state == "lost" else "faint")
    if minutes is None:
        return HudLine("recording", "ON", "good")
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
    p50, p95 = facts.age_ms
    if facts.state == "paused" or p50 is None or p95 is None:
        latency = HudLine("latency", "–", "faint")
    elif not 0 <= p50 < MAX_LATENCY_MS:
        latency = HudLine("latency", "not known: clocks of two computers differ", "faint")
    else:
        latency = HudLine("latency", f"p50 {p50:.0f}  p95 {p95:.0f} ms", tone_if(p95 > 1000))
    delay = "" if report.delay_frames is None else f", delay {report.delay_frames} frames"
    px = report.line_phase_px
    phase = HudLine("line phase", "not measured", "faint")
    if px is not None:
        aligned = report.aligned_px or 0.0
        done = f", moved by {-aligned:+.2f}" if aligned else ""
        phase = HudLine("line phase", f"{px:+.2f} px{done}", tone_if(abs(px - aligned) > LARGE_PHASE_PX))
    raw = "not connected" if facts.raw_state is None else facts.raw_state
    return [
        HudLine("input", f"{facts.input_hz:.1f} frames/s", tone_if(facts.state == "stalled")),
        HudLine("display", f"{facts.display_hz:.1f} frames/s"),
        latency,
        HudLine("engine", f"{report.engine}{delay}") if report.engine else HudLine("engine", "not known", "faint"),
        phase,
        HudLine("raw stream", raw, "plain" if raw == "live" else "warn"),
    ]


def tone_if(warn: bool) -> Tone:
    """Return ``warn`` or ``plain``."""
    return "warn" if warn else "plain"
