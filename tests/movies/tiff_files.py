"""TIFF files for the tests: the pixels of a page encode its time point, plane and channel."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

SIDE = 64


def value(t: int, plane: int = 0, channel: int = 0) -> int:
    return 300 * t + 30 * plane + 3 * channel + 1


def page(number: int, dtype: str = "i2", shape: tuple[int, int] = (SIDE, SIDE)) -> NDArray[Any]:
    """Return a page whose first pixel is a number, and whose other pixels differ from each other."""
    pixels = (np.arange(shape[0] * shape[1]) % 7).reshape(shape)
    pixels[0, 0] = 0
    return (pixels + number).astype(dtype)


def write(
    path: Path,
    numbers: Iterable[int],
    descriptions: Sequence[str] | Callable[[int], str] | None = None,
    *,
    software: str | None = None,
    artist: str | None = None,
    dtype: str = "i2",
    shape: tuple[int, int] = (SIDE, SIDE),
    **options: Any,
) -> Path:
    """Write one directory per page; the header in the first one only, as few programs repeat it."""
    with tifffile.TiffWriter(path, bigtiff=True, byteorder=options.pop("byteorder", "<")) as writer:
        for at, number in enumerate(numbers):
            text = descriptions(at) if callable(descriptions) else descriptions[at] if descriptions else None
            extra = [(315, "s", 0, artist, True)] if artist and at == 0 else []
            writer.write(
                page(number, dtype, shape),
                contiguous=False,
                metadata=None,
                photometric=options.get("photometric", "minisblack"),
                description=text.encode() if text is not None else None,
                software=software if at == 0 else None,
                extratags=extra,
                **{key: one for key, one in options.items() if key != "photometric"},
            )
    return path


def imagej_file(path: Path, numbers: Sequence[int], description: str, *, keep: int | None = None) -> Path:
    """Write a big-endian TIFF with one directory for all pages, as ImageJ does for large stacks."""
    text = description.encode() + b"\0"
    tags = 9
    at = 8 + 2 + 12 * tags + 4
    data = at + len(text) + (at + len(text)) % 2
    fields = [
        (256, 3, 1, SIDE << 16),
        (257, 3, 1, SIDE << 16),
        (258, 3, 1, 16 << 16),
        (259, 3, 1, 1 << 16),
        (262, 3, 1, 1 << 16),
        (270, 2, len(text), at),
        (273, 4, 1, data),
        (277, 3, 1, 1 << 16),
        (279, 4, 1, SIDE * SIDE * 2),
    ]
    raw = b"MM\0*" + struct.pack(">IH", 8, tags) + b"".join(struct.pack(">HHII", *one) for one in fields)
    raw += b"\0" * 4 + text
    raw = raw.ljust(data, b"\0") + b"".join(page(one).astype(">u2").tobytes() for one in numbers)
    path.write_bytes(raw[:keep] if keep else raw)
    return path


def firsts(movie: Any) -> list[list[int]]:
    """Return the first pixel of each frame and channel, and check the other pixels."""
    frames = movie.read(0, movie.shape[0])
    found = frames[:, :, 0, 0].astype(int)
    for frame, numbers in zip(frames, found, strict=True):
        for pixels, number in zip(frame, numbers, strict=True):
            np.testing.assert_array_equal(pixels, page(number, "f8", pixels.shape).astype(pixels.dtype))
    return found.tolist()


def expected(order: Iterable[tuple[int, int]], channels: int = 1) -> list[list[int]]:
    """Return what `firsts` returns for frames (t, plane)."""
    return [[value(t, plane, channel) for channel in range(channels)] for t, plane in order]
