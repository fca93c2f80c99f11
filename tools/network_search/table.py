"""The results of all trials as a Markdown table, with the best ones at their speed in bold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from network_search.movies import KINDS, RECORDINGS
from network_search.trials import TRIALS

Result = Mapping[str, Any]
"""Results of one training of a trial."""
REFERENCE = "three-32"


def table(done: Mapping[str, Sequence[Result]], timed: Mapping[str, Mapping[str, float]]) -> str:
    """Return a row for each trial: means over its trainings.

    "error" is the unexplained variance, 1 - r^2, divided by the mean of the reference and averaged over the kinds of
    movies: mean over the trainings, and half of their range if there are several. A row is bold when no faster trial
    has a smaller error.
    """
    errors = {name: [_unexplained(result) for result in results] for name, results in done.items()}
    if REFERENCE not in errors:
        return ""
    reference = np.mean(errors[REFERENCE], axis=0)
    relative = {name: (np.array(values) / reference).mean(axis=1) for name, values in errors.items()}
    head = ["network and inputs", "error", *KINDS, *RECORDINGS, "ms", "MB", "trainings"]
    lines = [head, ["---"] * len(head)]
    for name, results in done.items():
        times = timed.get(name)
        ms = sum(times[key] for key in ("past_ms", "network_ms")) if times else None
        scores = [np.mean([result[kind] for result in results], axis=0) for kind in KINDS]
        cells = [
            f"{relative[name].mean():.2f}" + (f" ± {np.ptp(relative[name]) / 2:.2f}" if len(results) > 1 else ""),
            *(f"{score[0]:.3f} / {score[1]:.3f}" for score in scores),
            *(_mean(results, recording) for recording in RECORDINGS),
            f"{ms:.1f}" if ms else "–",
            f"{times['past_mb'] + results[0]['parameters'] * 4e-6:.1f}" if times else "–",
            str(len(results)),
        ]
        description = TRIALS[name].description
        lines.append(
            [f"**{description}**" if ms and _is_best_at_its_speed(name, relative, timed) else description, *cells]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _unexplained(result: Result) -> list[float]:
    return [1 - result[kind][0] ** 2 for kind in KINDS]


def _mean(results: Sequence[Result], recording: str) -> str:
    values = [result[recording] for result in results if recording in result]
    return f"{np.mean(values):,.{0 if np.mean(values) > 1000 else 1}f}" if values else "–"


def _is_best_at_its_speed(name: str, relative: Mapping[str, Any], timed: Mapping[str, Mapping[str, float]]) -> bool:
    def cost(other: str) -> float:
        return timed[other]["past_ms"] + timed[other]["network_ms"]

    faster = [other for other in timed if other in relative and other != name and cost(other) <= cost(name)]
    return all(relative[other].mean() > relative[name].mean() for other in faster)
