"""The report of an evaluation: a folder with a table in Markdown and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from deepbid_rt.evaluation.box_plot import box_plot
from deepbid_rt.evaluation.evaluate import Evaluation
from deepbid_rt.evaluation.metrics import METRICS
from deepbid_rt.evaluation.picture import not_writable, side_by_side
from deepbid_rt.evaluation.scores import Preview

Panels = list[tuple[str, NDArray[Any]]]


def markdown_table(evaluation: Evaluation) -> str:
    """Return the metrics as a Markdown table with one column per movie; a line below it names the missing ones."""
    columns = {name: scores.metrics for name, scores in evaluation.columns.items()}
    lines = [
        "| metric | what it is | ideal | " + " | ".join(columns) + " |",
        "|---|---|---|" + "---:|" * len(columns),
    ]
    for name, metric in METRICS.items():
        if name not in evaluation.missing_metrics:
            cells = ("-" if column[name] is None else f"{column[name]:.4g}" for column in columns.values())
            lines.append(f"| {name} | {metric.meaning} | {metric.ideal} | " + " | ".join(cells) + " |")
    if evaluation.missing_metrics:
        lines += ["", f"Not computed, as a reference is missing: {', '.join(evaluation.missing_metrics)}."]
    return "\n".join(lines) + "\n"


def write_report(folder: Path, evaluation: Evaluation, title: str) -> None:
    """Write ``report.md`` and its pictures into a folder, which is made if needed.

    ``frames.png`` and ``yt.png`` show the middle frame and one column over time of every movie, with one contrast. With
    a truth there are also the box plots ``frame_correlation.png`` and ``trace_correlation.png``, and with a truth or a
    reference ``error_map.png``.

    Raises
    ------
    FileError
        When a file cannot be written.
    """
    columns = evaluation.columns
    previews: dict[str, Preview] = {name: columns[name].preview for name in ("raw", "denoised") if name in columns}
    if evaluation.truth is not None:
        previews["truth"] = evaluation.truth
    previews |= {name: scores.preview for name, scores in evaluation.baselines.items()}
    contrast_of = list(previews).index("denoised" if evaluation.truth is None else "truth")
    pictures: list[tuple[str, str]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(folder, error) from error

    def draw(name: str, about: str, panels: Panels, reference: int, white: float = 99.8) -> None:
        side_by_side(panels, folder / name, about, reference=reference, percentiles=(1, white), side=320, columns=4)
        pictures.append((name, about))

    middle_frames = [(name, preview.picture) for name, preview in previews.items()]
    draw("frames.png", "The middle frame", middle_frames, contrast_of)
    over_time = [(name, preview.column) for name, preview in previews.items()]
    draw("yt.png", "One column over time, to the right", over_time, contrast_of, 99)
    maps: Panels = [
        (f"{name}, RSP {scores.error_map.rsp:.3f}", scores.error_map.error)
        for name, scores in columns.items()
        if scores.error_map
    ]
    if maps:
        draw("error_map.png", "Error of the middle frame after gain, offset and blur are fitted (black: none)", maps, 0)
    for name, about, attribute in (
        ("frame_correlation.png", "Correlation of each frame with the truth", "frame_correlations"),
        ("trace_correlation.png", "Correlation of each cell's trace with the true one", "trace_correlations"),
    ):
        groups = _groups(evaluation, attribute)
        if groups:
            box_plot(groups, folder / name, about)
            pictures.append((name, about))
    links = "\n\n".join(f"{about}:\n\n![{about}]({name})" for name, about in pictures)
    try:
        (folder / "report.md").write_text(f"# {title}\n\n{markdown_table(evaluation)}\n{links}\n", encoding="utf-8")
    except OSError as error:
        raise not_writable(folder, error) from error


def _groups(evaluation: Evaluation, attribute: str) -> dict[str, NDArray[Any]]:
    values = {name: getattr(scores, attribute) for name, scores in evaluation.columns.items()}
    return {name: value for name, value in values.items() if value is not None and value.size}
