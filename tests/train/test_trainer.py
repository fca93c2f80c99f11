"""Training: it learns, continues after a kill without a difference, stops on request, and refuses wrong input."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepbid_rt.errors import EngineError, FileError, StageError, StreamError
from deepbid_rt.train import trainer as module
from deepbid_rt.train.checkpoint import BEST, LAST, load_checkpoint
from deepbid_rt.train.learner import Learner, Validation
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.objective import MAX_WARM_UP
from deepbid_rt.train.progress import TrainProgress, TrainSummary
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.recording import open_recording
from deepbid_rt.train.run_log import LOG, read_curve
from deepbid_rt.train.time_budget import TimeBudget
from deepbid_rt.train.trainer import train
from deepbid_rt.train.window_pairs import WindowPairs
from tests import ROOT
from tests.training import COLLINEAR, TINY, noisy_waves

pytestmark = pytest.mark.usefixtures("one_thread")


class KilledError(Exception):
    """Simulates a kill: nothing of the training loop runs after it."""


def run(run_dir: Path, recipe: Recipe = TINY, kill_after: int | None = None, **options: Any) -> TrainSummary:
    """Train on one collinear movie; `kill_after` raises `KilledError` after this step."""

    def kill(state: TrainProgress) -> None:
        if state.step == kill_after:
            raise KilledError

    pixels = options.pop("pixels", noisy_waves())
    return train([ArrayMovie(pixels)], [COLLINEAR], recipe, run_dir, **{"progress": kill} | options)


def losses(run_dir: Path) -> dict[int, float]:
    """Training loss by step; fails when a step is logged twice."""
    entries = [json.loads(line) for line in (run_dir / LOG).read_text().splitlines()]
    steps = [e["step"] for e in entries if "loss" in e]
    assert steps == sorted(set(steps))
    return {e["step"]: e["loss"] for e in entries if "loss" in e}


def test_training_lowers_the_held_out_loss(tmp_path: Path) -> None:
    recipe = replace(TINY, width=4, steps=60, validate_every=1, checkpoint_every=60, learning_rate=4e-3)
    held_out: list[float] = []
    summary = run(tmp_path, recipe, pixels=noisy_waves(48), progress=lambda p: held_out.append(p.held_out))
    assert summary.best_held_out < 0.7 * held_out[0]
    assert 1 < summary.best_held_out < 2  # better than raw, and no better than the noise of the target allows
    assert summary.best_held_out == min(held_out)
    assert load_checkpoint(tmp_path / BEST).step == summary.best_step == 1 + held_out.index(min(held_out))


@pytest.mark.parametrize(("killed_at", "frames"), [(3, 8), (6, 8), (11, 8), (6, 24)])
def test_a_killed_run_continues_without_a_difference(tmp_path: Path, killed_at: int, frames: int) -> None:
    # With long patches the CPU may compute in bfloat16.
    recipe, pixels = replace(TINY, ema_decay=0.9, patch=(frames, 16, 16)), noisy_waves(48)
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


def test_a_run_continues_after_an_incomplete_log_line(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        run(tmp_path, kill_after=6)
    with (tmp_path / LOG).open("a") as log:
        log.write('{"step": 7, "lo')
    run(tmp_path)
    assert sorted(losses(tmp_path)) == list(range(1, 13))


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from deepbid_rt.train import checkpoint
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.trainer import train
from tests.training import COLLINEAR, TINY, noisy_waves

torch.set_num_threads(1)
run_dir, moment = Path(sys.argv[1]), sys.argv[2]

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def between_steps(progress):
    if progress.step == 10:
        kill()

def while_saving(data, path):
    save(data, path)
    if data["step"] == 8 and path.name.startswith("last"):
        with path.open("r+b") as file:
            file.truncate(1000)
        kill()

save = torch.save
if moment == "saving":
    torch.save = while_saving
train([ArrayMovie(noisy_waves())], [COLLINEAR], TINY, run_dir, progress=between_steps)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL exists on POSIX systems only")
@pytest.mark.parametrize(("moment", "step"), [("steps", 8), ("saving", 4)])
def test_sigkill_loses_only_the_steps_since_the_last_checkpoint(tmp_path: Path, moment: str, step: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), moment]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_checkpoint(tmp_path / "killed" / LAST).step == step
    run(tmp_path / "killed")
    run(tmp_path / "whole")
    logs = [(tmp_path / name / LOG).read_text() for name in ("killed", "whole")]
    assert logs[0] == logs[1]
    assert json.loads(logs[0].splitlines()[-1]).keys() == {"step", "held_out", "response"}
    for name in (LAST, BEST):
        ours, theirs = (load_checkpoint(tmp_path / run_name / name) for run_name in ("killed", "whole"))
        assert all(torch.equal(ours.weights[k], theirs.weights[k]) for k in theirs.weights)


def test_ctrl_c_finishes_the_step_and_the_next_call_continues(tmp_path: Path) -> None:
    def interrupt(state: TrainProgress) -> None:
        if state.step == 6:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    summary = run(tmp_path, progress=interrupt)
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
        run(tmp_path, progress=interrupt)


def test_the_handler_of_ctrl_c_is_restored_after_a_run(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    run(tmp_path)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_finished_run_stays_unchanged(tmp_path: Path) -> None:
    first = run(tmp_path)
    again = run(tmp_path)
    assert (again.step, again.best_held_out) == (12, first.best_held_out)
    assert sorted(losses(tmp_path)) == list(range(1, 13))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that only the test advances."""

    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "TimeBudget", lambda minutes, before: TimeBudget(minutes, before, clock))
    return clock


