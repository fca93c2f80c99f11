"""How far a build is: TensorRT's nested phases as one fraction, and the wish to stop.

Called from TensorRT's own threads. Knows nothing of screens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deepbid_rt.runtimes.tensorrt.api import TensorRt

Report = Callable[[str, float], None]
"""Called with the name of the innermost phase and the fraction of the whole that is done."""


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
        Told about every step.
    """

    def __init__(self, report: Report) -> None:
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
        """Begin a phase of `steps` steps within another, or by itself."""
        with self._lock:
            self._phases[name] = _Phase(parent or "", max(steps, 1))
        self._tell(name)

    def step(self, name: str, done: int) -> bool:
        """Note that step number `done` of a phase, counted from 0, is over; say whether to go on."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = done + 1
        self._tell(name)
        return not self.stopped

    def finish(self, name: str) -> None:
        """End a phase."""
        with self._lock:
            self._phases.pop(name, None)

    def _tell(self, name: str) -> None:
        with self._lock:
            self._fraction = max(self._fraction, self._done_of(""))
            fraction = self._fraction
        self._report(name, fraction)

    def _done_of(self, parent: str) -> float:
        """Return how much of a phase its running children say is done, beyond the steps it has counted itself."""
        best = 0.0
        for name, phase in self._phases.items():
            if phase.parent == parent or (not parent and phase.parent not in self._phases):
                best = max(best, min((phase.done + self._done_of(name)) / phase.steps, 1.0))
        return best


def make_monitor(trt: TensorRt, progress: BuildProgress) -> Any:
    """Return an ``IProgressMonitor`` that hands everything to `progress`."""

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
