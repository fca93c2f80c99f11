"""A recording that is one stored array, in any container."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from deepbid_rt.errors import DeepbidError, FileError, StageError
from deepbid_rt.movies.array_pixels import ArrayPixels
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_file import MovieFile


class ArrayMovie(MovieFile):
    """A recording that is one stored array.

    Parameters
    ----------
    path : Path
        File or folder.
    pixels : ArrayPixels
        Its frames; closed with the recording.
    facts : MovieFacts
        What the recording says about itself.
    uncompressed : bool
        False when frames are decoded.
    problem : str or None
        What is wrong with a salvaged file.
    """

    def __init__(
        self,
        path: Path,
        pixels: ArrayPixels,
        facts: MovieFacts,
        *,
        uncompressed: bool = True,
        problem: str | None = None,
    ) -> None:
        self.path, self.facts = path, facts
        self.shape, self.dtype = pixels.shape, pixels.dtype
        self.uncompressed, self.problem = uncompressed, problem
        self._pixels = pixels

    def _read_frame(self, i: int, out: NDArray[Any]) -> None:
        self._pixels.read(i, out)

    def close(self) -> None:
        """Close the files; may be called twice."""
        self._pixels.close()


@contextmanager
def opening(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises about a damaged file into a `FileError`.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What it should be, such as ``an HDF5 file``.

    Raises
    ------
    FileError
        For every exception that is not a `DeepbidError`, and for a frame that cannot be read.
    """
    try:
        yield
    except StageError as error:
        raise FileError(
            error.came, expected="frames that can be decoded", todo="copy it again, or save it without compression"
        ) from error
    except DeepbidError:
        raise
    except MemoryError as error:
        raise FileError(
            f"{path} asks for more memory than there is",
            expected=f"{what} with sizes that its pixels have",
            todo="copy it again, or check whether another program can open it",
        ) from error
    except Exception as error:  # each library raises its own
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise FileError(
            f"{path} cannot be read as {what} ({' '.join(reason.split())[:200]})",
            expected="an intact file that may be read",
            todo="copy it again, or check whether another program can open it",
        ) from error