def test_a_run_ends_at_its_time_limit_with_a_validated_checkpoint(tmp_path: Path, clock: Any) -> None:
    left_s = []

    def advance(progress: TrainProgress) -> None:
        left_s.append(progress.left_s)
        clock.now += 10

    recipe = replace(TINY, steps=1000, validate_every=1000, warm_up_steps=500, minutes=1.0)
    summary = run(tmp_path, recipe, progress=advance)
    assert (summary.ended, summary.interrupted, summary.step) == ("minutes", False, 7)
    assert load_checkpoint(tmp_path / BEST).step == summary.best_step == 7
    assert left_s[3] <= 30
    steps, rates = read_curve(tmp_path, "learning_rate")
    assert steps == list(range(1, 8))
    assert MAX_WARM_UP < 10 / 60
    assert rates[2] > 0.8 * recipe.learning_rate  # the warm-up ends after its fraction of the time
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 0.1 * recipe.learning_rate
    again = run(tmp_path, recipe)
    assert (again.step, again.ended) == (7, "minutes")


def test_a_continued_run_counts_the_time_of_earlier_calls(tmp_path: Path, clock: Any) -> None:
    def stop_at(step: int) -> Any:
        def advance(progress: TrainProgress) -> None:
            clock.now += 10
            if progress.step == step:
                signal.raise_signal(signal.SIGINT)

        return advance

    recipe = replace(TINY, steps=1000, minutes=1.0)
    assert run(tmp_path, recipe, progress=stop_at(4)).interrupted
    clock.now += 1000  # time between the calls does not count
    summary = run(tmp_path, recipe, progress=stop_at(0))
    assert (summary.ended, summary.step) == ("minutes", 7)


def test_a_run_ends_when_the_held_out_loss_stops_improving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = iter([1.5, 1.2, 1.3, 1.1, 1.2, 1.15, 1.3])
    monkeypatch.setattr(Learner, "validate", lambda *_: Validation(next(held_out), 1.0))
    summary = run(tmp_path, replace(TINY, steps=100, validate_every=2, patience=2))
    assert (summary.ended, summary.step, summary.best_step, summary.best_held_out) == ("patience", 12, 8, 1.1)
    assert load_checkpoint(tmp_path / BEST).step == 8
    assert load_checkpoint(tmp_path / LAST).ended == "patience"
    assert run(tmp_path, replace(TINY, steps=100, validate_every=2, patience=2)).step == 12


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    other = replace(TINY, seed=1)
    message = (
        f"the run in {tmp_path} was started with recipe {TINY.digest[:12]} (now {other.digest[:12]}); expected the "
        "same recipe when a run is continued; restore recipe.toml, or train into an empty folder with the old run as "
        "starting point."
    )
    with pytest.raises(EngineError, match=f"^{re.escape(message)}$"):
        run(tmp_path, other)


