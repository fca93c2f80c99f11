"""Training: it learns, goes on after a kill as if nothing had happened, stops cleanly, and refuses what it must."""

import json
import math
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deepbid_rt.errors import EngineError, FileError, StageError, StreamError
from deepbid_rt.train.checkpoint import BEST, LAST, load_checkpoint
from deepbid_rt.train.learner import Learner
from deepbid_rt.train.loop import train
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.progress import TrainProgress, TrainSummary
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import open_recording
from deepbid_rt.train.run_log import LOG
from deepbid_rt.train.window_pairs import draw
from tests.training import COLLINEAR, TINY

RECIPE = TINY


class KilledError(Exception):
    """Stands for the end of the process: nothing of the loop runs after it."""


pytestmark = pytest.mark.usefixtures("one_thread")


def noisy_waves(frames: int = 40, seed: int = 0) -> NDArray[np.int16]:
    """A collinear movie (T, 2N, N) of slow waves under noise of 50 counts."""
    t, y, x = np.ogrid[:frames, :24, :24]
    scene = 1000 + 100 * np.sin(2 * np.pi * (t / 20 + y / 12)) * np.sin(2 * np.pi * x / 16)
    noise = np.random.default_rng(seed).normal(0, 50, (frames, 48, 24))
    return (np.repeat(scene, 2, axis=1) + noise).astype(np.int16)


def run(run_dir: Path, recipe: Recipe = RECIPE, kill_after: int | None = None, **options: Any) -> TrainSummary:
    def progress(state: TrainProgress) -> None:
        if state.step == kill_after:
            raise KilledError

    pixels = options.pop("pixels", noisy_waves())
    return train([ArrayMovie(pixels)], [COLLINEAR], recipe, run_dir, progress=progress, **options)


def losses(run_dir: Path) -> dict[int, float]:
    """Training loss by step; fails when a step is logged twice."""
    entries = [json.loads(line) for line in (run_dir / LOG).read_text().splitlines()]
    steps = [e["step"] for e in entries if "loss" in e]
    assert steps == sorted(set(steps))
    return {e["step"]: e["loss"] for e in entries if "loss" in e}


def test_training_lowers_the_held_out_loss(tmp_path: Path) -> None:
    recipe = replace(RECIPE, width=4, steps=60, validate_every=1, checkpoint_every=60, learning_rate=4e-3)
    seen: list[float] = []
    summary = train(
        [ArrayMovie(noisy_waves(48))], [COLLINEAR], recipe, tmp_path, progress=lambda p: seen.append(p.held_out)
    )
    assert summary.best_held_out < 0.7 * seen[0]
    assert 1 < summary.best_held_out < 2  # better than raw, and no better than the noise of the target allows
    assert summary.best_held_out == min(seen)
    assert load_checkpoint(tmp_path / BEST).step == summary.best_step == 1 + seen.index(min(seen))


@pytest.mark.parametrize(("killed_at", "frames"), [(3, 8), (6, 8), (11, 8), (6, 24)])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, killed_at: int, frames: int) -> None:
    # Long patches are where the CPU may compute in bfloat16.
    recipe, pixels = replace(RECIPE, ema_decay=0.9, patch=(frames, 16, 16)), noisy_waves(48)
    whole = run(tmp_path / "whole", recipe, pixels=pixels)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", recipe, kill_after=killed_at, pixels=pixels)
    again = run(tmp_path / "killed", recipe, pixels=pixels)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert (again.held_out, again.best_held_out, again.best_step) == (
        whole.held_out,
        whole.best_held_out,
        whole.best_step,
    )
    for name in (LAST, BEST):
        ours, theirs = (load_checkpoint(tmp_path / d / name) for d in ("killed", "whole"))
        assert all(torch.equal(ours.average[k], theirs.average[k]) for k in theirs.average)


