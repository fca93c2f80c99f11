"""XML of recordings, read without trusting it: no document type, no entities, no endless depth, no endless file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from deepbid_rt.errors import DeepbidError, FileError

MAX_XML_BYTES = 2**24
"""Largest XML that is kept as a tree."""
_MAX_DEPTH = 64
_CHUNK = 2**20


class XmlTarget(Protocol):
    """Takes the elements of an XML in their order, as `xml.etree.ElementTree.XMLParser` gives them."""

    def start(self, tag: str, attributes: dict[str, str], /) -> Any:
        """Take the start of an element."""
        ...

    def end(self, tag: str, /) -> Any:
        """Take the end of an element."""
        ...


class _Guard:
    """Passes elements on to a target, and refuses what no microscope writes."""

    def __init__(self, path: Path, target: XmlTarget) -> None:
        self._path, self._target, self._depth = path, target, 0

    def doctype(self, name: str, *_: object) -> None:
        raise FileError(
            f"{self._path} with a document type ({name})",
            expected="XML as the microscope's software writes it, without document type and entities",
            todo="give the XML that the microscope's software wrote",
        )

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise FileError(
                f"{self._path} with more than {_MAX_DEPTH} elements inside each other",
                expected="XML as the microscope's software writes it",
                todo="give the XML that the microscope's software wrote",
            )
        self._target.start(tag, attributes)

    def end(self, tag: str) -> None:
        self._depth -= 1
        self._target.end(tag)


def feed_xml(path: Path, target: XmlTarget, max_bytes: int) -> str | None:
    """Give the elements of an XML file to a target, piece by piece; the file is never kept as a whole.

    Parameters
    ----------
    path : Path
        The file.
    target : XmlTarget
        Takes its elements; what it raises, as `FileError`, ends the reading.
    max_bytes : int
        Largest file that is read.

    Returns
    -------
    str or None
        What is wrong with the XML behind the last element that was given; None when it is whole.

    Raises
    ------
    FileError
        When the file cannot be read, is too large, or has a document type or entities.
    """
    parser = XMLParser(target=_Guard(path, target))
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise FileError(
                    f"{path} of {size} bytes",
                    expected=f"an XML of at most {max_bytes} bytes",
                    todo="check whether it is the XML of the recording",
                )
            left = size
            while left > 0 and (piece := file.read(min(_CHUNK, left))):
                left -= len(piece)
                parser.feed(piece)
            parser.close()
    except DeepbidError:
        raise
    except OSError as error:
        raise FileError(
            f"{path} cannot be read ({error.strerror or error})",
            expected="a file that may be read",
            todo="check the path and the rights",
        ) from error
    except (ParseError, ValueError, LookupError) as error:  # of its syntax, and of its encoding
        return str(error)
    return None


def read_xml(path: Path, root: str) -> Element:
    """Return the tree of a small XML file.

    Parameters
    ----------
    path : Path
        The file, of `MAX_XML_BYTES` at most.
    root : str
        Name that its outermost element must have.

    Raises
    ------
    FileError
        When it cannot be read, is no whole XML, has a document type or entities, or another outermost element.
    """
    builder = TreeBuilder()
    problem = feed_xml(path, builder, MAX_XML_BYTES)
    if problem is None:
        tree: Element = builder.close()
        if tree.tag == root:
            return tree
        problem = f"its outermost element is {tree.tag}"
    raise FileError(
        f"{path} is no whole XML of {root} ({problem})",
        expected="the XML that the microscope's software wrote",
        todo="copy it again, or wait until the recording has ended",
    )


def starts_with_element(path: Path, name: str) -> bool:
    """Tell from the first bytes of a file whether it is an XML with this outermost element; raises nothing."""
    try:
        with path.open("rb") as file:
            head = file.read(2048)
    except (OSError, ValueError):
        return False
    return f"<{name}".encode() in head or f"<{name}".encode("utf-16-le") in head


def number_of(attributes: dict[str, str], key: str, default: float | None = None) -> float | None:
    """Return an attribute as a finite number; the default when it is missing or none."""
    try:
        value = float(attributes[key])
    except (KeyError, ValueError):
        return default
    return value if abs(value) < 1e300 else default  # also of nan


def integer_of(attributes: dict[str, str], key: str, default: int) -> int:
    """Return an attribute as a whole number; the default when it is missing or none."""
    value = number_of(attributes, key)
    return default if value is None or value != int(value) else int(value)
