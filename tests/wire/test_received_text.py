"""Text of other programs, on displays."""

from __future__ import annotations

import pytest

from deepbid_rt.wire.received_text import MAX_TEXT, received_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the disk is full; make room.", "the disk is full; make room."),
        ("größer als 3 µm", "größer als 3 µm"),
        ("\x1b[2J\x07\r\n\x9b31m", "?[2J????31m"),
        ("abc\u202egpj.exe\u2028", "abc?gpj.exe?"),
        ("\ud800\x00", "??"),
        ("x" * 10**6, "x" * MAX_TEXT),
    ],
)
def test_a_text_cannot_command_a_display(text: str, shown: str) -> None:
    assert received_text(text) == shown
