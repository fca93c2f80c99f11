"""Questions about parts of the field of view that show nothing: masks, blanked columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.doctor.counts import MOST_MISSING
from deepbid_rt.doctor.finding import Finding, not_known
from deepbid_rt.doctor.sample import Runs, as_floats, frame_count
from deepbid_rt.scan.missing_pixels import MissingPixels
from deepbid_rt.scan.normalizer import without_impossible

LEAST_FRAMES = 8
"""Frames that are needed to see that a pixel never changes."""
LEAST_SIDE = 16
"""Smaller frames are not judged."""
MOST_EDGE = 0.125
"""Largest part of a line that is searched for blanked columns, at each end."""
BLANKED = 0.02
"""Structure of a blanked column, in that of the inner ones, at most; or as much as chance explains."""
HARD = 3.0
"""Square of the step into blanked columns, in that of the next steps, at least: tissue ends over several pixels."""
LEAST_STRUCTURE = 4.0
"""Structure of the inner columns, in its scatter from one to the next, that is needed to judge single columns."""
_PARITY_ERRORS = 8.0
"""Difference of even and odd lines in a column, in its usual size, that is worth saying."""


def masked(runs: Runs) -> Finding:
    """Ask which part of the field never changes: a mask, a round field, lines or columns that are not scanned.

    Parameters
    ----------
    runs : sequence of ndarray
        Arrays (T, Y, X).
    """
    question = "masked"
    frames = frame_count(runs)
    if frames < LEAST_FRAMES or min(runs[0].shape[1:]) < LEAST_SIDE:
        return not_known(question, f"fewer than {LEAST_FRAMES} frames, or tiny frames", frames=float(frames))
    first = runs[0][0]
    if all((run == first).all() for run in runs):
        return Finding(
            question, "attention", "no pixel ever changes", {"share": 1.0}, todo="check that the microscope scans"
        )
    missing = MissingPixels((1, *first.shape))
    for run in runs:
        for image in run:
            missing.push(without_impossible(image)[None])
    where = np.zeros(first.shape, bool) if missing.masked is None else missing.masked.where[0]
    share = float(where.mean())
    figures = {"share": share, "stuck_pixels": float(missing.stuck_pixels), "frames": float(frames)}
    words = [f"{100 * share:.2g} % of the pixels are masked: they never change{_where(where)}"] if share else []
    words += [f"{missing.stuck_pixels} pixels are stuck"] if missing.stuck_pixels else []
    if not words:
        return Finding(question, "ok", "no part of the field is masked, and no pixel is stuck", figures)
    return Finding(
        question,
        "note" if share < MOST_MISSING else "attention",
        f"{' and '.join(words)}; they are filled before denoising",
        figures,
        todo="" if share < MOST_MISSING else "check the field that is scanned",
        panels=(("first frame", as_floats(first)), ("masked", where.astype(np.float32))),
    )


def _where(blocks: NDArray[np.bool_]) -> str:
    """Return words for the shape of a mask; empty when it has none of the known ones."""
    rows, columns = blocks.all(1).mean(), blocks.all(0).mean()
    if columns:
        return f", among them {100 * columns:.0f} % of the columns"
    if rows:
        return f", among them {100 * rows:.0f} % of the lines"
    lines, pixels = blocks.shape
    corners, middle = blocks[[0, 0, -1, -1], [0, -1, 0, -1]], blocks[lines // 2, pixels // 2]
    return ", the corners, as in a round field" if corners.all() and not middle else ""


def edges(runs: Runs) -> Finding:
    """Ask whether columns at the ends of the lines are dead: blanked, or unlike in even and odd lines.

    Parameters
    ----------
    runs : sequence of ndarray
        Arrays (T, Y, X), backward lines in image order.

    Notes
    -----
    The structure of a column is the covariance along y of its means over even and over odd frames: it holds no noise.
    """
    question = "edges"
    images = [as_floats(image) for run in runs for image in run]
    if len(images) < LEAST_FRAMES or min(images[0].shape) < 32:
        return not_known(question, f"fewer than {LEAST_FRAMES} frames, or tiny frames", frames=float(len(images)))
    one, two = (np.asarray(np.mean(images[part::2], axis=0, dtype=np.float64)) for part in (0, 1))
    centred = [image - image.mean(0) for image in (one, two)]
    structure = np.asarray((centred[0] * centred[1]).mean(0))
    steps = np.asarray((np.diff(one, axis=1) * np.diff(two, axis=1)).mean(0))
    pixels = structure.size
    reach = max(2, int(pixels * MOST_EDGE))
    inner = structure[reach : pixels - reach]
    usual = float(np.median(inner))
    scatter = 1.4826 * float(np.median(np.abs(np.diff(inner)))) + 1e-30
    figures = {"structure_of_columns": usual, "scatter": scatter}
    if usual < LEAST_STRUCTURE * scatter:
        return not_known(question, "columns show too little structure above the noise", **figures)
    mean = (one + two) / 2
    parity = np.abs(mean[0::2][: mean.shape[0] // 2].mean(0) - mean[1::2].mean(0))
    parity_usual = float(np.median(parity[reach : pixels - reach])) + 1e-9
    found = []
    limit = max(BLANKED * usual, scatter)
    chance = _chance(steps[reach : pixels - reach])
    figures["step_by_chance"] = chance
    if chance > usual:
        return not_known(question, "a step from darkness to the tissue would not stand out from the noise", **figures)
    dead = [_dead(structure, steps, limit, chance), _dead(structure[::-1], steps[::-1], limit, chance)]
    unlike = [_leading(side[:reach] > _PARITY_ERRORS * parity_usual) for side in (parity, parity[::-1])]
    for name, blank, odd in zip(("left", "right"), dead, unlike, strict=True):
        figures[f"blanked_{name}"] = float(blank)
        figures[f"unlike_{name}"] = float(odd)
        if blank:
            found.append(f"{blank} columns at the {name} show nothing")
        elif odd:
            found.append(f"{odd} columns at the {name} differ between even and odd lines")
    dark = [_leading(np.abs(side[:reach]) < limit) for side in (structure, structure[::-1])]
    if not found and max(dark) > 1:
        figures["dark_columns"] = float(max(dark))
        return not_known(
            question, "columns at an end are dark, without a hard step: blanked, or dark tissue", **figures
        )
    if not found:
        return Finding(question, "ok", "columns at both ends show the tissue as the others do", figures)
    return Finding(
        question,
        "note",
        ", ".join(found),
        figures,
        "high" if max(*dead, *unlike) > 1 else "low",
        "the laser is blanked there, or the scanner turns: trim them at the microscope if they disturb",
        panels=(("mean picture", mean.astype(np.float32)),),
    )


def _dead(structure: NDArray[np.float64], steps: NDArray[np.float64], limit: float, chance: float) -> int:
    """Return how many columns at the beginning show nothing and end in a hard step.

    Parameters
    ----------
    structure : ndarray
        (X,) of each column.
    steps : ndarray
        (X - 1,) mean square of the step from each column to the next, without noise.
    limit : float
        Structure of a column up to which it shows nothing.
    chance : float
        Mean square of a step that is found without blanked columns.
    """
    reach = max(2, int(structure.size * MOST_EDGE))
    blank = min(_leading(np.abs(structure[:reach]) < limit), reach - 1)
    for count in range(blank, 0, -1):
        step = float(steps[count - 1])
        # Columns that show little may follow those that show nothing, so that the step is not always the last of them.
        if step > chance and step > HARD * float(steps[count : count + 3].max()):
            return count
    return 0


def _chance(steps: NDArray[np.float64]) -> float:
    """Return the mean square of a step from column to column that tissue and noise explain."""
    middle = float(np.median(steps))
    return middle + 6 * 1.4826 * float(np.median(np.abs(steps - middle)))


def _leading(flags: NDArray[np.bool_]) -> int:
    """Return how many flags at the beginning are set."""
    return int(flags.argmin()) if not flags.all() else flags.size
