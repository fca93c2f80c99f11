"""A recording whose channels and frames are pages of TIFF files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import MAX_CHANNELS
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.page_list import PageList


class TiffPagesMovie(MovieFile):
    """A recording in one or several TIFF files.

    Parameters
    ----------
    path : Path
        File, folder or pattern that was asked for.
    pages : PageList
        The pages; closed with the movie.
    order : ndarray
        (N, C) int64, which page shows which channel of which frame.
    facts : MovieFacts
        Notes about the pixels are added to its warnings.

    Raises
    ------
    StreamError
        When there are more channels than a stream may have, or no frame.
    """

    def __init__(self, path: Path, pages: PageList, order: NDArray[np.int64], facts: MovieFacts) -> None:
        frames, channels = order.shape
        if not 1 <= channels <= MAX_CHANNELS:
            raise StreamError(
                f"{pages.name} with {channels} channels",
                expected=f"1..{MAX_CHANNELS} channels",
                todo="give the true numbers with --channels and --planes; where each channel is a beam at a depth of "
                "its own, they are planes",
            )
        if frames == 0:
            raise StreamError(
                f"{pages.name} without a whole frame or volume", expected="a movie", todo="give another recording"
            )
        self.path = path
        self._pages, self._order = pages, order
        self.shape = (frames, channels, *pages.shape)
        self.dtype = pages.dtype
        self.problem, self.uncompressed = pages.problem, pages.uncompressed
        self.facts = dataclasses.replace(facts, warnings=(*pages.notes, *facts.warnings))

    def _read_frame(self, i: int, out: NDArray[Any]) -> None:
        for page, plane in zip(self._order[i], out, strict=True):
            self._pages.read(int(page), plane)

    def close(self) -> None:
        """Close the files; may be called twice."""
        self._pages.close()
