"""A run ends in time, or when it gets no better; killed for good or out of disk, it loses no more than it must."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deepbid_rt.errors import FileError, StageError
from deepbid_rt.train import run as module
from deepbid_rt.train.budget import Budget
from deepbid_rt.train.checkpoint import BEST, LAST, load_checkpoint
from deepbid_rt.train.learner import Learner, Validation
from deepbid_rt.train.loop import train
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.objective import WARM_UP
from deepbid_rt.train.progress import TrainProgress, TrainSummary
from deepbid_rt.train.recipe import Recipe
from deepbid_rt.train.run_log import LOG, read_curve
from tests import ROOT
from tests.training import COLLINEAR, TINY, noisy_waves

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that stands still but for what a test adds to it."""

    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "Budget", lambda minutes, before: Budget(minutes, before, clock))
    return clock


def learn(run_dir: Path, recipe: Recipe, progress: Any = None) -> TrainSummary:
    return train([ArrayMovie(noisy_waves())], [COLLINEAR], recipe, run_dir, progress=progress)


def test_it_ends_at_the_time_given_with_a_checkpoint_that_was_judged(tmp_path: Path, clock: Any) -> None:
    seen = []

    def tick(progress: TrainProgress) -> None:
        seen.append(progress.left_s)
        clock.now += 10

    recipe = replace(TINY, steps=1000, validate_every=1000, warm_up_steps=500, minutes=1.0)
    summary = learn(tmp_path, recipe, tick)
    assert (summary.ended, summary.interrupted, summary.step) == ("minutes", False, 7)
    assert load_checkpoint(tmp_path / BEST).step == summary.best_step == 7
    assert seen[3] <= 30
    steps, rates = read_curve(tmp_path, "learning_rate")
    assert steps == list(range(1, 8))
    assert WARM_UP < 10 / 60
    assert rates[2] > 0.8 * recipe.learning_rate  # the warm-up does not outlast its share of the time
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 0.1 * recipe.learning_rate
    again = learn(tmp_path, recipe)
    assert (again.step, again.ended) == (7, "minutes")


def test_time_goes_on_counting_when_a_run_goes_on(tmp_path: Path, clock: Any) -> None:
    def stop_at(step: int) -> Any:
        def tick(progress: TrainProgress) -> None:
            clock.now += 10
            if progress.step == step:
                signal.raise_signal(signal.SIGINT)

        return tick

    recipe = replace(TINY, steps=1000, minutes=1.0)
    assert learn(tmp_path, recipe, stop_at(4)).interrupted
    clock.now += 1000  # nobody trains
    summary = learn(tmp_path, recipe, stop_at(0))
    assert (summary.ended, summary.step) == ("minutes", 7)


def test_it_ends_when_the_held_out_loss_gets_no_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([1.5, 1.2, 1.3, 1.1, 1.2, 1.15, 1.3])
    monkeypatch.setattr(Learner, "judge", lambda *_: Validation(next(losses), 1.0))
    summary = learn(tmp_path, replace(TINY, steps=100, validate_every=2, patience=2))
    assert (summary.ended, summary.step, summary.best_step, summary.best_held_out) == ("patience", 12, 8, 1.1)
    assert load_checkpoint(tmp_path / BEST).step == 8
    assert load_checkpoint(tmp_path / LAST).ended == "patience"
    assert learn(tmp_path, replace(TINY, steps=100, validate_every=2, patience=2)).step == 12


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from deepbid_rt.train import checkpoint
from deepbid_rt.train.loop import train
from deepbid_rt.train.movie import ArrayMovie
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


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is of POSIX")
@pytest.mark.parametrize(("moment", "step"), [("steps", 8), ("saving", 4)])
def test_kill_9_costs_no_more_than_the_steps_since_the_last_checkpoint(tmp_path: Path, moment: str, step: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), moment]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_checkpoint(tmp_path / "killed" / LAST).step == step
    learn(tmp_path / "killed", TINY)
    learn(tmp_path / "whole", TINY)
    logs = [(tmp_path / name / LOG).read_text() for name in ("killed", "whole")]
    assert logs[0] == logs[1]
    assert json.loads(logs[0].splitlines()[-1]).keys() == {"step", "held_out", "response"}
    for name in (LAST, BEST):
        ours, theirs = (load_checkpoint(tmp_path / run / name) for run in ("killed", "whole"))
        assert all(torch.equal(ours.weights[k], theirs.weights[k]) for k in theirs.weights)


FULL = """
import resource, sys
from pathlib import Path
from deepbid_rt.errors import StageError
from deepbid_rt.train.loop import train
from deepbid_rt.train.movie import ArrayMovie
from tests.training import COLLINEAR, TINY, noisy_waves

def fill(progress):
    if progress.step == 6:  # files may not grow beyond this from here on
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

try:
    train([ArrayMovie(noisy_waves())], [COLLINEAR], TINY, Path(sys.argv[1]), progress=fill)
except StageError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are of POSIX")
def test_a_disk_that_becomes_full_ends_the_run_and_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FULL, str(tmp_path / "run")]
    full = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert full.returncode == 0, full.stderr
    assert full.stdout.startswith(f"after 8 steps the checkpoint {tmp_path / 'run' / LAST} cannot be written (")
    assert full.stdout.endswith("the previous checkpoint is unharmed, and go on.\n")
    assert load_checkpoint(tmp_path / "run" / LAST).step == 4
    assert not list((tmp_path / "run").glob("*.part"))
    assert learn(tmp_path / "run", TINY).step == 12


def test_a_disk_without_room_is_refused_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(FileError, match="has 0 MB left; expected room for checkpoints, 1 MB; make room or choose"):
        learn(tmp_path, TINY)


def test_a_checkpoint_that_cannot_be_written_fails_the_run_instead_of_refusing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise FileError("no room", expected="room", todo="make room")

    monkeypatch.setattr(module, "save_checkpoint", full)
    with pytest.raises(StageError, match=r"^after 4 steps no room; expected room; make room, and go on\.$"):
        learn(tmp_path, TINY)
