"""An open recording, whatever its format: the seam between formats and everything that reads movies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StageError
from deepbid_rt.movies.movie_facts import MovieFacts


class MovieFile(ABC):
    """An open recording. Pixels are read when asked for; safe to use from several threads.

    A subclass sets the attributes before anybody sees it, and refuses in its constructor whatever could not be read
    later, before anything is allocated for it.

    Attributes
    ----------
    path : Path
        File or folder.
    shape : tuple of int
        (N, C, Y, X): N frames of all planes in the order of scanning.
    dtype : numpy.dtype
        One of `deepbid_rt.frame.DTYPES`, little-endian.
    facts : MovieFacts
        What the recording says about itself.
    problem : str or None
        What is wrong with a recording whose whole frames are salvaged; None when it is intact.
    uncompressed : bool
        True when reading a frame cannot fail but for a file that has changed.
    """

    path: Path
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    facts: MovieFacts
    problem: str | None = None
    uncompressed: bool = True

    @abstractmethod
    def _read_frame(self, i: int, out: NDArray[Any]) -> None:
        """Fill `out` (C, Y, X), C-contiguous and of type `dtype`, with frame `i`. May raise anything."""

    @abstractmethod
    def close(self) -> None:
        """Close the files; may be called twice."""

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        """Return frames `t0` to `t1` - 1 as a new array (t, C, Y, X).

        Raises
        ------
        IndexError
            When there are no such frames.
        StageError
            When a frame cannot be read or decoded.
        """
        if not 0 <= t0 <= t1 <= self.shape[0]:
            raise IndexError(f"frames {t0}..{t1} of {self.shape[0]}")
        out = np.empty((t1 - t0, *self.shape[1:]), self.dtype)
        for i, frame in enumerate(out, start=t0):
            try:
                self._read_frame(i, frame)
            except StageError:
                raise
            except Exception as error:  # each library raises its own
                raise StageError(
                    f"frame {i} of {self.path} cannot be read ({error})",
                    expected="a file that stays as it was when it was opened, with intact frames",
                    todo="check whether another program writes to it",
                ) from error
        return out

    def frame(self, i: int) -> NDArray[Any]:
        """Return frame `i` as a new array (C, Y, X); raises as `read`."""
        frame: NDArray[Any] = self.read(i, i + 1)[0]
        return frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
