"""Compressed pages that claim to be small: how large they become is checked before they are decoded."""

from __future__ import annotations

import lzma
import zlib
from typing import Any, Protocol

ALLOWED_BYTES = 2**28
"""Segments that cannot become larger than this are decoded unchecked. It is the size of the largest frame."""
_PIECE = 2**20
_DEFLATE, _LZMA = (8, 32946, 50013), (34925,)
_LARGEST_RATIO = {**dict.fromkeys(_DEFLATE, 1032), **dict.fromkeys(_LZMA, 7100)}


class _Page(Protocol):
    """What is needed of a page of tifffile."""

    compression: Any
    databytecounts: tuple[int, ...]
    dataoffsets: tuple[int, ...]
    parent: Any

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels."""
        ...


def check_expansion(page: _Page) -> None:
    """Raise `ValueError` when a strip or tile of a page becomes much larger than the page itself.

    The decoders of Python take as much memory as the data ask for: a thousand times their length.
    """
    compression = int(page.compression)
    ratio = _LARGEST_RATIO.get(compression)
    if ratio is None:  # other codecs write into memory of the size of the page
        return
    limit = 2 * page.nbytes + 2**16
    handle = page.parent.filehandle
    for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if count * ratio > ALLOWED_BYTES:
            with handle.lock:
                handle.seek(start)
                data = handle.read(count)
            _check(zlib.decompressobj() if compression in _DEFLATE else lzma.LZMADecompressor(), data, limit)


def _check(decoder: Any, data: bytes, limit: int) -> None:
    size = 0
    while not decoder.eof:
        piece = decoder.decompress(data, _PIECE)
        size += len(piece)
        if size > limit:
            raise ValueError(f"more than {limit} bytes come out of {len(data)}")
        rest = getattr(decoder, "unconsumed_tail", b"")
        if not piece and not rest:
            return  # cut: the decoder will say so
        data = rest
