"""What ``deepbid-rt doctor`` prints, writes and refuses."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from deepbid_rt.cli import app
from deepbid_rt.errors import FileError, OptionError, StageError, StreamError
from tests.doctor.scenes import movie

WITH_PICTURES = pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="the http extra is not installed")


def doctor(*arguments: str | Path):
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "clean.tif", movie(), photometric="minisblack")
    return tmp_path / "clean.tif"


@pytest.fixture
def reversed_lines(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "reversed.tif", movie("collinear", mirrored=False), photometric="minisblack")
    return tmp_path / "reversed.tif"


def test_a_clean_recording_has_exit_code_0(clean: Path) -> None:
    done = doctor(clean, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["ok"] is True
    assert result["looked_at"] == str(clean)
    assert result["shape"] == [1, 96, 96]
    assert "ok         mirrored: all lines are stored in image order" in done.stderr
    assert "questions that need attention: 0 of 21; 40 frames were looked at" in done.stderr


@WITH_PICTURES
def test_what_is_wrong_has_exit_code_1_a_picture_and_an_option_that_mends_it(
    reversed_lines: Path, tmp_path: Path
) -> None:
    rig = tmp_path / "rig.toml"
    done = doctor(reversed_lines, "--json", "--write", rig, "--pictures", tmp_path / "pictures")
    assert done.exit_code == 1, done.output
    result = json.loads(done.stdout)
    assert result["ok"] is False
    assert result["options"]["unmirrored"] is True
    assert result["scan"]["mirrored"] is False
    assert result["scan_stated"]["mirrored"] is True
    assert (tmp_path / "pictures" / "mirrored.png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path / "pictures" / "mirrored.png") in result["pictures"]
    assert "ATTENTION  mirrored: backward lines are stored in sampling order" in done.stderr
    assert "-> use --unmirrored for recordings" in done.stderr
    options = tomllib.loads(rig.read_text())["denoise"]
    assert (options["unmirrored"], options["scan"]) == (True, "collinear")
    # With the options that were found, nothing is wrong any more, and denoise takes them.
    again = doctor(reversed_lines, "--unmirrored", "--scan", "collinear")
    assert again.exit_code == 0, again.output
    out = tmp_path / "out.tif"
    denoised = CliRunner().invoke(
        app, ["denoise", str(reversed_lines), str(out), "--config", str(rig), "--engine", "echo", "--json"]
    )
    assert denoised.exit_code == 0, denoised.output
    assert json.loads(denoised.stdout)["shape"] == [1, 96, 96]


def test_options_that_were_given_are_kept(tmp_path: Path) -> None:
    two = np.stack([movie(), movie(seed=2)], axis=1).reshape(-1, 96, 96)
    tifffile.imwrite(tmp_path / "two.tif", two, photometric="minisblack")
    done = doctor(tmp_path / "two.tif", "--channels", "2", "--write", tmp_path / "rig.toml")
    assert done.exit_code == 0, done.output
    assert tomllib.loads((tmp_path / "rig.toml").read_text())["train"]["channels"] == 2


@pytest.mark.parametrize(
    "frames",
    [
        np.full((20, 32, 32), 7, np.int16),
        np.full((20, 32, 32), np.nan, np.float32),
        np.zeros((1, 32, 32), np.int16),
        np.random.default_rng(0).poisson(5, (9, 8, 8)).astype(np.int16),
    ],
    ids=["constant", "NaN", "one frame", "8x8"],
)
def test_recordings_in_which_little_can_be_seen(frames: np.ndarray, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "bad.tif", frames, photometric="minisblack")
    done = doctor(tmp_path / "bad.tif", "--json")
    assert done.exit_code in (0, 1), done.output
    found = {finding["question"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["mirrored"]["level"] == found["layout"]["level"] == "not known"
    assert (found["values"]["level"] == "attention") == (frames.min() == frames.max() or np.isnan(frames).all())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((), OptionError, "neither a recording nor a stream to look at"),
        (("a.tif", "--source", "tcp://127.0.0.1:9"), OptionError, "both a.tif and --source tcp://127.0.0.1:9"),
        (("{tmp}/none.tif",), FileError, "no file or folder {tmp}/none.tif"),
        (("{tmp}/text.tif",), FileError, "{tmp}/text.tif"),
        (("a.tif", "--write", "{tmp}/text.tif"), FileError, "{tmp}/text.tif exists already"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], error: type[Exception], message: str, tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no movie")
    raised = doctor(*(argument.replace("{tmp}", str(tmp_path)) for argument in arguments)).exception
    assert isinstance(raised, error), raised
    assert str(raised).startswith(message.replace("{tmp}", str(tmp_path)))


def test_the_hint_leads_to_the_check_of_the_computer() -> None:
    assert "deepbid-rt checkup looks at this computer" in str(doctor().exception)


def test_pictures_need_a_package(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    raised = doctor(clean, "--pictures", "p").exception
    assert isinstance(raised, StageError)
    assert "Pillow" in str(raised)


def test_a_source_that_sends_nothing_ends_after_the_timeout() -> None:
    raised = doctor("--source", "tcp://127.0.0.1:9", "--timeout", "0.5").exception
    assert isinstance(raised, StreamError)
    assert str(raised).startswith("no frame from tcp://127.0.0.1:9 within ")
