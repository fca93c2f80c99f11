"""Trials side by side in one Markdown table, the best ones at their speed in bold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from network_search.movies import KINDS, RECORDINGS
from network_search.trials import TRIALS

Found = Mapping[str, Any]
REFERENCE = "three-32"


def table(done: Mapping[str, Sequence[Found]], timed: Mapping[str, Mapping[str, float]]) -> str:
    """Return a row for each trial: means over its trainings.

    "error" is the unexplained variance, 1 - r^2, relative to that of the reference's mean, averaged over the kinds of
    movies: mean over the trainings, and half of their range if there are several. A row is bold when no quicker one
    has a smaller error.
    """
    errors = {name: [_unexplained(one) for one in found] for name, found in done.items()}
    if REFERENCE not in errors:
        return ""
    usual = np.mean(errors[REFERENCE], axis=0)
    relative = {name: (np.array(some) / usual).mean(axis=1) for name, some in errors.items()}
    head = ["network and inputs", "error", *KINDS, *RECORDINGS, "ms", "MB", "trainings"]
    lines = [head, ["---"] * len(head)]
    for name, found in done.items():
        times = timed.get(name)
        ms = sum(times[key] for key in ("past_ms", "network_ms")) if times else None
        scores = [np.mean([one[kind] for one in found], axis=0) for kind in KINDS]
        cells = [
            f"{relative[name].mean():.2f}" + (f" ± {np.ptp(relative[name]) / 2:.2f}" if len(found) > 1 else ""),
            *(f"{score[0]:.3f} / {score[1]:.3f}" for score in scores),
            *(_mean(found, recording) for recording in RECORDINGS),
            f"{ms:.1f}" if ms else "–",
            f"{times['past_mb'] + found[0]['parameters'] * 4e-6:.1f}" if times else "–",
            str(len(found)),
        ]
        says = TRIALS[name].says
        lines.append([f"**{says}**" if ms and _leads(name, relative, timed) else says, *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _unexplained(one: Found) -> list[float]:
    return [1 - one[kind][0] ** 2 for kind in KINDS]


def _mean(found: Sequence[Found], recording: str) -> str:
    values = [one[recording] for one in found if recording in one]
    return f"{np.mean(values):,.{0 if np.mean(values) > 1000 else 1}f}" if values else "–"


def _leads(name: str, relative: Mapping[str, Any], timed: Mapping[str, Mapping[str, float]]) -> bool:
    def cost(other: str) -> float:
        return timed[other]["past_ms"] + timed[other]["network_ms"]

    rivals = [other for other in timed if other in relative and other != name and cost(other) <= cost(name)]
    return all(relative[other].mean() > relative[name].mean() for other in rivals)
