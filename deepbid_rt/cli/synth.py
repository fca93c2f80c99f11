"""``deepbid-rt synth``: writes a simulated movie with its ground truth: clean movie, cells and traces."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import numpy as np
import typer
from numpy.typing import NDArray

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import number, print_json, progress_bar, say
from deepbid_rt.errors import FileError, StageError
from deepbid_rt.evaluation.moments import Moments
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.recording.tiff_writer import TiffMovieWriter
from deepbid_rt.scan.directions import split_scan, to_image_order
from deepbid_rt.simulator.cells import Cells
from deepbid_rt.simulator.presets import movie_preset
from deepbid_rt.simulator.raster import Raster
from deepbid_rt.simulator.synthetic import SyntheticSource

RAW, TRUTH, TRACES, LABELS, FACTS = "raw.tif", "truth.tif", "traces.csv", "cells.tif", "cells.json"


class MoviePreset(StrEnum):
    """Named simulated movies."""

    CALCIUM = "calcium-vibrating"
    VESSELS = "vessels-flow"
    HEART = "heart-beating"


class Bits(StrEnum):
    """Bits of the digitiser."""

    EIGHT = "8"
    TWELVE = "12"
    SIXTEEN = "16"


def synth_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for the files; created if needed.")],
    preset_name: Annotated[MoviePreset, typer.Option("--preset", help="Tissue to image.")] = MoviePreset.CALCIUM,
    frames: o.FramesOption = 300,
    size: o.SizeOption = 256,
    seed: o.SeedOption = 1,
    scan: o.ScanOption = o.LayoutChoice.COLLINEAR,
    first: o.FirstOption = o.DirectionChoice.FORWARD,
    unmirrored: o.UnmirroredOption = False,
    unidirectional: o.UnidirectionalOption = False,
    bits: Annotated[Bits, typer.Option(help="Bits of the digitiser.")] = Bits.SIXTEEN,
    photons: Annotated[
        float | None, typer.Option(min=0.0, help="Mean photons per pixel of one line; default: the preset's.")
    ] = None,
    motion_px: Annotated[
        float | None,
        typer.Option("--motion", min=0.0, help="Motion of the whole tissue, pixels rms; default: the preset's."),
    ] = None,
    fill: Annotated[
        float,
        typer.Option(
            "--sinusoidal", min=0.0, max=0.99, help="Resonant mirror: share of its swing in which it samples."
        ),
    ] = 0.0,
    line_phase_px: o.ScannedPhaseOption = 0.0,
    as_json: o.JsonOption = False,
) -> None:
    """Write a simulated movie, its clean truth, and the pixels and true trace of every cell."""
    scene, microscope = movie_preset(
        preset_name.value,
        (size, size),
        seed,
        scan=o.scan_geometry(scan, first, unmirrored, unidirectional, line_phase_px),
        bits=int(bits),
        photons=photons,
        motion_px=motion_px,
        fill=fill,
    )
    microscope = replace(microscope, line_phase_px=line_phase_px)
    source = SyntheticSource(scene, microscope, frames)
    _make_folder(out)
    columns = Raster(microscope.size, microscope.scan, None, fill).pixel_columns()
    cells = Cells(source.tissue, microscope.size, columns)
    moments = Moments()
    with ExitStack() as stack:
        raw_file, truth_file = (stack.enter_context(closing(TiffMovieWriter(out / name))) for name in (RAW, TRUTH))
        rows = csv.writer(stack.enter_context(_new_text(out / TRACES)), lineterminator="\n")
        rows.writerow(["frame", "t_s", *(f"cell_{cell.label}" for cell in cells.cells)])
        bar = stack.enter_context(progress_bar())
        task = bar.add_task("simulating", total=frames, note="")
        for index in range(frames):
            pixels, truth = source.render(index)
            t_s = index / microscope.rate_hz
            raw_file.append(pixels, index, t_s)
            truth_file.append(truth, index, t_s)
            rows.writerow([index, f"{t_s:.6f}", *(f"{level:.5g}" for level in cells.traces(index).tolist())])
            moments += Moments.of(_like_truth(pixels, source.info.scan), truth.ravel().astype(np.float64))
            bar.update(task, advance=1)
    with closing(TiffMovieWriter(out / LABELS)) as labels_file:
        labels_file.append(cells.labels[None], 0, 0.0)
    correlation = round(moments.correlation(), 4)
    facts = {
        "preset": preset_name.value,
        "frames": frames,
        "correlation_xyt_raw": correlation,
        "scene": asdict(scene),
        "microscope": asdict(microscope),
        "heart_hz": source.tissue.beat.beats_hz if source.tissue.beat else None,
        "flow_mm_s": [round(speed * scene.pixel_um / 1e3, 3) for speed in source.tissue.blood.speed_px_s.tolist()],
        "cells": [asdict(cell) for cell in cells.cells],
    }
    with _new_text(out / FACTS) as file:
        file.write(json.dumps(facts, indent=1) + "\n")
    say(f"{frames} frames, {len(cells.cells)} cells in {out}; raw correlation with the truth {number(correlation, 3)}")
    if as_json:
        about = {key: facts[key] for key in ("preset", "frames", "correlation_xyt_raw")}
        print_json({"out": str(out), **about, "photons": microscope.photons, "cells": len(cells.cells)})


def _like_truth(pixels: NDArray[Any], scan: ScanGeometry) -> NDArray[np.float64]:
    """Return a raw frame (1, Y, X) in the layout of its truth (image order, views averaged), flattened."""
    if scan.layout == "ordinary":
        return to_image_order(pixels, scan).ravel().astype(np.float64)
    forward, backward = (view.ravel().astype(np.float64) for view in split_scan(pixels, scan))
    return (forward + backward) / 2


def _make_folder(out: Path) -> None:
    """Create the folder and check that no file in it would be overwritten, before the first frame is simulated."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"the folder {out} cannot be created ({error.strerror})",
            expected="a folder that can be written",
            todo="check the path and its rights",
        ) from error
    for name in (RAW, TRUTH, TRACES, LABELS, FACTS):
        if (out / name).exists():
            raise FileError(
                f"{out / name} exists already",
                expected="a folder without a movie, as files are never overwritten",
                todo="move it away or choose another folder",
            )


@contextmanager
def _new_text(path: Path) -> Iterator[TextIO]:
    """Open a new text file; raises `StageError` when it cannot be opened or written."""
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            yield file
    except OSError as error:
        raise StageError(
            f"{path} could not be written ({error.strerror})",
            expected="enough free space",
            todo="free space and choose another folder",
        ) from error
