"""Write the table and the figures of ``reproduce_paper.py`` from the folders that it wrote.

    python tools/paper_table.py runs/paper

The last line on stdout is one JSON object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepbid_rt.evaluation.box_plot import box_plot
from deepbid_rt.evaluation.picture import side_by_side

METRICS = {
    "correlation_xyt": "x-y-t correlation",
    "snr_db": "SNR, dB",
    "ssim_3d": "3D SSIM",
    "correlation_yt": "y-t correlation",
    "snr_affine_db": "affine SNR, dB",
    "correlation_dynamic": "dynamic correlation",
    "sharpness": "sharpness, 1/px",
}
SCORES = "scores.json"
REFERENCES = ("raw", "gaussian")
BY_LINES = ("mp-ssl", "stream")
"""Methods that learn from both scan directions; they must reach the papers' floors."""
LABELS = {"gaussian": "best Gaussian"}
Rows = list[dict[str, Any]]


def levels(out: Path, methods: Sequence[str]) -> dict[str, dict[str, Rows]]:
    """Return the scores of each method at each noise level; folders that are not complete are left out."""
    found: dict[str, dict[str, Rows]] = {}
    for level in sorted(path.parents[1] for path in out.glob("r*/truth/scores.json")):
        table: dict[str, Rows] = {}
        for name in (*REFERENCES, *methods):
            texts = [(folder / SCORES).read_text(encoding="utf-8") for folder in folders(level, name)]
            rows = [row for text in texts for row in json.loads(text)["scores"]]
            if rows:
                table[name] = rows
        found[level.name.removeprefix("r")] = table
    return found


def folders(level: Path, name: str) -> list[Path]:
    """Return the complete folders of a method: one, or one per seed."""
    found = [path.parent for path in level.glob(f"{name}*/{SCORES}")]
    return sorted(path for path in found if path.name == name or path.name.removeprefix(name)[1:].isdigit())


def spread(rows: Rows, key: str) -> str:
    """Return the mean and the range of one metric as text."""
    values = [row[key] for row in rows]
    digits = 1 if "db" in key else 3
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def floors(table: dict[str, Rows], method: str) -> list[tuple[str, str, str, bool]]:
    """Return what a method that learns from both scan directions must reach: rule, floor, result, met or not."""
    mp, raw = table[method], table["raw"]

    def mean(rows: Rows, key: str) -> float:
        return float(np.mean([row[key] for row in rows]))

    correlation = mean(mp, "correlation_xyt")
    gain = mean(mp, "snr_db") - mean(raw, "snr_db")
    likeness = mean(mp, "ssim_3d") / mean(raw, "ssim_3d")
    checks = [
        ("x-y-t correlation", ">= 0.92", f"{correlation:.3f}", correlation >= 0.92),
        ("SNR gain", ">= 12 dB", f"{gain:.1f} dB", gain >= 12),
        ("3D SSIM against raw", ">= 4 x", f"{likeness:.1f} x", likeness >= 4),
    ]
    for name, label in (("gaussian", "best Gaussian"), ("tp-ssl", "TP-SSL"), ("deepcad", "DeepCAD-style")):
        if name in table:
            ahead = mean(mp, "snr_affine_db") - mean(table[name], "snr_affine_db")
            checks.append((f"affine SNR over {label}", ">= 2.5 dB", f"{ahead:.1f} dB", ahead >= 2.5))
    if "tp-ssl" in table:
        other = {(row["seed"], row["unseen"]): row for row in table["tp-ssl"]}
        pairs = [(row, other[place]) for row in mp if (place := (row["seed"], row["unseen"])) in other]
        for key, label in (("correlation_xyt", "x-y-t"), ("correlation_yt", "y-t")):
            won = sum(a[key] > b[key] for a, b in pairs)
            rule = f"{label} correlation above TP-SSL's, pairs of engine and movie"
            checks.append((rule, "all", f"{won} of {len(pairs)}", won == len(pairs)))
    return checks


def write_table(out: Path, methods: Sequence[str]) -> dict[str, Any]:
    """Write ``table.md`` and ``table.json``; return the means."""
    text, means = [], {}
    for level, table in levels(out, methods).items():
        text += [f"Raw x-y-t correlation set to {level}:\n", "| | " + " | ".join(METRICS.values()) + " |"]
        text.append("|---" * (len(METRICS) + 1) + "|")
        for name, rows in table.items():
            cells = " | ".join(spread(rows, key) for key in METRICS)
            text.append(f"| {LABELS.get(name, name)} | {cells} |")
        means[level] = {
            name: {key: round(float(np.mean([row[key] for row in rows])), 4) for key in METRICS}
            for name, rows in table.items()
        }
        learned = [name for name in BY_LINES if name in table]
        if learned:
            text += ["", "| floor | wanted | " + " | ".join(learned) + " |", "|---|---" + "|---" * len(learned) + "|"]
            for same in zip(*(floors(table, name) for name in learned), strict=True):
                reached = " | ".join(f"{got}, {'met' if met else 'missed'}" for _, _, got, met in same)
                text.append(f"| {same[0][0]} | {same[0][1]} | {reached} |")
        text.append("")
    (out / "table.md").write_text("\n".join(text), encoding="utf-8")
    (out / "table.json").write_text(json.dumps(levels(out, methods), indent=1), encoding="utf-8")
    return means


def write_figures(out: Path, methods: Sequence[str]) -> None:
    """Write box plots, and a frame and a y-t image of the first test movie, for each noise level."""
    for level, table in levels(out, methods).items():
        for key in ("correlation_xyt", "snr_affine_db"):
            groups = {LABELS.get(name, name): np.array([row[key] for row in rows]) for name, rows in table.items()}
            box_plot(groups, out / f"{key}-r{level}.png", f"{METRICS[key]}, raw set to {level}")
        found = [(name, folders(out / f"r{level}", name)[0] / "views.npz") for name in [*table, "truth"]]
        for view, what in (("frame", "one frame"), ("yt", "one column over time")):
            panels = [(LABELS.get(name, name), np.load(path)[view]) for name, path in found]
            side_by_side(panels, out / f"{view}-r{level}.png", f"{what}, raw set to {level}", reference=-1, side=384)


def main() -> None:
    """Write table and figures of a folder."""
    out = Path(sys.argv[1])
    methods = ("mp-ssl", "tp-ssl", "deepcad", "stream", "default", "window", "average")
    means = write_table(out, methods)
    write_figures(out, methods)
    print(json.dumps({"out": str(out), "levels": means}))


if __name__ == "__main__":
    main()
