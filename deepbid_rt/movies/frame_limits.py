"""Limits of a frame, checked before anything is allocated for it."""

from __future__ import annotations

from pathlib import Path

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.frame import MAX_CHANNELS, MAX_SIDE


def check_frame_limits(path: Path, channels: int, lines: int, pixels: int) -> None:
    """Refuse frames that no stream carries. Raises `StreamError`."""
    if not (1 <= channels <= MAX_CHANNELS and 1 <= lines <= MAX_SIDE and 1 <= pixels <= MAX_SIDE):
        raise StreamError(
            f"{path} with frames of {channels} channels, {lines} lines and {pixels} pixels",
            expected=f"1..{MAX_CHANNELS} channels and 1..{MAX_SIDE} lines and pixels",
            todo="check the header of the recording, or save it in smaller pieces",
        )


def name_inside(folder: Path, name: str, source: Path) -> Path:
    """Return the path of a file that another file names and that must lie in the same folder.

    Raises
    ------
    FileError
        When the name leads out of the folder.
    """
    if not name or name in (".", "..") or any(sign in name for sign in "/\\:\0"):
        raise FileError(
            f"{source} names the file {name!r}",
            expected=f"the name of a file in {folder}, without folders",
            todo="give the folder as the microscope's software wrote it",
        )
    return folder / name
