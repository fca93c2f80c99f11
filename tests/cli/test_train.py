"""What `deepbid-rt train` checks before training starts."""

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
from deepbid_rt.cli.train import _import_trainer
from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes import find_engine
from deepbid_rt.train import trainer
from deepbid_rt.train.recipe import Recipe, preset


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "matplotlib"])
def test_a_missing_package_is_reported_before_training(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _import_trainer()
    monkeypatch.setitem(sys.modules, package, None)
    message = f"^training without {package}; expected the extra 'train' to be installed; run pip install "
    with pytest.raises(EngineError, match=message):
        _import_trainer()


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[Recipe, Path | None]]:
    """Run the command up to the trainer; return the recipe and the starting point that the trainer gets."""
    tifffile.imwrite(tmp_path / "movie.tif", np.arange(128, dtype=np.uint16).reshape(2, 8, 8))

    def request(*arguments: str) -> tuple[Recipe, Path | None]:
        received: list[tuple[Recipe, Path | None]] = []

        def train(movies: Any, scans: Any, recipe: Recipe, out: Path, start: Path | None, *_: Any, **__: Any) -> Any:
            received.append((recipe, start))
            raise EngineError("stop here", expected="", todo="")

        monkeypatch.setattr(trainer, "train", train)
        result = CliRunner().invoke(app, ["train", str(tmp_path / "movie.tif"), "--out", "run", *arguments])
        if not received:
            raise result.exception or AssertionError(result.output)
        return received[0]

    return request


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
def test_the_recipe_follows_from_the_options(requested: Any, arguments: tuple[str, ...], expected: Recipe) -> None:
    assert requested(*arguments) == (expected, None)


def test_a_shipped_engine_is_found_by_its_name(requested: Any, tmp_path: Path) -> None:
    assert requested("--from", "default")[1] == find_engine("default")
    (tmp_path / "default.pt").touch()
    assert requested("--from", str(tmp_path / "default.pt"))[1] == tmp_path / "default.pt"
    assert requested("--from", str(tmp_path))[1] == tmp_path
    with pytest.raises(EngineError, match="no engine named 'unknown'"):
        requested("--from", "unknown")
