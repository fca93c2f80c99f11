"""Pictures for people: labelled panels in rows in one PNG, all drawn with the same contrast.

A shared contrast makes panels comparable: a panel does not look better only because its grey levels were chosen for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deepbid_rt.errors import FileError, StreamError

BACKGROUND, TEXT = (18, 20, 24), (236, 238, 242)
_NOTE_TEXT = (150, 156, 166)
_MARGIN, _GUTTER = 24, 14  # pixels around all panels and between two
_LABEL, _TITLE, _NOTE = 20, 24, 14  # heights of letters, pixels


def side_by_side(
    panels: Sequence[tuple[str, NDArray[Any]]],
    path: Path | str,
    title: str | None = None,
    *,
    reference: int | None = 0,
    percentiles: tuple[float, float] = (1.0, 99.8),
    side: int = 512,
    columns: int | None = None,
) -> None:
    """Write labelled grey panels into one PNG.

    Parameters
    ----------
    panels : sequence of (str, ndarray)
        Label and counts (Y, X), from left to right; small panels are enlarged by whole factors without smoothing.
    path : Path or str
        The PNG; overwritten when it exists.
    title : str, optional
        A line above the panels.
    reference : int or None
        The panel whose percentiles set black and white in every panel. None: each panel has its own limits, and a note
        below it gives them.
    percentiles : tuple of float
        Percentiles of the reference's pixels that become black and white.
    side : int
        Length of the larger side of an enlarged panel, pixels, at most.
    columns : int, optional
        Panels in one row; all by default.

    Raises
    ------
    StreamError
        When there is no panel, or one is not a 2D array of finite counts.
    FileError
        When the file cannot be written.
    """
    if not panels:
        raise StreamError("a picture without panels", expected="at least one panel", todo="give the frames to show")
    for label, pixels in panels:
        if pixels.ndim != 2 or not pixels.size or not np.isfinite(pixels).all():
            raise StreamError(
                f"panel {label!r} of shape {pixels.shape}",
                expected="finite counts (Y, X)",
                todo="choose one channel of one frame, or the mean over frames",
            )
    shared = None if reference is None else _limits(panels[reference][1], percentiles)
    tiles = []
    notes = []
    for label, pixels in panels:
        black, white = shared or _limits(pixels, percentiles)
        tiles.append((label, _grey(pixels, black, white, max(1, side // max(pixels.shape)))))
        notes.append(f"{black:.4g} to {white:.4g} counts")
    every = [f"black to white: {notes[0]}, in every panel"]
    picture = _compose(tiles, title, notes if shared is None else every, columns or len(tiles))
    save_png(picture, path)


def save_png(picture: Image.Image, path: Path | str) -> None:
    """Write a picture as PNG.

    Raises
    ------
    FileError
        When the file cannot be written.
    """
    try:
        picture.save(Path(path), format="PNG", optimize=True)
    except OSError as error:
        raise not_writable(path, error) from error


def not_writable(path: Path | str, error: OSError) -> FileError:
    """Return the error that says that a file or folder cannot be written."""
    return FileError(
        f"{path} cannot be written ({error.strerror or error})",
        expected="a folder that can be written",
        todo="check the path and its rights",
    )


def _limits(pixels: NDArray[Any], percentiles: tuple[float, float]) -> tuple[float, float]:
    """Return the counts of black and white; white is above black even for a constant panel."""
    black, white = np.percentile(pixels.astype(np.float64), percentiles)
    return float(black), float(white) if white > black else float(black) + 1.0


def _grey(pixels: NDArray[Any], black: float, white: float, factor: int) -> Image.Image:
    scaled = np.clip((pixels.astype(np.float64) - black) / (white - black), 0, 1)
    grey = np.rint(scaled * 255).astype(np.uint8)
    return Image.fromarray(grey.repeat(factor, axis=0).repeat(factor, axis=1))


def _compose(
    tiles: Sequence[tuple[str, Image.Image]], title: str | None, notes: Sequence[str], columns: int
) -> Image.Image:
    """Draw title, labels, panels and notes on a dark background; a note is below each panel, or one is below all."""
    label_font, title_font, note_font = (ImageFont.load_default(size) for size in (_LABEL, _TITLE, _NOTE))
    below_each = len(notes) == len(tiles)
    widths = [max(tile.width, int(label_font.getlength(label))) for label, tile in tiles]
    if below_each:
        widths = [max(width, int(note_font.getlength(note))) for width, note in zip(widths, notes, strict=True)]
    across = [max(widths[column::columns]) for column in range(min(columns, len(tiles)))]
    content = sum(across) + _GUTTER * (len(across) - 1)
    content = max(content, int(title_font.getlength(title or "")), int(note_font.getlength(notes[0])))
    top = _MARGIN + (2 * _TITLE if title else 0)
    height = _LABEL + 12 + max(tile.height for _, tile in tiles) + 12 + (_NOTE + _GUTTER if below_each else 0)
    rows = -(-len(tiles) // columns)
    below = top + rows * height
    size = content + 2 * _MARGIN, below + (0 if below_each else _NOTE) + _MARGIN
    picture = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(picture)
    if title:
        draw.text((_MARGIN, _MARGIN), title, TEXT, title_font, anchor="lt")
    for number, (label, tile) in enumerate(tiles):
        row, column = divmod(number, columns)
        x, y = _MARGIN + sum(across[:column]) + _GUTTER * column, top + row * height
        draw.text((x, y + _LABEL), label, TEXT, label_font, anchor="ls")
        picture.paste(tile, (x, y + _LABEL + 12))
        if below_each:
            draw.text((x, y + _LABEL + tile.height + 24), notes[number], _NOTE_TEXT, note_font, anchor="lt")
    if not below_each:
        draw.text((_MARGIN, below), notes[0], _NOTE_TEXT, note_font, anchor="lt")
    return picture
