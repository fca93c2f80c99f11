"""The OME-XML of an OME-TIFF: which page of which file shows which plane, channel and time point.

After the OME schema (https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html), and read off real
files of Micro-Manager, ThorImage, Prairie View and tifffile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.frame_limits import name_inside
from deepbid_rt.movies.given_order import given_order, pages_in_words
from deepbid_rt.movies.hyperstack import Hyperstack, slices_as_planes, whole_time_points
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.page_descriptions import median_rate_hz
from deepbid_rt.movies.page_list import PageList
from deepbid_rt.movies.tiff_stack import TiffStack
from deepbid_rt.movies.wanted import Wanted

MAX_OME_BYTES = 2**26
"""Largest OME-XML that is read: about 200,000 planes."""
_MAX_DEPTH = 64
_UM = {"": 1.0, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "Å": 1e-4}
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "μs": 1e-6, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class _Block:
    """Planes that follow each other in one file."""

    file: str | None
    """None: the file with the XML."""
    page: int
    count: int | None
    """None: all pages of the file."""
    first: tuple[int, int, int]
    """(C, Z, T) of the first."""


@dataclass(slots=True)
class OmeImage:
    """What an OME-XML says about its only image."""

    stack: Hyperstack
    order: str
    """Axes from the fastest to the slowest, such as ``CZT``."""
    blocks: list[_Block] = field(default_factory=list)
    pixel_um: tuple[float, float] | None = None
    interval_s: float | None = None
    names: tuple[str, ...] = ()
    times_s: dict[tuple[int, int], float] = field(default_factory=dict)
    """By (time point, slice)."""
    warnings: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[str | None]:
        """The files of the set, each once."""
        return list(dict.fromkeys(block.file for block in self.blocks))


class _Guard(TreeBuilder):
    """Builds a tree; refuses what no microscope writes."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name, self._depth = name, 0

    def doctype(self, name: str, *_: object) -> None:
        raise FileError(
            f"{self._name}, whose OME-XML has a document type ({name})",
            expected="OME-XML without document type and entities",
            todo="give the file as the microscope's software wrote it",
        )

    def start(self, tag: Any, attrs: Any, /) -> Element:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise FileError(
                f"{self._name}, whose OME-XML has more than {_MAX_DEPTH} elements inside each other",
                expected="OME-XML as the microscope's software writes it",
                todo="give the file as the microscope's software wrote it",
            )
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def ome_xml(stack: TiffStack) -> bytes | None:
    """Return the OME-XML of a file; None when it has none."""
    for value in stack.tags(270):
        text = value.split(b"\0")[0].strip().removeprefix(b"\xef\xbb\xbf")
        if text[:1] == b"<" and (b"<OME" in text[:2000] or b":OME" in text[:2000]):
            return text
    return None


def read_ome(path: Path, xml: bytes) -> tuple[OmeImage, Path]:
    """Return the image of an OME-TIFF, and the file whose XML describes it.

    Parameters
    ----------
    path : Path
        The file.
    xml : bytes
        Its OME-XML, which may only name the file of the set that has the whole one.

    Raises
    ------
    FileError
        When the XML is damaged, has a document type, or names a file that is missing or in another folder.
    StreamError
        When it has several images or colours.
    """
    root = _parse(path.name, xml)
    only = _child(root, "BinaryOnly")
    if only is not None:
        path = name_inside(path.parent, only.get("MetadataFile", ""), path)
        xml = _companion(path)
        root = _parse(path.name, xml)
    return _image(path, root), path


def _companion(path: Path) -> bytes:
    """Return the OME-XML of another file of the set."""
    if not path.is_file():
        raise FileError(
            f"no file {path}, which has the metadata of the OME-TIFF",
            expected="all files of the set in one folder",
            todo="copy the whole folder",
        )
    if path.suffix.lower() in (".ome", ".xml"):
        try:
            with path.open("rb") as file:
                return file.read(MAX_OME_BYTES + 1)
        except OSError as error:
            raise FileError(
                f"{path} cannot be read ({error.strerror})", expected="an OME-XML", todo="check its permissions"
            ) from error
    stack = TiffStack(path)
    try:
        found = ome_xml(stack)
    finally:
        stack.close()
    if found is None:
        raise FileError(f"{path} without OME-XML", expected="the first file of the set", todo="copy the whole folder")
    return found


