"""What `deepbid-rt train` checks before it begins."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from deepbid_rt.cli import app
from deepbid_rt.cli.train import _load_trainer
from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes import find_engine
from deepbid_rt.train import loop
from deepbid_rt.train.recipe import Recipe, preset


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "matplotlib"])
def test_a_package_that_is_needed_at_the_end_is_missed_at_the_start(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _load_trainer()
    monkeypatch.setitem(sys.modules, package, None)
    message = f"^training without {package}; expected the extra 'train' to be installed; run pip install "
    with pytest.raises(EngineError, match=message):
        _load_trainer()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[Recipe, Path | None]]:
    """Run the command up to the trainer; return the recipe and the starting point that it is asked for."""
    tifffile.imwrite(tmp_path / "movie.tif", np.zeros((2, 8, 8), np.uint16))

    def ask(*arguments: str) -> tuple[Recipe, Path | None]:
        found: list[tuple[Recipe, Path | None]] = []

        def train(movies: Any, scans: Any, recipe: Recipe, out: Path, start: Path | None, *_: Any, **__: Any) -> Any:
            found.append((recipe, start))
            raise EngineError("far enough", expected="", todo="")

        monkeypatch.setattr(loop, "train", train)
        result = CliRunner().invoke(app, ["train", str(tmp_path / "movie.tif"), "--out", "run", *arguments])
        if not found:
            raise result.exception or AssertionError(result.output)
        return found[0]

    return ask


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), preset("fast")),
        (("--mode", "stream"), preset("fast")),
        (("--mode", "tp"), preset("window", mode="tp")),
        (("--preset", "paper"), preset("paper")),
        (("--preset", "paper", "--mode", "mp-rows"), preset("paper", mode="mp-rows")),
        (("--minutes", "3", "--steps", "20"), preset("fast", minutes=3.0, steps=20, warm_up_steps=20)),
    ],
)
def test_what_is_trained_unless_told_otherwise(asked: Any, arguments: tuple[str, ...], expected: Recipe) -> None:
    assert asked(*arguments) == (expected, None)


def test_a_shipped_engine_is_a_starting_point_by_its_name(asked: Any, tmp_path: Path) -> None:
    assert asked("--from", "default")[1] == find_engine("default")
    (tmp_path / "default.pt").touch()
    assert asked("--from", str(tmp_path / "default.pt"))[1] == tmp_path / "default.pt"
    assert asked("--from", str(tmp_path))[1] == tmp_path
    with pytest.raises(EngineError, match="no engine named 'unknown'"):
        asked("--from", "unknown")
