"""Text that a terminal shows as it is: what controls a terminal becomes a visible escape."""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    r"""Replace every character that is not printable by its escape, such as ``\x1b``.

    Text of senders, files and other programs may hold commands to the terminal, or line ends that forge a log line.

    Parameters
    ----------
    keep : str
        Characters to leave as they are, such as a line end.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
