"""The counters of a session for Prometheus. Pure but for its format's library; knows no server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from deepbid_rt import __version__
from deepbid_rt.live.status import SessionState
from deepbid_rt.web.report import Snapshot

PREFIX = "deepbid_rt_"
QUANTILES = (0.5, 0.95, 0.99)


class Metrics(Collector):
    """Reads a session whenever it is asked.

    Parameters
    ----------
    look : callable
        Returns the session's present `Snapshot`; from any thread.
    """

    def __init__(self, look: Callable[[], Snapshot]) -> None:
        self._look = look
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """Return the text exposition format 0.0.4."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Describe nothing ahead: the registry then does not read the session when it is made."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the present state of the session."""
        snapshot = self._look()
        status = snapshot.status
        build = InfoMetricFamily(f"{PREFIX}session", "What runs.")
        build.add_metric([], {"version": __version__, "engine": snapshot.engine, "runtime": snapshot.runtime})
        yield build
        yield _counter("frames", "Frames taken in and given out.", "direction", _flow(snapshot))
        yield _counter("frames_lost", "Frames that will not come out, by cause.", "cause", dict(snapshot.lost))
        yield _counter("bad_messages", "Messages refused, by kind of fault.", "kind", dict(snapshot.source.bad))
        yield _counter(
            "motion_frames", "Answered frames by what became of their motion.", "verdict", status.motion.counts
        )
        yield _gauge("frames_waiting", "Frames waiting for the engine.", float(status.waiting))
        state = GaugeMetricFamily(f"{PREFIX}state", "1 for what the session is doing.", labels=["state"])
        for each in SessionState:
            state.add_metric([each.value], float(each is status.state))
        yield state
        latency = GaugeMetricFamily(
            f"{PREFIX}latency_seconds", "Durations since the session began.", labels=["stage", "quantile"]
        )
        for stage, histogram in status.latency.items():
            for q in QUANTILES:
                if (value := histogram.quantile_ms(q)) is not None:
                    latency.add_metric([stage, str(q)], value / 1e3)
        yield latency
        if (px := snapshot.line_phase.px) is not None:
            yield _gauge("line_phase_pixels", "How far backward lines lie to the right of forward lines.", px)
            yield _gauge("aligned_pixels", "How far they are moved to the left.", snapshot.line_phase.aligned_px)
        if (motion := status.motion.last) is not None:
            shift = GaugeMetricFamily(f"{PREFIX}shift_pixels", "Where the last frame lay.", labels=["axis"])
            shift.add_metric(["y"], motion.dy)
            shift.add_metric(["x"], motion.dx)
            yield shift


def _flow(snapshot: Snapshot) -> dict[str, int]:
    return {"in": snapshot.status.frames_in, "out": snapshot.status.frames_out}


def _counter(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], float(count))
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)
