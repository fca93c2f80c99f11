"""`BuildProgress`: TensorRT's nested build phases as one fraction, and a way to stop the build.

TensorRT calls it from its own threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deepbid_rt.runtimes.tensorrt.api import TensorRt

ProgressReport = Callable[[str, float], None]
"""Called with the name of the current phase and the fraction of the whole build that is done."""


@dataclass
class _Phase:
    parent: str
    steps: int
    done: int = 0


class BuildProgress:
    """The phases of one build.

    Parameters
    ----------
    report : callable
        Called at every step.
    """

    def __init__(self, report: ProgressReport) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self._fraction = 0.0
        self._stopped = threading.Event()

    @property
    def stopped(self) -> bool:
        """True once `stop` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Ask the build to end; it does at its next step."""
        self._stopped.set()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Begin a phase of `steps` steps within phase `parent`, or at the top."""
        with self._lock:
            self._phases[name] = _Phase(parent or "", max(steps, 1))
        self._report_phase(name)

    def step(self, name: str, done: int) -> bool:
        """Finish step number `done` of a phase, counted from 0; return False to stop the build."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = done + 1
        self._report_phase(name)
        return not self.stopped

    def finish(self, name: str) -> None:
        """End a phase."""
        with self._lock:
            self._phases.pop(name, None)

    def _report_phase(self, name: str) -> None:
        with self._lock:
            self._fraction = max(self._fraction, self._done_of(""))
            fraction = self._fraction
        self._report(name, fraction)

    def _done_of(self, parent: str) -> float:
        """Return the done fraction of the current step of a phase, from the phases inside it; "" is the whole build."""
        best = 0.0
        for name, phase in self._phases.items():
            if phase.parent == parent or (not parent and phase.parent not in self._phases):
                best = max(best, min((phase.done + self._done_of(name)) / phase.steps, 1.0))
        return best


def make_monitor(trt: TensorRt, progress: BuildProgress) -> Any:
    """Return an ``IProgressMonitor`` that passes everything to `progress`."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined, misc]  # known once TensorRT is imported
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()
