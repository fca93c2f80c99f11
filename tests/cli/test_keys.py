"""``deepbid-rt keys``, and streams between commands that use the keys."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import deepbid_rt as rt
from deepbid_rt.cli import app
from deepbid_rt.errors import FileError
from deepbid_rt.zmq_io.key_folder import KeyFolder, public_key
from tests.e2e.commands import page_count, run, started


def keys(*arguments: str | Path) -> dict[str, object]:
    result = CliRunner().invoke(app, ["keys", *map(str, arguments), "--json"])
    if result.exception:
        raise result.exception
    facts: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return facts


def test_keys_are_made_allowed_and_shown(tmp_path: Path) -> None:
    made = keys(tmp_path / "scope", "--name", "scope")
    assert made == {"public_key": public_key(tmp_path / "scope" / "scope.pub").decode(), "allowed": {}}
    viewer = keys(tmp_path / "viewer", "--name", "viewer")
    keys(tmp_path / "scope", "--allow", tmp_path / "viewer" / "viewer.pub")
    laptop = keys(tmp_path / "laptop", "--name", "laptop")
    keys(tmp_path / "scope", "--allow", tmp_path / "laptop" / "laptop.pub", "--name", "anna")
    shown = keys(tmp_path / "scope", "--show")
    assert shown["allowed"] == {"viewer": viewer["public_key"], "anna": laptop["public_key"]}


def test_keys_are_not_made_twice_and_no_key_is_allowed_where_there_are_none(tmp_path: Path) -> None:
    keys(tmp_path / "scope", "--name", "scope")
    with pytest.raises(FileError, match="never overwritten"):
        keys(tmp_path / "scope")
    with pytest.raises(FileError, match="no secret key at"):
        keys(tmp_path / "other", "--allow", tmp_path / "scope" / "scope.pub")
    assert not (tmp_path / "other").exists()
    with pytest.raises(FileError, match="no secret key at"):
        keys(tmp_path / "other", "--show")


def test_the_secret_key_is_not_printed(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["keys", str(tmp_path / "scope"), "--json"])
    secret = KeyFolder(tmp_path / "scope").pair().secret.decode()
    assert secret not in result.output


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Keys of a microscope, which lets the denoising computer in, and of that computer, which lets a laptop in."""
    for name in ("scope", "pc", "laptop"):
        keys(tmp_path / name, "--name", name)
    keys(tmp_path / "scope", "--allow", tmp_path / "pc" / "pc.pub")
    keys(tmp_path / "pc", "--allow", tmp_path / "laptop" / "laptop.pub")
    return tmp_path


def test_two_computers_with_keys_denoise_and_a_third_one_watches(lab: Path) -> None:
    simulate = ("simulate", "--bind", "tcp://127.0.0.1:*", "--size", "16", "--frames", "60", "--rate", "30", "--wait")
    with started(*simulate, "--keys", lab / "scope") as microscope:
        pc = ("--keys", lab / "pc", "--source-key", lab / "scope" / "scope.pub")
        serve = ("serve", "--engine", "echo", "--source", microscope.line(), *pc, "--frames", "60", "--json")
        with started(*serve, "--publish", "tcp://127.0.0.1:*") as session:
            assert session.process.stderr is not None
            endpoint = ""
            while "publishing on " not in endpoint:
                endpoint = session.process.stderr.readline().strip()
            endpoint = endpoint.partition("publishing on ")[2]
            mine = {"keys": lab / "laptop", "server_key": lab / "pc" / "pc.pub"}
            with rt.subscribe(endpoint, series=1, timeout_s=60, **mine) as frames, rt.subscribe(endpoint) as stranger:
                assert len(list(frames)) > 0
                assert stranger.info is None
            finished = session.finish()
    assert finished.code == 0, finished.stderr
    assert finished.result["frames_in"] == 60


def test_a_session_without_the_right_keys_gets_nothing_and_says_why(lab: Path) -> None:
    simulate = ("simulate", "--bind", "tcp://127.0.0.1:*", "--size", "16", "--frames", "9000", "--rate", "30")
    with started(*simulate, "--keys", lab / "scope") as microscope:
        endpoint = microscope.line()
        given = ("--keys", lab / "laptop", "--source-key", lab / "scope" / "scope.pub")
        finished = run("serve", "--engine", "echo", "--source", endpoint, "--idle-timeout", "7", "--json", *given)
    assert finished.result["frames_in"] == 0
    assert "refuses the key of this computer" in " ".join(finished.stderr.split())


def test_a_lossless_replay_as_fast_as_possible_reaches_python_whole(tmp_path: Path) -> None:
    movie = np.random.default_rng(1).integers(0, 1000, (400, 64, 64)).astype("<i2")
    tifffile.imwrite(tmp_path / "movie.tif", movie)
    replay = ("replay", tmp_path / "movie.tif", "--bind", "tcp://127.0.0.1:*", "--rate", "100000", "--lossless")
    with started(*replay, "--json") as sender:
        with rt.subscribe(sender.line(), series=1, timeout_s=60, lossless=True) as frames:
            received = [frame.pixels[0] for frame in frames]
            assert frames.lost == 0
        finished = sender.finish()
    assert finished.code == 0, finished.stderr
    assert finished.result["sent"] == 400
    np.testing.assert_array_equal(np.stack(received), movie)


def test_a_lossless_session_records_every_raw_frame(tmp_path: Path) -> None:
    simulate = ("simulate", "--bind", "tcp://127.0.0.1:*", "--size", "32", "--frames", "300", "--rate", "2000")
    with started(*simulate, "--lossless", "--raw", tmp_path / "sent.tif") as sender:
        serve = (
            "serve",
            "--engine",
            "echo",
            "--source",
            sender.line(),
            "--lossless",
            "--max-latency",
            "none",
            "--json",
        )
        finished = run(*serve, "--record", tmp_path / "s", "--record-raw", "--frames", "300")
    assert finished.code == 0, finished.stderr
    assert sum(finished.result["lost"].values()) == 0
    assert [page_count(path) for path in finished.result["recordings"]] == [300, 300]