def _parse(name: str, xml: bytes) -> Element:
    if len(xml) > MAX_OME_BYTES:
        raise FileError(
            f"{name}, whose OME-XML has {len(xml)} bytes or more",
            expected=f"at most {MAX_OME_BYTES} bytes",
            todo="save the recording in smaller pieces",
        )
    parser = XMLParser(target=_Guard(name))
    try:
        parser.feed(xml)
        root: Element = parser.close()
    except (ParseError, ValueError, LookupError) as error:
        raise FileError(
            f"{name}, whose OME-XML cannot be read ({error})",
            expected="an OME-TIFF with intact metadata",
            todo="copy it again, or save its pages as a plain TIFF",
        ) from error
    if _tag(root) != "OME":
        raise FileError(
            f"{name}, whose XML begins with {_tag(root)[:40]}",
            expected="OME-XML",
            todo="give the file as the microscope's software wrote it",
        )
    return root


def _image(path: Path, root: Element) -> OmeImage:
    images = _children(root, "Image")
    pixels = _child(images[0], "Pixels") if images else None
    if len(images) != 1 or pixels is None:
        raise StreamError(
            f"{path} with {len(images)} images (positions or cycles) in its OME-XML",
            expected="one image",
            todo="give the folder where the microscope's software has a format of its own (Bruker, Micro-Manager), or "
            "export each position as a file of its own",
        )
    sizes = [_count(pixels, f"Size{axis}") for axis in "CZT"]
    stack = Hyperstack(*sizes)
    channels = _children(pixels, "Channel")
    if any(channel.get("SamplesPerPixel", "1") not in ("1", "") for channel in channels):
        raise StreamError(
            f"{path} with colours (several samples per pixel)",
            expected="grey pages of counts, one sample per pixel",
            todo="save each channel as grey pages",
        )
    order = pixels.get("DimensionOrder", "XYCZT").upper()
    if not (order.startswith("XY") and sorted(order[2:]) == ["C", "T", "Z"]):
        raise FileError(
            f"{path} with the DimensionOrder {order[:20]!r}",
            expected="one of OME, such as XYCZT",
            todo="save the recording again",
        )
    image = OmeImage(stack, order[2:])
    own = root.get("UUID")
    image.blocks = [_block(path, block, own) for block in _children(pixels, "TiffData")]
    if not image.blocks:
        image.blocks = [_Block(None, 0, None, (0, 0, 0))]
    image.pixel_um = _pixel_um(pixels)
    interval = _number(pixels, "TimeIncrement", _SECONDS)
    image.interval_s = interval if interval and 1e-6 < interval < 1e6 else None
    image.names = tuple(channel.get("Name", "") for channel in channels)
    if len(image.names) != stack.channels or not all(image.names):
        image.names = ()
    for plane in _children(pixels, "Plane"):
        time_s = _number(plane, "DeltaT", _SECONDS)
        if time_s is not None and plane.get("TheC", "0") == "0":
            image.times_s[_index(plane, "TheT"), _index(plane, "TheZ")] = time_s
    return image


def _block(path: Path, block: Element, own: str | None) -> _Block:
    uuid = _child(block, "UUID")
    name = uuid.get("FileName") if uuid is not None else None
    if uuid is not None and own is not None and (uuid.text or "").strip() == own.strip():
        name = None  # this file, which may have been renamed
    if name is not None:
        name_inside(path.parent, name, path)
        name = None if name == path.name else name
    count = _index(block, "PlaneCount") if block.get("PlaneCount") else (1 if block.get("IFD") else None)
    first = (_index(block, "FirstC"), _index(block, "FirstZ"), _index(block, "FirstT"))
    return _Block(name, _index(block, "IFD"), count, first)


def open_set(path: Path, image: OmeImage, *, salvage: bool) -> PageList:
    """Open the files of a set; the one with the XML is `path`.

    Raises
    ------
    FileError
        When a file is missing, which is named, or damaged.
    StreamError
        When two files have different pages.
    """
    if path.name not in image.files and None not in image.files and path.suffix.lower() in (".tif", ".tiff", ".btf"):
        if len(image.files) == 1:  # a copy with another name, perhaps beside the original
            return _renamed(path, image, salvage=salvage)
        raise StreamError(
            f"{path.name}, which is none of the {len(image.files)} files that its OME-XML names",
            expected="a file of the set",
            todo="give one of those, or give the file back its name",
        )
    paths = [path if name is None else path.parent / name for name in image.files]
    missing = [one for one in paths if not one.is_file()]
    if missing == paths and len(paths) == 1:
        return _renamed(path, image, salvage=salvage)
    if missing and not _leave_out_channels(image, {one.name for one in missing}):
        raise FileError(
            f"no file {missing[0]}" + (f", nor {len(missing) - 1} others" if len(missing) > 1 else "") + ", which the "
            "OME-XML names",
            expected=f"all {len(paths)} files of the set in one folder",
            todo="copy the whole folder",
        )
    return PageList([path if name is None else path.parent / name for name in image.files], salvage=salvage)


