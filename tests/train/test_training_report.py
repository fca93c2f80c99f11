"""The report of a run: loss curves and held-out frames."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepbid_rt.errors import FileError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.train import training_report as module
from deepbid_rt.train.checkpoint import BEST, Checkpoint, load_checkpoint, save_checkpoint
from deepbid_rt.train.movie import ArrayMovie
from deepbid_rt.train.network import make_net
from deepbid_rt.train.recording import open_recording
from deepbid_rt.train.run_log import RunLog
from deepbid_rt.train.trainer import train
from deepbid_rt.train.training_report import REPORT, draw_report
from tests.training import COLLINEAR, ORDINARY, TINY, noisy_waves


def finished_run(folder: Path, recipe: Any) -> None:
    weights = make_net(recipe).state_dict()
    layouts = ("x collinear", "x ordinary")
    save_checkpoint(folder / BEST, Checkpoint(recipe, layouts, 3, weights, weights, {}, 1.2, 1.2, 3))
    with RunLog(folder, 0) as log:
        for step in range(1, 301):
            log.write(step, loss=1 / step)
        log.write(300, held_out=1.2)


class LoggingMovie(ArrayMovie):
    """Logs which frames are read."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        super().__init__(pixels)
        self.frames: set[int] = set()

    def read(self, t0: int, t1: int, *place: int) -> NDArray[Any]:
        self.frames |= set(range(t0, t1))
        return super().read(t0, t1, *place)


@pytest.mark.parametrize("mode", ["mp", "stream"])
@pytest.mark.parametrize("scan", [COLLINEAR, ScanGeometry("collinear", mirrored=False), ORDINARY])
def test_the_report_shows_held_out_frames(tmp_path: Path, mode: Any, scan: ScanGeometry) -> None:
    recipe = replace(TINY, mode=mode, patch=(1 if mode == "stream" else 8, 16, 16))
    finished_run(tmp_path, recipe)
    movie = LoggingMovie(noisy_waves())
    recording = open_recording(movie, scan, recipe)
    movie.frames.clear()
    path = draw_report(tmp_path, recording)
    assert min(movie.frames) == recording.training_frames
    with Image.open(path) as picture:
        assert picture.size == (1200, 840)
        assert np.asarray(picture.convert("L")).std() > 20


def test_all_panels_show_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an engine that returns its input, denoised and raw are the same picture."""
    from deepbid_rt.runtimes.echo import EchoEngine
    from tests.fakes import echo_card

    pixels = np.random.default_rng(0).normal(1000, 50, (80, 600, 300)).astype(np.int16)
    recipe = replace(TINY, mode="mp-rows")
    recording = open_recording(ArrayMovie(pixels), ORDINARY, recipe)
    raw, denoised, mean = module._pictures(recording, EchoEngine(echo_card(16, 8, 8, 8)))
    assert raw.shape == denoised.shape == mean.shape == (256, 256)
    assert np.abs(raw.astype(float) - denoised).max() <= 1
    held_out = pixels[recording.training_frames :, 172:428, 22:278]
    assert np.allclose(mean, held_out.mean(axis=0))
    assert np.array_equal(raw, held_out[len(held_out) // 2])


def test_a_run_draws_a_report_on_request(tmp_path: Path) -> None:
    summary = train([ArrayMovie(noisy_waves())], [COLLINEAR], replace(TINY, steps=2), tmp_path, report=True)
    assert summary.report == tmp_path / REPORT
    assert (tmp_path / REPORT).read_bytes().startswith(b"\x89PNG")


def test_a_report_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    finished_run(tmp_path, TINY)
    (tmp_path / REPORT).mkdir()
    recording = open_recording(ArrayMovie(noisy_waves()), COLLINEAR, TINY)
    message = f"the report {tmp_path / REPORT} cannot be written"
    with pytest.raises(FileError, match=f"^{re.escape(message)}.*the run itself is complete and can be exported"):
        draw_report(tmp_path, recording)


def test_the_report_names_a_collapsed_network(tmp_path: Path) -> None:
    finished_run(tmp_path, TINY)
    saved = load_checkpoint(tmp_path / BEST)
    recording = open_recording(ArrayMovie(noisy_waves()), COLLINEAR, TINY)
    pictures = []
    for response in (0.1, 1e-5):
        save_checkpoint(tmp_path / BEST, replace(saved, response=response))
        with RunLog(tmp_path, 299) as log:
            log.write(300, held_out=1.2, response=response)
        with Image.open(draw_report(tmp_path, recording)) as picture:
            top = np.asarray(picture.convert("RGB"))[:30].astype(int)
        pictures.append(int((top[..., 0] > top[..., 2] + 50).sum()))
    assert pictures[0] == 0
    assert pictures[1] > 500
