from __future__ import annotations

import struct
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepbid_rt.errors import StageError
from deepbid_rt.movies import npy
from deepbid_rt.movies.wanted import Wanted
from tests import DATA
from tests.movies.encoded import check, encoded, frames_of, refused


def save(path: Path, pixels: Any) -> Path:
    np.save(path, pixels)
    return path


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2", "<f4", ">u2", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_reads_any_order_and_type(tmp_path: Path, dtype: str, order: str) -> None:
    movie = encoded(5, dtype=dtype)
    path = save(tmp_path / "m.npy", np.asarray(movie[:, 0, 0], order=order))
    opened = check(npy, path, frames_of(movie).astype(np.dtype(dtype).newbyteorder("<")))
    assert opened.uncompressed
    assert any("Fortran" in one for one in opened.facts.warnings) == (order == "F")
    assert opened.facts.pages.startswith("axes (T, Y, X)")


@pytest.mark.parametrize(
    ("pick", "shape", "planes", "wanted"),
    [
        (lambda m: m[:, 0], (5, 2), 1, {}),
        (lambda m: m, (15, 2), 3, {}),
        (lambda m: m.reshape(-1, *m.shape[3:]), (15, 2), 3, {"channels": 2, "planes": 3}),
        (lambda m: m[:, 0].transpose(0, 2, 3, 1), (5, 2), 1, {}),
    ],
)
def test_channels_and_planes(tmp_path: Path, pick: Any, shape: Any, planes: int, wanted: Any) -> None:
    movie = encoded(5, 3, 2)
    frames = frames_of(movie if planes == 3 else movie[:, :1])
    assert frames.shape[:2] == shape
    check(npy, save(tmp_path / "m.npy", pick(movie)), frames, planes, **wanted)


def test_time_last_is_refused_with_the_way_out(tmp_path: Path) -> None:
    movie = encoded(70, lines=64)
    path = save(tmp_path / "m.npy", np.ascontiguousarray(movie[:, 0, 0].transpose(1, 2, 0)))
    refused(npy, path, "last axis looks like time")
    check(npy, path, frames_of(movie), shape=(64, 64))


def test_a_long_array_with_time_last_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepbid_rt.movies.raw_array._PIECE", 300)
    monkeypatch.setattr("deepbid_rt.movies.array_pixels.BLOCK_BYTES", 48 * 64 * 2 * 7)
    movie = encoded(50)
    check(npy, save(tmp_path / "m.npy", np.asfortranarray(movie[:, 0, 0])), frames_of(movie))


def test_npz_with_one_array(tmp_path: Path) -> None:
    movie = encoded(5)
    np.savez(tmp_path / "a.npz", movie=movie[:, 0, 0])
    np.savez_compressed(tmp_path / "b.npz", movie=movie[:, 0, 0])
    check(npy, tmp_path / "a.npz", frames_of(movie))
    opened = check(npy, tmp_path / "b.npz", frames_of(movie))
    assert not opened.uncompressed
    assert "compressed as a whole" in opened.facts.warnings[-1]


def test_npz_with_several_arrays_is_asked_for(tmp_path: Path) -> None:
    movie = encoded(5)
    np.savez(tmp_path / "a.npz", movie=movie[:, 0, 0], other=np.zeros((5, 8, 8)))
    refused(npy, tmp_path / "a.npz", "2 arrays: movie, other.*--dataset")
    refused(npy, tmp_path / "a.npz", "no array x .* one of movie, other", dataset="x")
    check(npy, tmp_path / "a.npz", frames_of(movie), dataset="movie")