def _leave_out_channels(image: OmeImage, missing: set[str]) -> bool:
    """Leave out the channels whose files are all missing, as when one channel of a set was copied; False otherwise."""
    if any(block.count != 1 for block in image.blocks):
        return False
    gone = {block.first[0] for block in image.blocks if block.file in missing}
    kept = sorted({block.first[0] for block in image.blocks if block.file not in missing})
    if not kept or gone & set(kept):
        return False
    channels = image.stack.channels
    names = [image.names[c] if c < len(image.names) and image.names[c] else str(c + 1) for c in sorted(gone)]
    why = f"their files, such as {min(missing)}, are not here"
    image.warnings.append(f"{len(gone)} of {channels} channels ({', '.join(names)}) are left out: {why}")
    image.blocks = [
        _Block(block.file, block.page, 1, (kept.index(block.first[0]), *block.first[1:]))
        for block in image.blocks
        if block.file not in missing
    ]
    image.names = tuple(image.names[c] for c in kept if c < len(image.names))
    image.stack = Hyperstack(len(kept), image.stack.slices, image.stack.frames)
    return True


def _renamed(path: Path, image: OmeImage, *, salvage: bool) -> PageList:
    """Open the only file of a set, which has another name than its XML says."""
    image.blocks = [_Block(None, block.page, block.count, block.first) for block in image.blocks]
    return PageList([path], salvage=salvage)


def order_ome(pages: PageList, image: OmeImage, wanted: Wanted) -> tuple[NDArray[np.int64], MovieFacts]:
    """Order the pages of an OME-TIFF.

    Parameters
    ----------
    pages : PageList
        The files of `OmeImage.files`, in that order.
    image : OmeImage
        What the XML says.
    wanted : Wanted
        Channels, planes and fly-back frames other than the XML says replace its order.

    Raises
    ------
    FileError
        When the files hold fewer pages than the XML says.
    StreamError
        When the XML maps pages that are not there, or not each of them once.
    """
    stack = image.stack
    given = given_order(
        pages.count,
        wanted,
        name=pages.name,
        channels=stack.channels,
        planes=slices_as_planes(stack, wanted.planes)[0],
        with_flyback=True,
    )
    facts = MovieFacts("OME-TIFF", "", pixel_um=image.pixel_um)
    if given is not None:
        return given.order, MovieFacts(
            "OME-TIFF", given.pages, given.planes, pixel_um=facts.pixel_um, warnings=given.warnings
        )
    table, warnings = _table(pages, image, wanted)
    warnings = [*image.warnings, *warnings]
    planes, warning = slices_as_planes(Hyperstack(stack.channels, stack.slices, len(table)), wanted.planes)
    warnings += [warning] if warning else []
    order = table.reshape(-1, stack.channels)
    unused = pages.count - len(np.unique(order))
    if unused and not wanted.salvage and not _says_left_out(warnings):
        warnings.append(f"{unused} pages of the files are in no place of the image and are left out")
    times = [image.times_s.get(divmod(i, stack.slices)) for i in range(len(order))]
    times_s = None if None in times or len(times) < 2 else np.array(times, np.float64)
    if times_s is not None and not (np.ptp(times_s) > 0 and np.isfinite(times_s).all()):
        times_s = None
    rate = planes / image.interval_s if image.interval_s and stack.frames > 1 else None
    return order, MovieFacts(
        format="OME-TIFF",
        pages=f"{pages_in_words(stack.channels, planes)}, by the OME-XML",
        planes=planes,
        rate_hz=rate or _rate_of_times(times_s, planes),
        pixel_um=image.pixel_um,
        channel_names=image.names,
        times_s=times_s,
        warnings=tuple(warnings),
    )


def _says_left_out(warnings: list[str]) -> bool:
    """Tell whether pages were left out already, with a word."""
    return any("left out" in warning for warning in warnings)


def _rate_of_times(times_s: NDArray[np.float64] | None, planes: int) -> float | None:
    rate = median_rate_hz(times_s[::planes]) if times_s is not None else None
    return rate and rate * planes


