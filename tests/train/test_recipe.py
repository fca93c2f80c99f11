"""Recipes: defaults, presets, the TOML file, and every check."""

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.errors import EngineError, FileError
from deepbid_rt.train.recipe import Recipe, load_recipe, preset
from tests import ROOT


def test_the_papers_preset() -> None:
    paper = preset("paper", mode="mp-rows-stacked")
    assert (paper.learning_rate, paper.betas, paper.steps, paper.batch) == (5e-5, (0.5, 0.999), 100_000, 1)
    assert (paper.l1, paper.mse, paper.width, paper.decay) == (0.5, 0.5, 16, "none")
    assert paper.mode == "mp-rows-stacked"
    assert preset("window") == Recipe()


def test_the_fast_preset_is_the_recipe_of_the_default_engine_with_fewer_steps() -> None:
    shipped = load_recipe(ROOT / "engines" / "default" / "recipe.toml")
    assert preset("fast", steps=shipped.steps) == shipped
    assert preset("fast").steps < shipped.steps


@given(
    st.builds(
        Recipe,
        mode=st.sampled_from(["mp", "mp-collinear", "mp-rows", "mp-rows-stacked", "tp"]),
        patch=st.tuples(*[st.integers(1, 40).map(lambda n: 8 * n)] * 3),
        learning_rate=st.floats(1e-9, 0.5),
        seed=st.integers(0, 2**40),
    )
)
def test_a_recipe_read_back_from_toml_is_equal(recipe: Recipe) -> None:
    again = Recipe.from_dict(tomllib.loads(recipe.to_toml()))
    assert again == recipe
    assert again.digest == recipe.digest


def test_every_field_changes_the_digest() -> None:
    base = Recipe()
    base = dataclasses.replace(base, mode="mp-rows", augment="flips", batch=2)
    other: dict[str, Any] = {"mode": "mp", "decay": "none", "patch": (8, 8, 8), "betas": (0.9, 0.99)}
    other |= {"balance": "log", "views": "mean"}
    other |= {"network": "rcan3d", "augment": "none", "minutes": 0.5, "gap_weight": 1.0, "batch": 4, "accumulate": 2}
    of_stream: dict[str, Any] = {"memories": (0.5, 0.2, 0.1), "levels": 2, "stream_look_ahead": 1}
    for f in dataclasses.fields(Recipe):
        value = getattr(base, f.name)
        changed = other.get(f.name, value / 2 if isinstance(value, float) else 0)
        changed = 0.5 if f.name == "ema_decay" else changed
        if isinstance(value, int) and f.name not in other:
            changed = {"window": 40, "hop": 16, "look_ahead": 16}.get(f.name, value + 1)
        if f.name == "rcan":  # only network rcan3d uses it
            assert dataclasses.replace(base, rcan=(1, 1)).digest == base.digest
            rcan = dataclasses.replace(base, network="rcan3d")
            assert dataclasses.replace(rcan, rcan=(1, 1)).digest != rcan.digest
            continue
        if f.name in of_stream:  # only mode stream uses it
            assert dataclasses.replace(base, **{f.name: of_stream[f.name]}).digest == base.digest
            stream = dataclasses.replace(base, mode="stream", patch=(1, 16, 16))
            assert dataclasses.replace(stream, **{f.name: of_stream[f.name]}).digest != stream.digest
            continue
        assert dataclasses.replace(base, **{f.name: changed}).digest != base.digest, f.name


def test_fields_that_a_file_does_not_have_keep_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('mode = "mp-rows"\npatch = [16, 64, 64]\nsteps = 200\n')
    assert load_recipe(path) == Recipe(mode="mp-rows", patch=(16, 64, 64), steps=200)


@pytest.mark.parametrize("gains", [(0.1,), (0.4, 0.15, 0.06, 0.015)])
def test_a_stream_engine_may_have_any_number_of_memories(gains: tuple[float, ...]) -> None:
    assert Recipe.from_dict({"memories": list(gains)}).memories == gains


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="expected a TOML file of recipe fields"):
        load_recipe(tmp_path / "absent.toml")
    (tmp_path / "broken.toml").write_text("steps = = 3")
    with pytest.raises(FileError, match="expected a TOML file of recipe fields"):
        load_recipe(tmp_path / "broken.toml")


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(EngineError, match=r"^the recipe has an unknown key 'epochs'; expected some of mode, network, "):
        Recipe.from_dict({"epochs": 3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"mode": "magic"},
            "mode = 'magic'; expected one of mp, mp-collinear, mp-rows, mp-rows-stacked, tp, tis, sis, stream",
        ),
        ({"steps": "many"}, "steps = 'many'; expected a whole number"),
        ({"steps": 1.5}, "steps = 1.5; expected a whole number"),
        ({"steps": True}, "steps = True; expected a whole number"),
        ({"steps": 0, "warm_up_steps": 0}, "steps = 0; expected at least 1"),
        ({"patch": [32, 100, 100]}, "patch = (32, 100, 100); expected positive multiples of 8"),
        ({"patch": [32, 64]}, "patch = (32, 64); expected 3 numbers"),
        ({"patch": [32, 64, "x"]}, "patch = 'x'; expected a whole number"),
        ({"stream_look_ahead": 3}, "stream_look_ahead = 3; expected 0, 1 or 2"),
        ({"levels": 0}, "levels = 0; expected 1, 2 or 3"),
        ({"levels": 4}, "levels = 4; expected 1, 2 or 3"),
        ({"memories": []}, "memories = (); expected a list of numbers"),
        ({"memories": [0.4, 1.0]}, "memories = (0.4, 1.0); expected numbers between 0 and 1"),
        ({"memories": [0.03, 0.4]}, "memories = (0.03, 0.4); expected falling numbers, the slowest memory last"),
        ({"learning_rate": 0}, "learning_rate = 0; expected more than 0 and less than 1"),
        ({"learning_rate": float("nan")}, "learning_rate = nan; expected more than 0 and less than 1"),
        ({"l1": 0, "mse": 0}, "mse = 0; expected 0 or more, and not 0 together with l1"),
        ({"held_out": 0.9}, "held_out = 0.9; expected more than 0 and at most 0.5"),
        ({"warm_up_steps": 101, "steps": 100}, "warm_up_steps = 101; expected from 0 to the 100 steps"),
        ({"window": 36}, "window = 36; expected a positive multiple of 8"),
        ({"look_ahead": 4}, "look_ahead = 4; expected from 8 to window - hop = 24"),
        ({"look_ahead": 25}, "look_ahead = 25; expected from 8 to window - hop = 24"),
        ({"calibration_frames": 1}, "calibration_frames = 1; expected at least 2"),
    ],
)
def test_a_wrong_value_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=f"^{re.escape(f'the recipe has {message}; correct the recipe.')}$"):
        Recipe.from_dict(changes)