def test_npz_that_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    head = tmp_path / "h.npy"
    np.save(head, np.zeros((1, 64, 64), "u2"))
    data = head.read_bytes().replace(b"(1, 64, 64), }", b"(9999, 64,64)}")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m.npy", data)
    refused(npy, path, "cut off")
    path.write_bytes(path.read_bytes()[:-30])
    refused(npy, path, "NumPy file")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("m.npy", head.read_bytes())
    refused(npy, path, "unusual way")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "none")
    refused(npy, path, "0 arrays")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "m.npy"
    np.save(path, np.array([[[Evil()]]], dtype=object), allow_pickle=True)
    refused(npy, path, "pickled")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("pixels", "match"),
    [
        (np.zeros((64, 64), "u2"), "3 to 5 axes"),
        (np.zeros(5, "u2"), "3 to 5 axes"),
        (np.zeros((), "u2"), "3 to 5 axes"),
        (np.zeros((3, 64, 64), "c8"), "complex"),
        (np.zeros((3, 64, 64, 3), "u1"), "colour"),
        (np.zeros((0, 64, 64), "u2"), "0 frames"),
        (np.zeros((3, 2, 9000), "u2"), "looks like time"),
        (np.zeros((3, 64, 64), [("a", "u2")]), "values"),
    ],
)
def test_what_is_no_movie_is_refused(tmp_path: Path, pixels: Any, match: str) -> None:
    refused(npy, save(tmp_path / "m.npy", pixels), match)


def header(shape: str, descr: str = "'<u2'", length: int | None = None, version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", length or len(text))
    return b"\x93NUMPY" + version + size + text


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "does not begin"),
        (b"\x93NUM", "does not begin"),
        (b"II*\0" + bytes(100), "does not begin"),
        (header("(1000000000, 64, 64)") + bytes(8192), "cut off"),
        (header("(3, 1000000000, 1000000000)") + bytes(8192), "cut off|looks like"),
        (header("(-3, 64, 64)") + bytes(8192), "cut off"),
        (header("(3, 64, 64)", length=60000), "NumPy|header"),
        (header("(3, 64, 64)", length=2**31, version=b"\x02\x00"), "header of version"),
        (header("(3, 64, 64)", version=b"\x03\x00"), "header of version"),
        (header("(3, 64, 64)", descr="'nonsense'"), "NumPy file"),
        (header("__import__('os')"), "NumPy file"),
        (header("(3, 64, 64)")[:40], "NumPy file"),
    ],
)
def test_damaged_headers_are_refused(tmp_path: Path, data: bytes, match: str) -> None:
    (tmp_path / "m.npy").write_bytes(data)
    refused(npy, tmp_path / "m.npy", match)


def test_a_cut_file_is_refused_or_salvaged(tmp_path: Path) -> None:
    movie = encoded(5)
    path = save(tmp_path / "m.npy", movie[:, 0, 0])
    path.write_bytes(path.read_bytes()[:-10])
    refused(npy, path, "cut off.*4 whole frames.*--salvage")
    assert check(npy, path, frames_of(movie)[:4], salvage=True).problem == "it is cut off"
    path.write_bytes(path.read_bytes()[:200])
    refused(npy, path, "cut off", salvage=True)


def test_bytes_behind_the_array_are_said(tmp_path: Path) -> None:
    path = save(tmp_path / "m.npy", encoded(5)[:, 0, 0])
    path.write_bytes(path.read_bytes() + b"12345")
    assert "5 bytes behind" in check(npy, path, frames_of(encoded(5))).facts.warnings[0]


def test_a_file_that_shrinks_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = save(tmp_path / "m.npy", encoded(50)[:, 0, 0])
    with npy.open_movie(path, Wanted()) as movie:
        with path.open("r+b") as file:
            file.truncate(20_000)
        with pytest.raises(StageError, match="shorter"):
            movie.read(0, 50)


def test_threads_read_the_right_frames(tmp_path: Path) -> None:
    movie = encoded(60)
    path = save(tmp_path / "m.npy", np.asfortranarray(movie[:, 0, 0]))
    wrong = []
    with npy.open_movie(path, Wanted()) as opened:

        def work(first: int) -> None:
            wrong.extend(i for i in range(first, 60, 4) if not (opened.frame(i) == frames_of(movie)[i]).all())

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert not wrong


def test_the_real_file() -> None:
    path = DATA / "datajoint_A" / "DatasetA.npy"
    if not path.exists():
        pytest.skip("shared/data/datajoint_A is not there")
    opened = check(npy, path, np.load(path)[:, None])
    assert opened.shape == (20, 1, 256, 256)
    assert opened.facts.warnings == ()