def _table(pages: PageList, image: OmeImage, wanted: Wanted) -> tuple[NDArray[np.int64], list[str]]:
    """Return (T, Z, C) int64, the page of each place."""
    stack = image.stack
    starts = dict(zip(image.files, np.cumsum([0, *pages.counts[:-1]]).tolist(), strict=True))
    counts = dict(zip(image.files, pages.counts, strict=True))
    step = stack.channels * stack.slices
    if stack.count > pages.count and not wanted.salvage and step * (pages.count // step) != pages.count:
        raise _short(pages, image)
    if step > pages.count:
        raise _short(pages, image)
    # Time points beyond the pages are not there; a file cannot make this allocate more than it has pages.
    points = min(stack.frames, pages.count // step)
    table = np.full((points, stack.slices, stack.channels), -1, np.int64)
    for block in image.blocks:
        stored = max(0, counts[block.file] - block.page)
        # One more than is stored, when the XML says so, to find out whether that one is missed.
        for k in range(stored if block.count is None else min(block.count, stored + 1)):
            page = block.page + k
            c, z, t = _place(image, block.first, k)
            if not (c < stack.channels and z < stack.slices and t < stack.frames):
                raise _odd(pages, f"page {page} at channel {c}, slice {z}, time point {t}, outside of the image")
            if page >= counts[block.file]:
                if wanted.salvage or t >= points:
                    continue
                raise _short(pages, image)
            if t >= points and wanted.salvage:
                continue
            if t >= points:
                raise _odd(pages, f"a page at time point {t}, with too few pages for all before it")
            if table[t, z, c] not in (-1, starts[block.file] + page):
                raise _odd(pages, f"two pages for channel {c}, slice {z}, time point {t}")
            table[t, z, c] = starts[block.file] + page
    number, torn = whole_time_points(table)
    if torn:
        raise _odd(pages, f"no page for a place at time point {number}")
    warnings = []
    if number < stack.frames:
        left = int((table[number:] >= 0).sum()) + max(0, pages.count - int((table >= 0).sum()))
        rest = f", and {left} pages of an incomplete time point are left out" if left else ""
        warnings.append(f"the OME-XML announces {stack.frames} time points, and {number} are here{rest}")
    return table[:number], warnings


def _place(image: OmeImage, first: tuple[int, int, int], k: int) -> tuple[int, int, int]:
    """Return (C, Z, T) of the k-th plane of a block, in the dimension order of the image."""
    lengths = {"C": image.stack.channels, "Z": image.stack.slices, "T": image.stack.frames}
    at = dict(zip("CZT", first, strict=True))
    for axis in image.order:
        at[axis] += k
        k, at[axis] = divmod(at[axis], lengths[axis]) if axis != image.order[-1] else (0, at[axis])
    return at["C"], at["Z"], at["T"]


def _short(pages: PageList, image: OmeImage) -> FileError:
    return FileError(
        f"{pages.name} with {pages.count} pages, where the OME-XML promises {image.stack.count}",
        expected="complete files",
        todo="copy them again, or use their complete time points with --salvage",
    )


def _odd(pages: PageList, what: str) -> StreamError:
    return StreamError(
        f"{pages.name}, whose OME-XML has {what}",
        expected="each page at one place, and no place without a page",
        todo="give what the pages are with --channels and --planes",
    )


def _tag(element: Element) -> str:
    return element.tag.rsplit("}", 1)[-1]


def _children(element: Element, name: str) -> list[Element]:
    return [child for child in element if _tag(child) == name]


def _child(element: Element, name: str) -> Element | None:
    return next(iter(_children(element, name)), None)


def _count(element: Element, key: str) -> int:
    text = element.get(key, "")
    if not (text.isdecimal() and len(text) < 19 and int(text) > 0):
        raise FileError(
            f"an OME-XML with the {key} {text[:20]!r}", expected="a whole number above 0", todo="save the file again"
        )
    return int(text)


def _index(element: Element, key: str) -> int:
    text = element.get(key, "") or "0"
    if not (text.isdecimal() and len(text) < 10):
        raise FileError(
            f"an OME-XML with the {key} {text[:20]!r}", expected="a whole number", todo="save the file again"
        )
    return int(text)


def _number(element: Element, key: str, units: dict[str, float]) -> float | None:
    try:
        value = float(element.get(key, "")) * units[element.get(f"{key}Unit", "")]
    except (ValueError, KeyError):
        return None
    return value if math.isfinite(value) else None


def _pixel_um(pixels: Element) -> tuple[float, float] | None:
    x, y = (_number(pixels, f"PhysicalSize{axis}", _UM) for axis in "XY")
    return (y, x) if x and y and x > 0 and y > 0 else None
