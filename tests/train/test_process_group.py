"""Two processes over Gloo learn what one learns from the whole batch, and only the first of them writes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deepbid_rt.errors import EngineError
from deepbid_rt.train.checkpoint import LAST, load_checkpoint
from deepbid_rt.train.loop import train
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.process_group import ProcessGroup, join_process_group
from deepbid_rt.train.run_log import read_curve
from tests import ROOT
from tests.training import COLLINEAR, TINY, noisy_waves

RECIPE = replace(TINY, batch=4, accumulate=2, steps=6, validate_every=3, held_out_pairs=3, ema_decay=0.9)

TRAIN = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from deepbid_rt.train.loop import train
from deepbid_rt.train.movie import ArrayMovie
from tests.train.test_process_group import RECIPE
from tests.training import COLLINEAR, noisy_waves

steps = []
summary = train([ArrayMovie(noisy_waves())], [COLLINEAR], RECIPE, Path(sys.argv[1]), progress=steps.append)
print(json.dumps([len(steps), summary.best_held_out, summary.step]))
"""


def test_alone_everything_is_ours() -> None:
    with join_process_group() as world:
        assert world == ProcessGroup()
        assert world.share(5) == range(5)
        assert world.total((1.5, 2.0)) == [1.5, 2.0]
        assert (world.any(True), world.any(False)) == (True, False)


def test_a_batch_is_shared_equally_or_not_at_all() -> None:
    assert [ProcessGroup(3, rank).share(6) for rank in range(3)] == [range(2), range(2, 4), range(4, 6)]
    message = r"^a batch of 4 for 3 processes; expected a batch that can be shared equally; set the recipe's batch to a"
    with pytest.raises(EngineError, match=message):
        ProcessGroup(3, 1).share(4)


def test_two_processes_learn_what_one_learns_from_the_whole_batch(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    folders = [tmp_path / "shared", tmp_path / "silent"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(folder)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, folder in enumerate(folders)
    ]
    try:
        outputs = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], [err for _, err in outputs]
    (calls, best, step), (silent_calls, silent_best, silent_step) = (
        json.loads(out.splitlines()[-1]) for out, _ in outputs
    )
    assert (calls, silent_calls, step, silent_step) == (6, 0, 6, 6)
    assert best == silent_best
    assert not folders[1].exists()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    summary = train([ArrayMovie(noisy_waves())], [COLLINEAR], RECIPE, tmp_path / "alone")
    torch.set_num_threads(threads)
    for name in ("loss", "held_out", "learning_rate"):
        (ours, curve), (theirs, expected) = (read_curve(tmp_path / run, name) for run in ("shared", "alone"))
        assert ours == theirs
        assert curve == pytest.approx(expected, rel=1e-4)
    assert best == pytest.approx(summary.best_held_out, rel=1e-4)
    ours, theirs = (load_checkpoint(tmp_path / run / LAST) for run in ("shared", "alone"))
    for key in theirs.average:
        assert torch.allclose(ours.average[key], theirs.average[key], atol=1e-4)
