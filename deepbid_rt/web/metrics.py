"""The counters of a session for Prometheus (``/metrics``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from deepbid_rt import __version__
from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.live.status import SessionState
from deepbid_rt.web.headline import wrong_now
from deepbid_rt.web.report import known_latency
from deepbid_rt.wire.alarm import AlarmKind
from deepbid_rt.wire.source_status import RefusalCause, SourceState

PREFIX = "deepbid_rt_"
QUANTILES = (0.5, 0.95, 0.99)


class Metrics(Collector):
    """Reads the session each time that Prometheus asks.

    Parameters
    ----------
    report : callable
        Returns the `SessionReport` of this moment; called from any thread.
    page_refused : callable, optional
        Returns what the page has refused, by cause.
    """

    def __init__(
        self, report: Callable[[], SessionReport], page_refused: Callable[[], Mapping[str, int]] | None = None
    ) -> None:
        self._report = report
        self._page_refused = page_refused
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """Return the text exposition format 0.0.4."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Return nothing, so that the registry does not read the session when it is created."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the session at this moment."""
        report = self._report()
        status = report.status
        build = InfoMetricFamily(f"{PREFIX}session", "Version, engine and runtime of the session.")
        build.add_metric([], {"version": __version__, "engine": report.engine, "runtime": report.runtime})
        yield build
        yield _counter("frames", "Frames received and frames denoised.", "direction", _flow(report))
        yield _counter("frames_lost", "Lost frames, by cause.", "cause", report.lost)
        refused = {**dict.fromkeys(get_args(RefusalCause), 0), **report.refused}
        yield _counter("frames_refused", "Frames that could not be used, by cause.", "cause", refused)
        yield CounterMetricFamily(
            f"{PREFIX}frames_duplicate",
            "Further copies of frames, which are dropped.",
            value=float(report.source.duplicates),
        )
        yield _counter("bad_messages", "Refused messages, by kind of fault.", "kind", dict(report.source.bad))
        yield _counter("motion_frames", "Denoised frames, by motion status.", "verdict", status.motion.counts)
        yield _gauge("frames_waiting", "Frames waiting for the engine.", float(status.waiting))
        yield _one_hot("state", "1 for the state of the session, else 0.", SessionState, status.state)
        yield _one_hot(
            "source_state", "1 for the state of the source, else 0.", get_args(SourceState), report.source.state
        )
        alarms = GaugeMetricFamily(f"{PREFIX}alarms", "Alarms raised now, by kind.", labels=["kind"])
        for kind in get_args(AlarmKind):
            alarms.add_metric([kind], float(sum(alarm.kind == kind for alarm in wrong_now(report))))
        yield alarms
        if (publisher := report.publisher) is not None:
            yield _gauge("peers", "Connections to the denoised stream.", float(publisher.peers))
            yield _counter("peers_refused", "Connections refused, by cause.", "cause", dict(publisher.refused))
            yield CounterMetricFamily(
                f"{PREFIX}publisher_failures",
                "Beats and answers to clients that an error in this program prevented.",
                value=float(publisher.failures),
            )
        yield _gauge("unprotected_streams", "Streams that strangers can reach.", float(len(report.unprotected)))
        if self._page_refused:
            text = "Connections and requests that the page refused, by cause."
            yield _counter("page_refused", text, "cause", self._page_refused())
        latency = GaugeMetricFamily(
            f"{PREFIX}latency_seconds", "Quantiles of durations over the whole session.", labels=["stage", "quantile"]
        )
        for stage, histogram in known_latency(report).items():
            for q in QUANTILES:
                if (value := histogram.quantile_ms(q)) is not None:
                    latency.add_metric([stage, str(q)], value / 1e3)
        yield latency
        if (px := report.line_phase.px) is not None:
            yield _gauge(
                "line_phase_pixels",
                "Line phase: backward lines lie this far to the right.",
                px,
            )
            yield _gauge(
                "aligned_pixels", "Backward lines are moved this far to the left.", report.line_phase.aligned_px
            )
        if (motion := status.motion.last) is not None:
            shift = GaugeMetricFamily(f"{PREFIX}shift_pixels", "Displacement of the last frame.", labels=["axis"])
            shift.add_metric(["y"], motion.dy)
            shift.add_metric(["x"], motion.dx)
            yield shift


def _flow(report: SessionReport) -> dict[str, int]:
    return {"in": report.status.frames_in, "out": report.status.frames_out}


def _one_hot(name: str, text: str, states: Iterable[SessionState | str], now: SessionState | str) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=["state"])
    for state in states:
        family.add_metric([state.value if isinstance(state, SessionState) else state], float(state == now))
    return family


def _counter(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], float(count))
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)
