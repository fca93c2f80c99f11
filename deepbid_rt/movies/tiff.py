"""Recordings in TIFF files: deepbid-rt itself, ScanImage, OME-TIFF, Micro-Manager, ImageJ, tifffile, plain pages."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.movies.alternation import period_of_pages
from deepbid_rt.movies.given_order import given_order, pages_in_words
from deepbid_rt.movies.imagej import read_imagej
from deepbid_rt.movies.micromanager import read_micromanager
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.ome import ome_xml, open_set, order_ome, read_ome
from deepbid_rt.movies.own_recording import is_own, read_own
from deepbid_rt.movies.page_list import PageList
from deepbid_rt.movies.scanimage import position_in_series, read_scanimage, refuse_acquisitions
from deepbid_rt.movies.scanimage_header import read_header
from deepbid_rt.movies.shaped import read_shaped
from deepbid_rt.movies.tiff_pages_movie import TiffPagesMovie
from deepbid_rt.movies.tiff_series import files_of, has_tiff_magic, is_tiff_name, tiffs_in
from deepbid_rt.movies.tiff_stack import MICRO_MANAGER, imagej_facts, shaped_facts
from deepbid_rt.movies.wanted import Wanted

_Read = tuple[NDArray[np.int64], MovieFacts, bool]


def claims(path: Path) -> bool:
    """Tell whether a path is a TIFF file, a folder with TIFF files in it, or a pattern that matches some.

    A folder is claimed whatever else is in it, so formats with folders of their own have to be asked before.
    """
    try:
        if "*" in path.name or path.is_dir():
            return bool(tiffs_in(path))
        return is_tiff_name(path) or has_tiff_magic(path)
    except (OSError, ValueError):
        return False


def open_movie(path: Path, wanted: Wanted) -> MovieFile:
    """Open a recording in TIFF files.

    The first file decides, in this order: a recording of deepbid-rt, ScanImage, OME-TIFF, Micro-Manager, ImageJ, an
    array of tifffile, plain pages. The files of a folder or pattern are one recording, in natural order.

    Parameters
    ----------
    path : Path
        A file; a folder of the numbered files of one recording; or a pattern with ``*`` in the file name.
    wanted : Wanted
        `Wanted.salvage` takes the whole frames of damaged files, and a series that lacks files.

    Raises
    ------
    FileError
        When files are missing or damaged, or hold less than they say.
    StreamError
        When files and wishes contradict each other, or the pages are none that a stream may carry.
    """
    paths = files_of(path, salvage=wanted.salvage)
    pages = PageList(paths[:1] if _is_set(paths[0]) else paths, salvage=wanted.salvage)
    try:
        xml = ome_xml(pages.first)
        if xml is not None and not is_own(pages.first) and read_header(pages.first) is None:
            return _open_ome(path, paths, pages, xml, wanted)
        order, facts, unnamed = _read(pages, wanted, folder=path.is_dir())
        if len(paths) > 1 and facts.format not in ("ScanImage", "deepbid-rt"):
            order, facts = _joined(pages, wanted, order, facts)
        facts = _with_series(path, paths, facts)
        movie = TiffPagesMovie(path, pages, order, facts)
    except BaseException:
        pages.close()
        raise
    if unnamed and wanted.channels is None and wanted.planes is None:
        _warn_of_alternation(movie)
    return movie


def _is_set(path: Path) -> bool:
    """Tell whether the other files of a recording are named by an OME-XML."""
    name = path.name.lower()
    return name.endswith((".ome.tif", ".ome.tiff", ".ome.btf", ".ome.tf2", ".ome.tf8"))


def _open_ome(path: Path, paths: list[Path], pages: PageList, xml: bytes, wanted: Wanted) -> MovieFile:
    image, described = read_ome(paths[0], xml)
    one_set = open_set(described, image, salvage=wanted.salvage)
    try:
        _refuse_others(path, paths, one_set, described)
        order, facts = order_ome(one_set, image, wanted)
        if len(one_set.paths) > 1 and len(paths) == 1:
            note = f"all {len(one_set.paths)} files that its OME-XML names are one recording"
            facts = dataclasses.replace(facts, warnings=(*facts.warnings, note))
        movie = TiffPagesMovie(path, one_set, order, facts)
    except BaseException:
        one_set.close()
        raise
    pages.close()
    return movie


def _refuse_others(path: Path, paths: list[Path], one_set: PageList, described: Path) -> None:
    """Refuse a folder or pattern with files that are not in the set of the first one."""
    named = set(one_set.paths)
    other = [one for one in paths if one not in named]
    if other and len(paths) > 1:
        raise StreamError(
            f"{path} with {other[0].name}, which is not in the OME-XML of {described.name}",
            expected="the files of one set",
            todo="give the first file of the set only",
        )


def _read(pages: PageList, wanted: Wanted, *, folder: bool) -> _Read:
    """Return the order of pages, what the files say, and whether they do not name their channels."""
    stack = pages.first
    description = stack.description(0)
    if is_own(stack):
        _refuse_foreign(pages)
        return *read_own(pages, wanted), False
    if (header := read_header(stack)) is not None:
        if folder:
            refuse_acquisitions(pages)
        return *read_scanimage(pages, header, wanted), False
    if stack.tag(MICRO_MANAGER):
        return *read_micromanager(pages, wanted), False
    if imagej_facts(description) is not None:
        return read_imagej(pages, wanted)
    if shaped_facts(description) is not None and len(pages.paths) == 1:
        return read_shaped(pages, wanted)
    return _plain(pages, wanted)


def _refuse_foreign(pages: PageList) -> None:
    """Refuse files of other programs beside recordings of deepbid-rt. Raises `StreamError`."""
    for start, path in zip(np.cumsum([0, *pages.counts[:-1]]).tolist(), pages.paths, strict=True):
        if not pages.description(start).startswith("frameNumbers = "):
            raise StreamError(
                f"{path.name} beside {pages.paths[0].name}, which deepbid-rt wrote",
                expected="the files of one recording",
                todo="give one of them",
            )


def _plain(pages: PageList, wanted: Wanted) -> _Read:
    given = given_order(pages.count, wanted, name=pages.name, stated=False)
    if given is not None:
        return given.order, MovieFacts("TIFF", given.pages, given.planes, warnings=given.warnings), False
    order = np.arange(pages.count).reshape(-1, 1)
    return order, MovieFacts("TIFF", "each page is a frame; the file does not say more"), True


def _joined(
    pages: PageList, wanted: Wanted, order: NDArray[np.int64], facts: MovieFacts
) -> tuple[NDArray[np.int64], MovieFacts]:
    """Order the files of a folder or pattern, each of which says for itself what its pages are.

    Raises
    ------
    StreamError
        When two of them are not of one kind.
    """
    orders, first = [], None
    for one, start in zip(pages.paths, np.cumsum([0, *pages.counts[:-1]]).tolist(), strict=True):
        alone = PageList([one], salvage=wanted.salvage)
        try:
            its_order, its_facts, _ = _read(alone, Wanted(salvage=wanted.salvage), folder=False)
        finally:
            alone.close()
        orders.append(its_order + start)
        kind = (its_facts.format, its_order.shape[1], its_facts.planes, its_facts.rate_hz, its_facts.pixel_um)
        first = first or kind
        if kind != first:
            raise StreamError(
                f"{one.name}, a recording of another kind than {pages.paths[0].name} (format, channels, planes, rate "
                f"or pixel size: {kind} and {first})",
                expected="the files of one recording",
                todo="give one file, or a pattern that matches the files of one recording",
            )
    note = f"{len(orders)} files, {pages.paths[0].name} to {pages.paths[-1].name}, are joined to one recording"
    joined = dataclasses.replace(facts, warnings=(*facts.warnings, note))
    if wanted.channels is None and wanted.planes is None and first is not None and first[1] * first[2] > 1:
        words = pages_in_words(first[1], first[2])
        return np.concatenate(orders), dataclasses.replace(
            joined, pages=f"{words}, as each file says", planes=first[2], times_s=None, numbers=None
        )
    return order, joined


def _with_series(path: Path, paths: list[Path], facts: MovieFacts) -> MovieFacts:
    """Add that a file is one of several, and how many files a folder or pattern has."""
    if len(paths) > 1:
        return dataclasses.replace(facts, pages=f"{facts.pages}, over {len(paths)} files in a row")
    place = position_in_series(paths[0]) if facts.format == "ScanImage" and path == paths[0] else None
    if place is None:
        return facts
    rest = "; a volume may begin in another one" if facts.planes > 1 else ""
    note = (
        f"it is file {place[0]} of {place[1]} of its series, and only this one is opened{rest}; give the folder or a "
        "pattern with * to open all"
    )
    return dataclasses.replace(facts, warnings=(note, *facts.warnings))


def _warn_of_alternation(movie: TiffPagesMovie) -> None:
    if movie.shape[1] != 1 or movie.facts.planes != 1:
        return
    try:
        period = period_of_pages(movie)
    except Exception:
        movie.close()
        raise
    if period is None:
        return
    note = (
        f"every {_nth(period)} page looks alike, which suggests {period} channels or planes: give --channels {period} "
        f"or --planes {period}, or --channels 1 if each page is a frame"
    )
    movie.facts = dataclasses.replace(movie.facts, warnings=(*movie.facts.warnings, note))


def _nth(number: int) -> str:
    return {2: "second", 3: "third", 4: "fourth"}[number]
