from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepbid_rt.errors import FileError
from deepbid_rt.evaluation.box_plot import _BOX, _LEFT, _ROW, _TOP, _WIDTH, box_plot


def test_boxes_end_at_the_quartiles(tmp_path: Path) -> None:
    box_plot({"a": np.linspace(0, 1, 101), "b": np.array([0.5, 0.6, 0.7])}, tmp_path / "b.png", "title")
    image = np.asarray(Image.open(tmp_path / "b.png"))
    for row, (low, high) in enumerate(((0.25, 0.75), (0.55, 0.65))):
        filled = np.flatnonzero((image[_TOP + _ROW * row + _ROW // 2 - 6] == _BOX).all(-1))
        assert filled[0] == pytest.approx(_LEFT + low * _WIDTH, abs=2)
        assert filled[-1] == pytest.approx(_LEFT + high * _WIDTH, abs=2)


def test_the_error_names_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"b\.png cannot be written"):
        box_plot({"a": np.ones(3)}, tmp_path / "none" / "b.png", "t")
