from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError, StageError
from deepbid_rt.recording import disk_sync, tiff_writer
from deepbid_rt.recording.tiff_movie import TiffMovie
from deepbid_rt.recording.tiff_writer import SOFTWARE, TiffMovieWriter


def frame(number: int, channels: int = 2) -> np.ndarray:
    return np.full((channels, 6, 8), number - 3, np.int16)


class Disk:
    """Writes to a file that may break off after some bytes, as a kill or a full disk does."""

    def __init__(self, file: object, room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: bytes) -> int:
        if len(data) > self._room:
            self._file.write(data[: self._room])
            self._file.flush()
            self._room = 0
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room -= len(data)
        return self._file.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def test_one_page_per_frame_and_channel_with_its_description(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    writer = TiffMovieWriter(path, facts={"stream": "raw", "who": "Ærø"})
    for number in range(3):
        writer.append(frame(number), number + 40, number / 30, plane=0)
    writer.close()
    with tifffile.TiffFile(path) as tif:
        assert tif.is_bigtiff
        assert len(tif.pages) == 6
        for number, page in enumerate(tif.pages):
            assert (page.dtype, page.shape, page.compression, page.software) == (np.int16, (6, 8), 1, SOFTWARE)
            np.testing.assert_array_equal(page.asarray(), frame(number // 2)[0])
        assert tif.pages[5].description == (
            "frameNumbers = 42\nframeTimestamps_sec = 0.066666667\nplane = 0\nchannel = 1"
        )
        assert tif.pages[0].description.splitlines()[-2:] == ["stream = raw", "who = \\xc6r\\xf8"]


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2", "<f4"])
def test_types_are_kept(tmp_path: Path, dtype: str) -> None:
    writer = TiffMovieWriter(tmp_path / "m.tif")
    pixels = np.arange(48).reshape(1, 6, 8).astype(dtype)
    writer.append(pixels[:, ::2], 0, 0.0)  # not contiguous
    writer.close()
    with TiffMovie(tmp_path / "m.tif") as movie:
        assert movie.dtype.str == dtype
        np.testing.assert_array_equal(movie.frame(0), pixels[:, ::2])


def test_the_file_is_readable_with_all_frames_before_it_is_closed(tmp_path: Path) -> None:
    writer = TiffMovieWriter(tmp_path / "m.tif")
    for number in range(4):
        writer.append(frame(number), number, 0.0)
        with TiffMovie(tmp_path / "m.tif", channels=2) as movie:
            assert movie.shape[0] == number + 1
            np.testing.assert_array_equal(movie.frame(number), frame(number))
    writer.close()


def test_a_write_cut_at_any_byte_leaves_an_intact_file_of_the_frames_before(tmp_path: Path) -> None:
    def third_frame(path: Path) -> TiffMovieWriter:
        """Two frames in the file, and a third ready to be committed: below append, which would cut it off again."""
        writer = TiffMovieWriter(path)
        writer.append(frame(0), 0, 0.0)
        writer.append(frame(1), 1, 0.0)
        for plane in frame(2):
            writer._tiff.write(plane, contiguous=False, metadata=None)
        return writer

    writer = third_frame(tmp_path / "whole.tif")
    pages = len(writer._draft._tail)
    pointer = sum(len(data) for _, data in writer._draft._patches)
    assert pointer == 8  # so little is written at once or not at all
    writer.close()
    for room in (*range(0, pages, 5), pages, pages + pointer):
        writer = third_frame(tmp_path / f"{room}.tif")
        file = writer._file
        with contextlib.suppress(OSError):
            writer._draft.commit(Disk(file, room))
        file.close()
        with TiffMovie(writer.path, channels=2) as movie:
            frames = 3 if room == pages + pointer else 2
            assert movie.shape[0] == frames
            np.testing.assert_array_equal(movie.read(0, frames), [frame(n) for n in range(frames)])


def test_a_full_disk_error_names_the_frame_the_file_and_the_complete_frames(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    writer = TiffMovieWriter(path)
    for number in range(3):
        writer.append(frame(number), number + 7, 0.0)
    size = path.stat().st_size
    writer._file = Disk(writer._file, 100)
    with pytest.raises(StageError) as info:
        writer.append(frame(3), 10, 0.0)
    assert str(info.value) == (
        f"frame 10 could not be written to {path} (No space left on device); expected a disk that accepts every frame; "
        "free some space and record again; the 3 frames before it are complete in that file."
    )
    assert isinstance(info.value.__cause__, OSError)
    writer.close()
    assert path.stat().st_size == size
    with TiffMovie(path, channels=2) as movie:
        assert movie.shape[0] == 3


def test_never_overwrites_and_names_the_file_that_cannot_be_created(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    path.write_bytes(b"precious")
    with pytest.raises(FileError) as info:
        TiffMovieWriter(path)
    assert str(info.value) == (
        f"{path} exists already; expected a new name, since recordings are never overwritten; move that file away or "
        "choose another name."
    )
    assert path.read_bytes() == b"precious"
    with pytest.raises(FileError, match="cannot be created"):
        TiffMovieWriter(path / "below-a-file.tif")


def test_an_empty_file_is_removed(tmp_path: Path) -> None:
    writer = TiffMovieWriter(tmp_path / "m.tif")
    writer.close()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_synced_periodically_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    also: list[int] = []
    now = [0.0]
    monkeypatch.setattr(tiff_writer.os, "fsync", calls.append)
    monkeypatch.setattr(disk_sync.time, "monotonic", lambda: now[0])
    writer = TiffMovieWriter(tmp_path / "m.tif", sync_s=3.0, also_sync=lambda: also.append(len(calls)))
    synced = []
    for second in range(8):
        now[0] = float(second)
        before = len(calls)
        writer.append(frame(second), second, 0.0)
        writer._sync.wait()
        synced.append(len(calls) > before)
    assert synced == [second in (3, 6) for second in range(8)]
    writer.close()
    assert len(calls) == 3
    assert also == [1, 2]


def test_frames_are_appended_while_an_fsync_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, released = threading.Event(), threading.Event()

    def hang(_: int) -> None:
        began.set()
        assert released.wait(30.0)

    writer = TiffMovieWriter(tmp_path / "m.tif", sync_s=1e-9)
    with monkeypatch.context() as patch:
        patch.setattr(tiff_writer.os, "fsync", hang)
        writer.append(frame(0), 0, 0.0)
        assert began.wait(30.0)
        for number in range(1, 6):
            writer.append(frame(number), number, 0.0)
        with TiffMovie(writer.path, channels=2) as movie:
            assert movie.shape[0] == 6
        released.set()
        writer._sync.wait()
    writer.close()


@pytest.mark.parametrize("at", ["append", "close"])
def test_a_failed_fsync_is_an_error_at_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    writer = TiffMovieWriter(tmp_path / "m.tif", sync_s=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(tiff_writer.os, "fsync", fail)
        writer.append(frame(0), 0, 0.0)
    with pytest.raises(StageError, match="Input/output error"):
        writer.append(frame(1), 1, 0.0) if at == "append" else writer.close()
    with TiffMovie(writer.path, channels=2) as movie:
        assert movie.shape[0] == 1


def test_a_deleted_file_is_an_error(tmp_path: Path) -> None:
    writer = TiffMovieWriter(tmp_path / "m.tif")
    writer.append(frame(0), 0, 0.0)
    writer.path.unlink()
    with pytest.raises(StageError, match=r"frame 1 could not be written .*deleted while it was written, and 1 frames"):
        writer.append(frame(1), 1, 0.0)


def test_the_size_of_a_pixel_becomes_the_resolution_of_every_page(tmp_path: Path) -> None:
    writer = TiffMovieWriter(tmp_path / "m.tif", facts={"pixel_um_y": 0.8, "pixel_um_x": "0.4"})
    for number in range(3):
        writer.append(frame(number), number, 0.0)
    writer.close()
    with tifffile.TiffFile(tmp_path / "m.tif") as tif:
        for page in tif.pages:
            x, y = (value[0] / value[1] for value in (page.tags[282].value, page.tags[283].value))
            assert (x, y) == pytest.approx((1e4 / 0.4, 1e4 / 0.8), rel=1e-7)
            assert page.tags[296].value == 3  # centimetres


@pytest.mark.parametrize("size", [None, 0.0, -1.0, 1e-5, 1e7, float("nan"), "wide"])
def test_a_pixel_size_that_fits_no_tiff_is_no_resolution(tmp_path: Path, size: object) -> None:
    facts = {} if size is None else {"pixel_um_y": size, "pixel_um_x": 1.0}
    writer = TiffMovieWriter(tmp_path / "m.tif", facts=facts)
    writer.append(frame(0), 0, 0.0)
    writer.close()
    with tifffile.TiffFile(tmp_path / "m.tif") as tif:
        assert tif.pages[0].tags[282].value == (1, 1)
        assert tif.pages[0].tags[296].value == 1  # no unit
