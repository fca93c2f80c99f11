"""A folder with what an evaluation found: a table in Markdown, and pictures of it.

Knows no metric and no movie, only judgements.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from deepbid_rt.errors import FileError
from deepbid_rt.evaluation.box_plot import box_plot
from deepbid_rt.evaluation.evaluate import Evaluation
from deepbid_rt.evaluation.figures import FIGURES
from deepbid_rt.evaluation.picture import side_by_side
from deepbid_rt.evaluation.scores import View

Panels = list[tuple[str, NDArray[Any]]]


def markdown(found: Evaluation) -> str:
    """Return the figures as a Markdown table, one column per movie; those that cannot be known stand below it."""
    columns = {name: judged.figures for name, judged in found.columns.items()}
    lines = [
        "| figure | what it is | ideal | " + " | ".join(columns) + " |",
        "|---|---|---|" + "---:|" * len(columns),
    ]
    for name, figure in FIGURES.items():
        if name not in found.unknown:
            cells = ("-" if column[name] is None else f"{column[name]:.4g}" for column in columns.values())
            lines.append(f"| {name} | {figure.meaning} | {figure.ideal} | " + " | ".join(cells) + " |")
    if found.unknown:
        lines += ["", f"Cannot be known from what was given: {', '.join(found.unknown)}."]
    return "\n".join(lines) + "\n"


def write_report(folder: Path, found: Evaluation, title: str) -> None:
    """Write ``report.md`` and its pictures into a folder, which is made if need be.

    ``frames.png``, ``yt.png``: the middle frame and a column over time of every movie, in one contrast. With a truth
    also ``frame_correlation.png`` and ``trace_correlation.png`` (box plots), and with a truth or a reference
    ``error_map.png``.

    Raises
    ------
    FileError
        When a file cannot be written.
    """
    columns = found.columns
    shown: dict[str, View] = {name: columns[name].view for name in ("raw", "denoised") if name in columns}
    if found.truth is not None:
        shown["truth"] = found.truth
    shown |= {name: judged.view for name, judged in found.baselines.items()}
    middle = list(shown).index("denoised" if found.truth is None else "truth")
    pictures: list[tuple[str, str]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error

    def draw(name: str, about: str, panels: Panels, reference: int, white: float = 99.8) -> None:
        side_by_side(panels, folder / name, about, reference=reference, percentiles=(1, white), side=320, columns=4)
        pictures.append((name, about))

    draw("frames.png", "The middle frame", [(name, view.picture) for name, view in shown.items()], middle)
    over_time = [(name, view.column) for name, view in shown.items()]
    draw("yt.png", "One column over time, to the right", over_time, middle, 99)
    maps: Panels = [(f"{name}, RSP {j.error.rsp:.3f}", j.error.error) for name, j in columns.items() if j.error]
    if maps:
        draw("error_map.png", "Error of the middle frame after gain, offset and blur are fitted (black: none)", maps, 0)
    for name, about, groups in (
        ("frame_correlation.png", "Correlation of each frame with the truth", _groups(found, "frames")),
        ("trace_correlation.png", "Correlation of each cell's trace with the true one", _groups(found, "cells")),
    ):
        if groups:
            box_plot(groups, folder / name, about)
            pictures.append((name, about))
    links = "\n\n".join(f"{about}:\n\n![{about}]({name})" for name, about in pictures)
    try:
        (folder / "report.md").write_text(f"# {title}\n\n{markdown(found)}\n{links}\n", encoding="utf-8")
    except OSError as error:
        raise _unwritable(folder, error) from error


def _groups(found: Evaluation, what: str) -> dict[str, NDArray[Any]]:
    values = {name: getattr(judged, what) for name, judged in found.columns.items()}
    return {name: value for name, value in values.items() if value is not None and value.size}


def _unwritable(folder: Path, error: OSError) -> FileError:
    return FileError(
        f"{folder} cannot be written ({error.strerror or error})",
        expected="a folder that can be written",
        todo="check the path and its rights",
    )
