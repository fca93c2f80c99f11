from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepbid_rt.doctor.finding import Finding
from deepbid_rt.doctor.pictures import write_pictures
from deepbid_rt.errors import FileError

pytest.importorskip("PIL", reason="the http extra is not installed")
PANELS = (("a", np.eye(8)), ("b", np.full((8, 8), np.nan)))
FOUND = (Finding("line phase", "attention", "x", panels=PANELS), Finding("layout", "ok", "y"))


def test_findings_with_panels_become_pictures(tmp_path: Path) -> None:
    (path,) = write_pictures(FOUND, tmp_path / "new" / "folder")
    assert path.name == "line-phase.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot be made"):
        write_pictures(FOUND, tmp_path / "file")
