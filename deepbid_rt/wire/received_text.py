"""Text that came from another program, made fit for displays."""

from __future__ import annotations

MAX_TEXT = 300
"""Characters of a text that a reader keeps."""


def received_text(text: str, limit: int = MAX_TEXT) -> str:
    """Return a text cut to `limit` characters, with ``?`` for each character that is not printable.

    Control characters could command a terminal, line ends forge a line, and marks for the direction of writing turn the
    order of words around.
    """
    cut = text[:limit]
    return cut if cut.isprintable() else "".join(c if c.isprintable() else "?" for c in cut)
