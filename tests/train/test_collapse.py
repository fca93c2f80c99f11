"""A collapsed network (same output for every input) is reported and not exported; one that works on dark input is."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepbid_rt.errors import EngineError, StageError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.runtimes import find_engine
from deepbid_rt.simulator.presets import movie_preset
from deepbid_rt.simulator.synthetic import SyntheticSource
from deepbid_rt.train.checkpoint import BEST, LAST, load_checkpoint, read_tensors, save_checkpoint
from deepbid_rt.train.collapse import MIN_RESPONSE, has_collapsed
from deepbid_rt.train.export import export
from deepbid_rt.train.learner import Learner, Validation
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.recipe import Recipe, load_recipe
from deepbid_rt.train.recording import open_recording
from deepbid_rt.train.run_log import read_curve
from deepbid_rt.train.starting_point import load_starting_point
from deepbid_rt.train.stream_pairs import StreamPairs
from deepbid_rt.train.trained_network import load_trained
from deepbid_rt.train.trainer import train
from deepbid_rt.train.window_pairs import WindowPairs
from tests.training import COLLINEAR, TINY, noisy_waves

pytestmark = pytest.mark.usefixtures("one_thread")


def learn(run_dir: Path, recipe: Recipe = TINY) -> Any:
    return train([ArrayMovie(noisy_waves())], [COLLINEAR], recipe, run_dir)


def response(learner: Learner, recipe: Recipe, pixels: Any, scan: ScanGeometry = COLLINEAR) -> float:
    recording = open_recording(ArrayMovie(pixels), scan, recipe)
    pairs = (StreamPairs if recipe.mode == "stream" else WindowPairs)([recording], recipe)
    return learner.validate(pairs.held_out_batches()).response


def set_validations(monkeypatch: pytest.MonkeyPatch, *values: tuple[float, float]) -> None:
    """Make validations return these held-out losses and responses."""
    remaining = iter(values)
    monkeypatch.setattr(Learner, "validate", lambda *_: Validation(*next(remaining)))


def test_a_constant_network_has_no_response_although_its_output_varies_at_the_borders() -> None:
    """Its first layer is zero; the biases of the others make a pattern along the zero padding."""
    learner = Learner(TINY)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for name, weights in learner._average.named_parameters():
            if name.endswith("bias"):
                weights.copy_(torch.from_numpy(rng.uniform(0.5, 1, weights.shape)))
        learner._average.encoders[0][0].weight.zero_()
        constant_output = learner._average(torch.zeros(1, 1, 8, 16, 16))
    assert constant_output.std() > 10 * MIN_RESPONSE
    assert response(learner, TINY, noisy_waves()) < 1e-6


def test_the_response_is_the_standard_deviation_of_the_outputs_in_units_of_the_noise() -> None:
    """Of a network that returns a third of its input."""
    learner = Learner(TINY)
    learner._average = torch.nn.Conv3d(1, 1, 1)  # type: ignore[assignment]  # any network
    with torch.no_grad():
        learner._average.weight.fill_(1 / 3)
        learner._average.bias.fill_(7.0)
    pixels = np.random.default_rng(0).normal(1000, 50, (40, 48, 24)).astype(np.int16)
    assert response(learner, TINY, pixels) == pytest.approx(1 / 3, rel=0.03)


@pytest.mark.parametrize("engine", ["window", "light", "default", "best"])
@pytest.mark.parametrize("correlation", [0.05, 0.0])
def test_shipped_networks_have_not_collapsed_on_dark_and_on_empty_recordings(engine: str, correlation: float) -> None:
    file = find_engine(engine)
    shipped = load_recipe(file.parent / "recipe.toml")
    patch = (1 if shipped.mode == "stream" else 16, 64, 64)
    recipe = replace(shipped, patch=patch, calibration_frames=8)
    learner = Learner(recipe)
    learner.warm_start(load_starting_point(file, 1.0))
    if correlation:
        source = SyntheticSource(*movie_preset("calcium-vibrating", (64, 64), 5, correlation=correlation), 36)
        pixels = np.stack([source.render(t)[0] for t in range(36)])[:, 0]
    else:
        pixels = np.random.default_rng(0).normal(100, 40, (36, 128, 64)).astype(np.int16)
    assert response(learner, recipe, pixels) > 5 * MIN_RESPONSE


def test_a_response_that_was_not_measured_is_not_refused() -> None:
    assert not has_collapsed(float("inf"))


def test_a_run_whose_network_collapses_warns_and_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe = replace(TINY, learning_rate=0.5, clip_norm=0.0, steps=30)
    message = (
        r"^after 30 steps a network that collapsed: its outputs on held-out frames vary by \S+ of the noise; expected "
        r"outputs that vary by 0\.001 standard deviations of the noise or more; train again into an empty folder, at a "
        r"lower learning_rate, with another seed or on brighter recordings\.$"
    )
    with caplog.at_level(logging.WARNING), pytest.raises(StageError, match=message):
        learn(tmp_path, recipe)
    steps, found = read_curve(tmp_path, "response")
    assert steps == [5, 10, 15, 20, 25, 30]
    collapsed = [step for step, value in zip(steps, found, strict=True) if value < MIN_RESPONSE]
    said = [record.getMessage().split(":")[0] for record in caplog.records]
    assert said == [f"step {step}" for step in collapsed]
    assert 30 in collapsed
    with pytest.raises(StageError, match=message):  # again, without a step
        learn(tmp_path, recipe)


def collapsed_run(folder: Path) -> Path:
    learn(folder)
    for name in (BEST, LAST):
        save_checkpoint(folder / name, replace(load_checkpoint(folder / name), response=0.00012))
    return folder


def test_export_and_fine_tuning_refuse_a_collapsed_network_and_write_nothing(tmp_path: Path) -> None:
    run = collapsed_run(tmp_path / "run")
    out = tmp_path / "model.onnx"
    message = f"^{run / BEST}, a network that collapsed: its outputs on held-out frames vary by 0.0001 of the noise; "
    with pytest.raises(EngineError, match=message):
        export(run, out, "trial")
    with pytest.raises(EngineError, match=message):
        load_starting_point(run, 1.0)
    assert not out.exists()


def test_the_best_checkpoint_is_not_a_collapsed_one_even_if_that_has_a_lower_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_validations(monkeypatch, (1.03, 0.1), (1.01, 1e-4), (1.01, 1e-4))
    with pytest.raises(StageError, match=r"expected .*; export the best checkpoint, of step 5, or train again"):
        learn(tmp_path)
    best = load_checkpoint(tmp_path / BEST)
    assert (best.step, best.held_out, best.response) == (5, 1.03, 0.1)
    assert load_checkpoint(tmp_path / LAST).response == 1e-4
    assert load_trained(tmp_path, "trial")[1].training["step"] == 5


def test_a_network_may_recover_from_a_collapse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_validations(monkeypatch, (1.01, 1e-4), (1.02, 0.1), (1.015, 0.2))
    summary = learn(tmp_path)
    assert (summary.ended, summary.best_step, summary.best_held_out, summary.response) == ("steps", 12, 1.015, 0.2)


def test_a_collapsed_run_ends_by_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_validations(monkeypatch, *[(1.01, 1e-4)] * 3)
    with pytest.raises(StageError, match=r"^after 10 steps a network that collapsed"):
        learn(tmp_path, replace(TINY, steps=100, patience=2))
    assert not (tmp_path / BEST).exists()


def test_old_checkpoints_without_a_response_are_accepted(tmp_path: Path) -> None:
    learn(tmp_path)
    data = read_tensors(tmp_path / BEST)
    del data["response"]
    torch.save(data, tmp_path / BEST)
    assert load_trained(tmp_path, "trial")[1].training["step"] in (5, 10, 12)
