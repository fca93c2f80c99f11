"""The shipped engines: file, card and recipe are from the same training."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from deepbid_rt.runtimes import find_engine, load_engine
from deepbid_rt.train.export import card_toml
from deepbid_rt.train.recipe import load_recipe
from tests import ROOT

FOLDERS = sorted(path.parent for path in (ROOT / "engines").glob("*/recipe.toml"))


def test_all_engines_are_shipped() -> None:
    assert {folder.name for folder in FOLDERS} == {"light", "default", "best", "window"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_file_card_and_recipe_are_from_the_same_training(folder: Path) -> None:
    assert find_engine(folder.name) == folder / "model.onnx"
    engine = load_engine(folder.name)
    card, written = engine.card, tomllib.loads((folder / "card.toml").read_text(encoding="utf-8"))
    engine.close()
    assert card.name == folder.name
    assert tomllib.loads(card_toml(card)) == written
    recipe = load_recipe(folder / "recipe.toml")
    training = written["training"]
    assert training["recipe"] == recipe.digest
    assert (training["width"], training["steps"]) == (recipe.width, recipe.steps)
    assert recipe.steps / 2 < training["step"] <= recipe.steps, "the best checkpoint is not an early one"
    if card.kind == "stream":
        assert (card.memories, card.views) == (recipe.memories, recipe.views)
