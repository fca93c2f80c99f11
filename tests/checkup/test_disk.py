"""The disk of the recordings."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from deepbid_rt.checkup.disk import check_disk

RATE = 30e6
MB = 2**20


def levels(folder: Path, *, free: float = 1e12, step_s: float = 0.001, rate: float = RATE) -> list[str]:
    """Check with a clock of which each look takes `step_s`: 8 MiB are written in one step, and synced in one more."""
    clock = itertools.count(0.0, step_s)
    found = check_disk(folder, rate, test_bytes=8 * MB, usage=lambda _: (0, 0, int(free)), clock=lambda: next(clock))
    return [finding.level for finding in found]


@pytest.mark.parametrize(
    ("free", "step_s", "expected"),
    [
        (1e12, 0.001, ["ok", "ok"]),
        (RATE * 60 * 59, 0.001, ["warning", "ok"]),
        (1e12, 0.1, ["ok", "warning"]),  # 40 MB/s, less than three times the recordings
        (1e12, 0.2, ["ok", "problem"]),  # 20 MB/s
    ],
)
def test_room_and_speed_are_compared_with_the_recordings(
    free: float, step_s: float, expected: list[str], tmp_path: Path
) -> None:
    assert levels(tmp_path, free=free, step_s=step_s) == expected
    assert list(tmp_path.iterdir()) == []


def test_a_slow_sync_is_a_warning(tmp_path: Path) -> None:
    assert levels(tmp_path, step_s=1.1, rate=1e6) == ["ok", "warning"]


def test_a_folder_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    assert levels(tmp_path / "a" / "b") == ["ok", "ok"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_a_folder_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert levels(tmp_path / "file") == levels(tmp_path / "file" / "folder") == ["problem"]


def test_a_disk_that_takes_no_file_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("deepbid_rt.checkup.disk.tempfile.TemporaryFile", refuse)
    (_, found) = check_disk(tmp_path, RATE)
    assert (found.level, found.text) == ("problem", f"{tmp_path} takes no file (Permission denied)")
