"""XML that attacks its reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepbid_rt.errors import FileError
from deepbid_rt.movies import safe_xml
from deepbid_rt.movies.safe_xml import integer_of, number_of, read_xml, starts_with_element

BOMB = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]>'


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "a.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_tree(tmp_path: Path) -> None:
    tree = read_xml(write(tmp_path, '\ufeff<?xml version="1.0"?><A><B x="1" /></A>'), "A")
    assert tree.find("B") is not None
    assert read_xml(write(tmp_path, '<?xml version="1.0" encoding="utf-16"?><A/>'.encode("utf-16")), "A").tag == "A"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB + "<A>&c;</A>", "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><A/>', "document type"),
        ("<A>" * 100_000, "inside each other"),
        ("<A><B>", "no whole XML"),
        ("<A>&b;</A>", "no whole XML"),
        ("<B/>", "outermost element is B"),
        ("", "no whole XML"),
        (b"\xff\xfe\x00", "no whole XML"),
        ('<?xml version="1.0" encoding="none"?><A/>', "no whole XML"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    with pytest.raises(FileError, match=sentence):
        read_xml(write(tmp_path, text), "A")


def test_files_that_are_too_large_or_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_xml, "MAX_XML_BYTES", 100)
    with pytest.raises(FileError, match="at most 100 bytes"):
        read_xml(write(tmp_path, "<A>" + " " * 200 + "</A>"), "A")
    with pytest.raises(FileError, match="cannot be read"):
        read_xml(tmp_path / "none.xml", "A")


def test_the_first_bytes(tmp_path: Path) -> None:
    assert starts_with_element(write(tmp_path, "<?xml?>\n<A x='1'>"), "A")
    assert starts_with_element(write(tmp_path, "<A>".encode("utf-16")), "A")
    assert not starts_with_element(write(tmp_path, " " * 5000 + "<A>"), "A")
    assert not starts_with_element(tmp_path, "A")
    assert not starts_with_element(tmp_path / "none", "A")


def test_numbers() -> None:
    values = {"a": "1.5", "b": "nan", "c": "x", "d": "7", "e": "inf", "f": "1e20"}
    assert [number_of(values, key) for key in "abcdg"] == [1.5, None, None, 7.0, None]
    assert number_of(values, "e") is None
    assert [integer_of(values, key, -1) for key in "abcdeg"] == [-1, -1, -1, 7, -1, -1]
    assert integer_of(values, "f", 0) == 10**20