def test_other_recordings_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(EngineError, match="was started with the recordings 40x1x48x24 <i2 collinear"):
        run(tmp_path, pixels=noisy_waves(41))


def test_a_warm_start_takes_the_weights_but_not_the_steps(tmp_path: Path) -> None:
    first = run(tmp_path / "old", replace(TINY, steps=40))
    recipe = replace(TINY, steps=1, warm_up_steps=0, learning_rate=1e-9)
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
        run(tmp_path / "new", replace(TINY, width=4), from_checkpoint=tmp_path / "old" / LAST)
    assert not (tmp_path / "new").exists()


def test_nan_that_appears_later_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    pixels = noisy_waves().astype(np.float32)

    def insert_nan(state: TrainProgress) -> None:
        if state.step == 5:
            pixels[:] = np.nan

    message = "^the training loss became nan after 5 steps; expected a finite number; look for NaN in the recordings"
    with pytest.raises(StageError, match=message):
        run(tmp_path, pixels=pixels, progress=insert_nan)
    assert all(w.isfinite().all() for w in load_checkpoint(tmp_path / LAST).weights.values())


def test_a_gradient_that_is_not_finite_leaves_the_weights_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, replace(TINY, steps=4))
    before = load_checkpoint(tmp_path / LAST)
    recording = open_recording(ArrayMovie(noisy_waves()), COLLINEAR, TINY)
    batch = WindowPairs([recording], TINY).training_batch(0)
    learner = Learner(TINY)
    learner.restore(before)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(math.inf))
    assert learner.train_step(batch, 4) == math.inf
    after = learner.state["weights"]
    assert all(torch.equal(after[name], before.weights[name]) for name in before.weights)


def test_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"^no recording to train on; expected at least one; name a recording\.$"):
        train([], [], TINY, tmp_path)


def test_a_run_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="expected a folder to write into; choose another folder"):
        run(tmp_path / "file")


def test_progress_has_the_time_left(tmp_path: Path) -> None:
    states: list[TrainProgress] = []
    run(tmp_path, progress=states.append)
    assert [p.step for p in states] == list(range(1, 13))
    assert math.isinf(states[0].held_out)
    assert math.isfinite(states[-1].held_out)
    assert states[0].left_s > 0
    assert states[-1].left_s == 0


FULL = """
import resource, sys
from pathlib import Path
from deepbid_rt.errors import StageError
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.trainer import train
from tests.training import COLLINEAR, TINY, noisy_waves

def fill(progress):
    if progress.step == 6:  # from here on, files cannot become larger than this
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

try:
    train([ArrayMovie(noisy_waves())], [COLLINEAR], TINY, Path(sys.argv[1]), progress=fill)
except StageError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits exist on POSIX systems only")
def test_a_disk_that_becomes_full_ends_the_run_and_keeps_the_previous_checkpoint(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FULL, str(tmp_path / "run")]
    full = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert full.returncode == 0, full.stderr
    assert full.stdout.startswith(f"after 8 steps the checkpoint {tmp_path / 'run' / LAST} cannot be written (")
    assert full.stdout.endswith("the previous checkpoint is unchanged, and continue the run.\n")
    assert load_checkpoint(tmp_path / "run" / LAST).step == 4
    assert not list((tmp_path / "run").glob("*.part"))
    assert run(tmp_path / "run").step == 12


def test_a_disk_that_is_too_full_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(FileError, match="has 0 MB left; expected room for checkpoints, 1 MB; make room or choose"):
        run(tmp_path)


def test_a_checkpoint_that_cannot_be_written_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a `StageError`: the input was right, the run failed."""

    def full(*_: object) -> None:
        raise FileError("no room", expected="room", todo="make room")

    monkeypatch.setattr(module, "save_checkpoint", full)
    with pytest.raises(StageError, match=r"^after 4 steps no room; expected room; make room, and continue the run\.$"):
        run(tmp_path)
