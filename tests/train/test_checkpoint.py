"""Checkpoints are written atomically, and refused when damaged."""

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from deepbid_rt.errors import EngineError, FileError
from deepbid_rt.nets.unet3d import UNet3D
from deepbid_rt.train.checkpoint import LAST, Checkpoint, load_checkpoint, load_for_resume, save_checkpoint
from deepbid_rt.train.recipe import Recipe


def make_checkpoint() -> Checkpoint:
    net = UNet3D(2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 1, 8, 8, 8)).sum().backward()
    optimizer.step()
    return Checkpoint(
        recipe=Recipe(width=2),
        recordings=("a recording", "another"),
        step=3,
        weights=net.state_dict(),
        average=net.state_dict(),
        optimizer=optimizer.state_dict(),
        held_out=1.5,
        best_held_out=1.25,
        best_step=2,
    )


def test_a_loaded_checkpoint_equals_the_saved_one(tmp_path: Path) -> None:
    saved = make_checkpoint()
    save_checkpoint(tmp_path / LAST, saved)
    loaded = load_checkpoint(tmp_path / LAST)
    for field in dataclasses.fields(Checkpoint):
        if field.name not in ("weights", "average", "optimizer"):
            assert getattr(loaded, field.name) == getattr(saved, field.name)
    for name in saved.weights:
        assert torch.equal(loaded.weights[name], saved.weights[name])
        assert torch.equal(loaded.average[name], saved.average[name])
    moments = [state["exp_avg"] for state in loaded.optimizer["state"].values()]
    expected = [state["exp_avg"] for state in saved.optimizer["state"].values()]
    assert len(moments) == len(saved.weights)
    assert all(torch.equal(a, b) for a, b in zip(moments, expected, strict=True))


def test_an_empty_folder_has_no_run(tmp_path: Path) -> None:
    assert load_for_resume(tmp_path, Recipe(), ()) is None


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn", pickle.dumps(Path("x"), protocol=2)])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LAST).write_bytes(content)
    with pytest.raises(FileError, match="expected a file written by deepbid-rt train"):
        load_checkpoint(tmp_path / LAST)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / LAST, make_checkpoint())
    content = (tmp_path / LAST).read_bytes()
    (tmp_path / LAST).write_bytes(content[: len(content) // 2])
    with pytest.raises(FileError, match="expected a file written by deepbid-rt train"):
        load_checkpoint(tmp_path / LAST)


@pytest.mark.parametrize(("content", "came"), [({"version": 2}, "2"), ({}, "None"), ([1, 2], "list")])
def test_another_version_is_refused(tmp_path: Path, content: Any, came: str) -> None:
    torch.save(content, tmp_path / LAST)
    with pytest.raises(EngineError, match=f"of version {came}; expected version 1; use the deepbid-rt that wrote it"):
        load_checkpoint(tmp_path / LAST)


def test_a_checkpoint_that_cannot_be_written_keeps_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / LAST, make_checkpoint())
    before = (tmp_path / LAST).read_bytes()

    def full(_data: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(FileError, match="the previous checkpoint is unchanged"):
        save_checkpoint(tmp_path / LAST, make_checkpoint())
    assert (tmp_path / LAST).read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [LAST]
