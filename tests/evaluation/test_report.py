from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepbid_rt.errors import FileError
from deepbid_rt.evaluation.evaluate import Evaluation, evaluate
from deepbid_rt.evaluation.metrics import METRICS
from deepbid_rt.evaluation.report import markdown_table, write_report
from tests.evaluation.test_evaluate import scene

PICTURES = {"frames.png", "yt.png", "error_map.png", "frame_correlation.png", "trace_correlation.png"}


@pytest.fixture(scope="module")
def found() -> Evaluation:
    truth, raw = scene(1)
    return evaluate((truth + raw) / 2, truth, raw)


def test_the_table_holds_every_metric_of_every_movie(found: Evaluation) -> None:
    lines = markdown_table(found).splitlines()
    assert lines[0] == (
        "| metric | what it is | ideal | denoised | raw | rolling mean 8 | exponential average 4 | best linear filter |"
    )
    assert {line.count("|") for line in lines} == {9}
    assert [line.split(" | ")[0][2:] for line in lines[2:]] == list(METRICS)
    row = next(line for line in lines if line.startswith("| snr_affine_db |"))
    values = [column.metrics["snr_affine_db"] for column in found.columns.values()]
    assert row.rstrip(" |").split(" | ")[3:] == [f"{value:.4g}" for value in values]


def test_the_report_is_a_folder_with_a_table_and_pictures(found: Evaluation, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    write_report(folder, found, "out.tif")
    assert {path.name for path in folder.iterdir()} == PICTURES | {"report.md"}
    text = (folder / "report.md").read_text()
    assert text.startswith("# out.tif\n\n| metric |")
    for name in PICTURES:
        assert f"]({name})" in text
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 100
    write_report(folder, found, "again")  # an existing report is replaced
    assert (folder / "report.md").read_text().startswith("# again\n")


def test_without_a_truth_the_report_names_the_missing_metrics(tmp_path: Path) -> None:
    _, raw = scene(2)
    blind = evaluate(raw, raw=raw)
    write_report(tmp_path, blind, "out.tif")
    assert {path.name for path in tmp_path.iterdir()} == {"frames.png", "yt.png", "report.md"}
    text = markdown_table(blind)
    assert "Not computed, as a reference is missing: correlation_xyt, " in text
    assert "| correlation_xyt |" not in text
    assert "| temporal_noise_ratio |" in text


def test_a_metric_without_a_value_is_a_dash() -> None:
    truth = np.broadcast_to(scene(1)[0][:1], (20, 1, 32, 32))
    table = markdown_table(evaluate(truth + np.random.default_rng(0).normal(0, 3, truth.shape), truth))
    assert next(line for line in table.splitlines() if "edge_width_ratio" in line).endswith("| - |")


def test_the_error_names_a_folder_that_cannot_be_written(found: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file cannot be written"):
        write_report(tmp_path / "file", found, "t")
    (tmp_path / "d" / "report.md").mkdir(parents=True)
    with pytest.raises(FileError, match="d cannot be written"):
        write_report(tmp_path / "d", found, "t")
