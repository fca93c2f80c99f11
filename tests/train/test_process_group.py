"""Two processes over Gloo give the same weights as one with the whole batch, and only the first one writes."""

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
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.process_group import ProcessGroup, join_process_group
from deepbid_rt.train.run_log import read_curve
from deepbid_rt.train.trainer import train
from tests import ROOT
from tests.training import COLLINEAR, TINY, noisy_waves

RECIPE = replace(TINY, batch=4, accumulate=2, steps=6, validate_every=3, held_out_pairs=3, ema_decay=0.9)

TRAIN = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.trainer import train
from tests.train.test_process_group import RECIPE
from tests.training import COLLINEAR, noisy_waves

steps = []
summary = train([ArrayMovie(noisy_waves())], [COLLINEAR], RECIPE, Path(sys.argv[1]), progress=steps.append)
print(json.dumps([len(steps), summary.best_held_out, summary.step]))
"""


def test_a_single_process_has_the_whole_batch() -> None:
    with join_process_group() as group:
        assert group == ProcessGroup()
        assert group.share(5) == range(5)
        assert group.total((1.5, 2.0)) == [1.5, 2.0]
        assert (group.any(True), group.any(False)) == (True, False)


def test_a_batch_that_cannot_be_divided_equally_is_refused() -> None:
    assert [ProcessGroup(3, rank).share(6) for rank in range(3)] == [range(2), range(2, 4), range(4, 6)]
    message = r"^a batch of 4 for 3 processes; expected a batch that can be divided equally; set the recipe's batch"
    with pytest.raises(EngineError, match=message):
        ProcessGroup(3, 1).share(4)


def test_two_processes_give_the_weights_of_one_with_the_whole_batch(tmp_path: Path) -> None:
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
    folders = [tmp_path / "shared", tmp_path / "without_files"]
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
    (calls, best, step), (second_calls, second_best, second_step) = (
        json.loads(out.splitlines()[-1]) for out, _ in outputs
    )
    assert (calls, second_calls, step, second_step) == (6, 0, 6, 6)
    assert best == second_best
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