def test_a_torn_last_log_line_does_not_stop_a_run_from_going_on(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        run(tmp_path, kill_after=6)
    with (tmp_path / LOG).open("a") as log:
        log.write('{"step": 7, "lo')
    run(tmp_path)
    assert sorted(losses(tmp_path)) == list(range(1, 13))


def test_ctrl_c_finishes_the_step_and_the_next_call_goes_on(tmp_path: Path) -> None:
    def interrupt(state: TrainProgress) -> None:
        if state.step == 6:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    summary = train([ArrayMovie(noisy_waves())], [COLLINEAR], RECIPE, tmp_path, progress=interrupt)
    assert (summary.step, summary.interrupted) == (6, True)
    assert signal.getsignal(signal.SIGINT) is before
    assert load_checkpoint(tmp_path / LAST).step == 6
    summary = run(tmp_path)
    assert (summary.step, summary.interrupted) == (12, False)


@pytest.mark.usefixtures("listens_to_ctrl_c")
def test_a_second_ctrl_c_interrupts_at_once(tmp_path: Path) -> None:
    def interrupt(_state: TrainProgress) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train([ArrayMovie(noisy_waves())], [COLLINEAR], RECIPE, tmp_path, progress=interrupt)


def test_ctrl_c_is_given_back_after_a_run(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    run(tmp_path)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    first = run(tmp_path)
    again = run(tmp_path)
    assert (again.step, again.best_held_out) == (12, first.best_held_out)
    assert sorted(losses(tmp_path)) == list(range(1, 13))


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    other = replace(RECIPE, seed=1)
    message = (
        f"the run in {tmp_path} was begun with recipe {RECIPE.digest[:12]} (now {other.digest[:12]}); expected the "
        "same recipe when a run goes on; restore recipe.toml, or train into an empty folder with the old run as "
        "starting point."
    )
    with pytest.raises(EngineError, match=f"^{re.escape(message)}$"):
        run(tmp_path, other)


def test_other_recordings_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(EngineError, match="was begun with the recordings 40x1x48x24 <i2 collinear"):
        run(tmp_path, pixels=noisy_waves(41))


def test_a_warm_start_takes_the_weights_but_not_the_steps(tmp_path: Path) -> None:
    first = run(tmp_path / "old", replace(RECIPE, steps=40))
    recipe = replace(RECIPE, steps=1, warm_up_steps=0, learning_rate=1e-9)
    warm = run(tmp_path / "warm", recipe, from_checkpoint=tmp_path / "old" / LAST)
    assert warm.step == 1
    assert warm.held_out == pytest.approx(first.held_out, rel=1e-3)
    assert run(tmp_path / "cold", recipe).held_out > 1.01 * warm.held_out


def test_a_warm_start_of_another_width_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "old")
    message = (
        "a starting point of width 2; expected the recipe's width 4; change the recipe's width or the starting point."
    )
    with pytest.raises(EngineError, match=f"^{re.escape(message)}$"):
        run(tmp_path / "new", replace(RECIPE, width=4), from_checkpoint=tmp_path / "old" / LAST)
    assert not (tmp_path / "new").exists()


def test_nan_that_appears_later_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    pixels = noisy_waves().astype(np.float32)

    def spoil(state: TrainProgress) -> None:
        if state.step == 5:
            pixels[:] = np.nan

    message = "^the training loss became nan after 5 steps; expected a finite number; look for NaN in the recordings"
    with pytest.raises(StageError, match=message):
        train([ArrayMovie(pixels)], [COLLINEAR], RECIPE, tmp_path, progress=spoil)
    assert all(w.isfinite().all() for w in load_checkpoint(tmp_path / LAST).weights.values())


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_harms_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, replace(RECIPE, steps=4))
    before = load_checkpoint(tmp_path / LAST)
    batch = draw([open_recording(ArrayMovie(noisy_waves()), COLLINEAR, RECIPE)], RECIPE, 0)
    learner = Learner(RECIPE)
    learner.restore(before)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(math.inf))
    assert learner.learn(batch, 4) == math.inf
    after = learner.state["weights"]
    assert all(torch.equal(after[name], before.weights[name]) for name in before.weights)


def test_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"^no recording to train on; expected at least one; name a recording\.$"):
        train([], [], RECIPE, tmp_path)


def test_a_run_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="expected a folder to write into; choose another folder"):
        run(tmp_path / "file")


def test_progress_tells_the_time_left(tmp_path: Path) -> None:
    seen: list[TrainProgress] = []
    train([ArrayMovie(noisy_waves())], [COLLINEAR], RECIPE, tmp_path, progress=seen.append)
    assert [p.step for p in seen] == list(range(1, 13))
    assert math.isinf(seen[0].held_out)
    assert math.isfinite(seen[-1].held_out)
    assert seen[0].left_s > 0
    assert seen[-1].left_s == 0
