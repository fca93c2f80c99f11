"""The log of a run: complete lines, each step once, and TensorBoard on request."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deepbid_rt.errors import EngineError
from deepbid_rt.train.run_log import LOG, TENSORBOARD, RunLog, read_curve


def test_curves_are_read_back(tmp_path: Path) -> None:
    with RunLog(tmp_path, 0) as log:
        log.write(1, loss=0.5, learning_rate=1e-3)
        log.write(1, held_out=float("inf"))
        log.write(2, loss=0.25, learning_rate=2e-3)
        log.write(2, held_out=1.5)
    assert read_curve(tmp_path, "loss") == ([1, 2], [0.5, 0.25])
    assert read_curve(tmp_path, "held_out") == ([2], [1.5])


def test_steps_that_are_repeated_are_logged_once(tmp_path: Path) -> None:
    with RunLog(tmp_path, 0) as log:
        for step in (1, 2, 3):
            log.write(step, loss=float(step))
    with (tmp_path / LOG).open("a") as file:
        file.write('{"step": 4, "lo')
    with RunLog(tmp_path, 2) as log:
        log.write(3, loss=30.0)
    assert read_curve(tmp_path, "loss") == ([1, 2, 3], [1.0, 2.0, 30.0])


def test_tensorboard_gets_the_same_values(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the tensorboard extra is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunLog(tmp_path, 0, tensorboard=True) as log:
        for step in (1, 2, 3):
            log.write(step, loss=step / 2)
    events = EventAccumulator(str(tmp_path / TENSORBOARD))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 0.5), (2, 1.0), (3, 1.5)]


def test_a_missing_tensorboard_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    message = (
        r"^a log for TensorBoard without the package tensorboard; expected the extra 'tensorboard' to be installed; "
        r'run pip install "deepbid-rt\[tensorboard\]", or leave --tensorboard out\.$'
    )
    with pytest.raises(EngineError, match=message):
        RunLog(tmp_path, 0, tensorboard=True)
    assert not list(tmp_path.iterdir())
