"""Writes snapshots (the window as PNG, the frames as TIFF, the state as JSON) and the traces as CSV."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from numpy.typing import NDArray

from deepbid_rt.errors import FileError
from deepbid_rt.recording.tiff_writer import TiffMovieWriter
from deepbid_rt.viewer.viewer_model import ViewerModel


def write_snapshot(
    folder: Path,
    index: int,
    frames: Mapping[str, NDArray[Any]],
    state: Mapping[str, Any],
    save_picture: Callable[[Path], bool],
) -> list[Path]:
    """Write a snapshot; existing files are never overwritten.

    Parameters
    ----------
    folder : Path
        Created when missing.
    index : int
        Number of the frame.
    frames : mapping
        Frames (C, Y, X) by name, such as ``raw`` and ``denoised``.
    state : mapping
        Values for the JSON file.
    save_picture : callable
        Saves the picture of the window as PNG; returns False when that failed.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    FileError
        When a file cannot be written.
    """
    try:
        stem = _free_stem(folder, f"snapshot_{index:06d}")
        picture, text = stem.with_suffix(".png"), stem.with_suffix(".json")
        if not save_picture(picture):
            raise _unwritable(picture, "the picture was not saved")
        text.write_text(json.dumps(state, indent=1, default=str), encoding="utf-8")
    except OSError as error:
        raise _unwritable(folder, error.strerror or str(error)) from error
    files = [picture, text]
    for name, pixels in frames.items():
        path = stem.with_name(f"{stem.name}_{name}.tif")
        writer = TiffMovieWriter(path, facts={"snapshot": name, "frame": index})
        writer.append(pixels, index, 0.0)
        writer.close()
        files.append(path)
    return files


def state_of(model: ViewerModel) -> dict[str, Any]:
    """Return choices, contrast limits, regions and facts of the viewer as values for JSON."""
    c, levels, pair = model.controls, model.levels, model.playback.shown
    facts = asdict(model.facts())
    facts["lost_now"] = sorted(facts["lost_now"])
    facts["late_ms"] = None if math.isinf(facts["late_ms"]) else facts["late_ms"]
    return {
        "series": model.feed.info.series if model.feed.info else None,
        "t_ns": pair.t_ns if pair else None,
        "mode": c.mode,
        "average_frames": c.average,
        "channels_drawn": c.drawn,
        "maps": c.maps,
        "limits": {
            source: {str(channel): levels.of(source, channel) for channel in c.drawn} for source in model.images
        },
        "limits_independent": levels.independent,
        "limits_locked": levels.locked,
        "regions": [asdict(roi) for roi in model.regions()],
        "facts": facts,
    }


def write_traces(folder: Path, write: Callable[[TextIO], int]) -> tuple[Path, int]:
    """Write traces to a new CSV file.

    Parameters
    ----------
    folder : Path
        Created when missing.
    write : callable
        Writes to an open text file and returns the number of lines.

    Returns
    -------
    tuple
        The path of the file, and the number of lines.

    Raises
    ------
    FileError
        When the file cannot be written.
    """
    try:
        path = _free_stem(folder, "traces").with_suffix(".csv")
        with path.open("w", newline="", encoding="utf-8") as file:
            return path, write(file)
    except OSError as error:
        raise _unwritable(folder, error.strerror or str(error)) from error


def _free_stem(folder: Path, name: str) -> Path:
    """Return a path without suffix that no file has yet. It holds the time, so that files sort by time."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name}_{time.strftime('%Y%m%d-%H%M%S')}"
    tries = (folder / (stem if n == 1 else f"{stem}-{n}") for n in range(1, 10_000))
    return next(path for path in tries if not any(folder.glob(f"{path.name}.*")))


def _unwritable(path: Path, reason: str) -> FileError:
    return FileError(
        f"{path} cannot be written ({reason})",
        expected="a folder that can be written",
        todo="choose another with --out",
    )
