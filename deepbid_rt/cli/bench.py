"""``deepbid-rt bench``: times engines on the GPU of this computer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from deepbid_rt.cli.output import print_json, print_table, say
from deepbid_rt.errors import EngineError, FileError, StageError, require_effect
from deepbid_rt.runtimes import DEFAULT_ENGINE, find_engine

WINDOW_ENGINE = "window"


def bench_command(
    engine: Annotated[str, typer.Option("--engine", help="Stream engine, name or .onnx file.")] = DEFAULT_ENGINE,
    window_engine: Annotated[
        str, typer.Option("--window-engine", help="Window engine, name or .onnx file.")
    ] = WINDOW_ENGINE,
    out: Annotated[Path | None, typer.Option(help="Folder for every figure, as bench_gpu.json.")] = None,
    compiled: Annotated[
        bool | None, typer.Option(help="Also with torch.compile, which takes minutes; the default, except with --tiny.")
    ] = None,
    tiny: Annotated[bool, typer.Option(help="Only see that everything runs; its times mean nothing.")] = False,
) -> None:
    """Check and time the torch runtime: precision, network, and the whole way of a frame. The last line is JSON."""
    require_effect(
        "--compiled",
        compiled,
        not tiny,
        why="with --tiny, which compiles nothing",
        expected="a benchmark that measures",
        todo="leave --tiny out",
    )
    try:
        from deepbid_rt.benchmark import gpu
    except ImportError as error:
        raise EngineError(
            f"a benchmark without {error.name}",
            expected="the extra 'train' to be installed",
            todo='run pip install "deepbid-rt[train]"',
        ) from error
    settings = gpu.BenchmarkSettings(find_engine(engine), find_engine(window_engine), compiled=compiled is not False)
    result = gpu.run(gpu.smallest(settings) if tiny else settings, say)
    rows = [(name, *_columns(figures)) for name, figures in result.items() if name not in ("machine", "errors")]
    print_table(str(result["machine"]["device"]), rows, ("", "p50 ms", "p99 ms", "frames/s", "missed at"))
    if out:
        _write(out, result)
    print_json(result)
    if result["errors"]:
        first = next(iter(result["errors"]))
        raise StageError(
            f"{len(result['errors'])} parts of the benchmark failed, first {first!r} "
            f"({result['errors'][first].strip().splitlines()[-1]})",
            expected="figures",
            todo="look at 'errors' in the JSON; the other parts are whole",
        )


def _columns(figures: dict[str, Any]) -> tuple[str, str, str, str]:
    times = figures.get("latency", figures)
    missed = [f"{paced['rate_hz']:.0f} Hz: {paced['missed']}" for paced in figures.get("paced", ()) if paced["missed"]]
    cells = times.get("p50_ms"), times.get("p99_ms"), figures.get("sustained_hz")
    p50, p99, rate = ("-" if cell is None else f"{cell:.3f}" for cell in cells)
    return p50, p99, rate, ", ".join(missed) or "-"


def _write(folder: Path, result: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bench_gpu.json").write_text(json.dumps(result))
    except OSError as error:
        raise FileError(
            f"{folder}/bench_gpu.json cannot be written ({error.strerror})",
            expected="a folder with room for it",
            todo="choose another with --out",
        ) from error
