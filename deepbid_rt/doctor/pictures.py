"""Small pictures of the evidence, as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepbid_rt.doctor.finding import Finding
from deepbid_rt.errors import FileError
from deepbid_rt.evaluation.picture import side_by_side


def write_pictures(findings: tuple[Finding, ...], folder: Path) -> list[Path]:
    """Write one PNG for each finding that has panels.

    Parameters
    ----------
    findings : tuple of Finding
    folder : Path
        Made when it does not exist; pictures of the same names are replaced.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    FileError
        When the folder cannot be made or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"the folder {folder} cannot be made ({error.strerror})",
            expected="a folder, or a place where one can be made",
            todo="choose another place",
        ) from error
    paths = []
    for finding in findings:
        if not finding.panels:
            continue
        path = folder / f"{finding.question.replace(' ', '-')}.png"
        panels = [(label, np.nan_to_num(image)) for label, image in finding.panels]
        side_by_side(panels, path, title=finding.question, reference=None)
        paths.append(path)
    return paths
