"""Pages of many TIFF files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies.page_files import PageFiles
from tests.movies.stamped_images import SHAPE, stamped


def files(folder: Path, count: int, **more: object) -> list[Path]:
    paths = [folder / f"{i:03}.tif" for i in range(count)]
    for i, path in enumerate(paths):
        tifffile.imwrite(path, stamped(i), metadata=None, **more)
    return paths


def read(pages: PageFiles, file: int, page: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    out = np.empty(pages.shape, pages.dtype)
    pages.read(file, page, out)
    return out


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_more_files_than_may_be_open(tmp_path: Path, compression: str | None) -> None:
    pages = PageFiles(files(tmp_path, 40, compression=compression))
    assert pages.counts == [1] * 40
    assert pages.shape == SHAPE
    for i in (*range(40), 3, 39, 0):
        np.testing.assert_array_equal(read(pages, i), stamped(i))
    assert len(pages._open) == 16
    pages.close()
    pages.close()
    with pytest.raises(ValueError, match="closed"):
        read(pages, 0)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_file_that_has_changed_is_an_error(tmp_path: Path, compression: str | None) -> None:
    paths = files(tmp_path, 20, compression=compression)
    pages = PageFiles(paths)
    paths[19].write_bytes(paths[19].read_bytes()[:40])
    with pytest.raises(Exception, match=r"shorter|TIFF|cut off"):
        read(pages, 19)
    if compression:
        tifffile.imwrite(paths[18], stamped(0, shape=(6, 10)), compression=compression, metadata=None)
        with pytest.raises(ValueError, match="has changed"):
            read(pages, 18)
    pages.close()


def test_all_files_missing_or_damaged(tmp_path: Path) -> None:
    paths = files(tmp_path, 3)
    for path in paths:
        path.write_bytes(b"x")
    with pytest.raises(FileError, match=r"000\.tif cannot be read as a whole TIFF"):
        PageFiles(paths)
    with pytest.raises(FileError, match="all other files"):
        PageFiles(paths, salvage=True)
    for path in paths:
        path.unlink()
    for salvage in (False, True):
        with pytest.raises(FileError, match=r"no file .*000\.tif, nor 2 others"):
            PageFiles(paths, salvage=salvage)


def test_salvage_counts_the_whole_pages(tmp_path: Path) -> None:
    paths = files(tmp_path, 3)
    tifffile.imwrite(paths[1], np.array([stamped(1)] * 4), metadata=None, photometric="minisblack")
    paths[1].write_bytes(paths[1].read_bytes()[:-300])
    paths[2].unlink()
    pages = PageFiles(paths, salvage=True)
    assert pages.counts[0] == 1
    assert 1 <= pages.counts[1] < 4
    assert pages.counts[2] == 0
    assert "001.tif" in (pages.problem or "")
    pages.close()


@pytest.mark.parametrize("dtype", ["u4", "f8", "i1", "c8", "?"])
def test_types_that_no_stream_carries(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", stamped(0).astype(dtype), metadata=None)
    with pytest.raises(StreamError, match="convert the movie"):
        PageFiles([tmp_path / "a.tif"])


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", ">f4", ">i2"])
def test_types_that_a_stream_carries(tmp_path: Path, dtype: str) -> None:
    image = stamped(0).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", image, metadata=None, byteorder=">" if ">" in dtype else "<")
    pages = PageFiles([tmp_path / "a.tif"])
    assert pages.dtype == np.dtype(dtype).newbyteorder("<")
    np.testing.assert_array_equal(read(pages, 0), image)
    pages.close()
