from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.movies import hdf5, hdf5_file
from deepbid_rt.movies.wanted import Wanted
from tests import DATA
from tests.movies.encoded import check, encoded, frames_of, refused

h5py = pytest.importorskip("h5py", reason="the formats extra is not installed")


def write(path: Path, **datasets: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, pixels in datasets.items():
            file[name.replace("__", "/")] = pixels
    return path


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2", "<f4", ">u2", ">f4"])
def test_the_only_movie_is_taken(tmp_path: Path, dtype: str) -> None:
    movie = encoded(5, dtype=dtype)
    path = write(tmp_path / "m.h5", mov=movie[:, 0, 0], mean=np.zeros((48, 64)), traces=np.zeros((5, 9)), name="text")
    opened = check(hdf5, path, frames_of(movie).astype(np.dtype(dtype).newbyteorder("<")))
    assert opened.uncompressed
    assert opened.facts.pages.startswith("dataset /mov, axes (T, Y, X)")
    assert opened.facts.warnings == ()


@pytest.mark.parametrize(
    ("stored", "delivered", "warned"), [("|i1", "<i2", 0), ("?", "|u1", 0), ("<i4", "<f4", 1), ("<f8", "<f4", 1)]
)
def test_other_types_are_converted(tmp_path: Path, stored: str, delivered: str, warned: int) -> None:
    movie = (encoded(5, dtype="u1") % 100).astype(stored)
    opened = check(hdf5, write(tmp_path / "m.h5", mov=movie[:, 0, 0]), frames_of(movie).astype(delivered))
    assert len(opened.facts.warnings) == warned


@pytest.mark.parametrize("chunks", [None, (1, 48, 64), (3, 48, 64), (5, 10, 64), (2, 7, 13)])
@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
def test_chunks_and_filters(tmp_path: Path, chunks: Any, compression: Any) -> None:
    movie = encoded(5)
    with h5py.File(tmp_path / "m.hdf5", "w") as file:
        file.create_dataset("a/b/mov", data=movie[:, 0, 0], chunks=chunks, compression=compression)
    opened = check(hdf5, tmp_path / "m.hdf5", frames_of(movie))
    assert opened.uncompressed == (compression is None)


def test_channels_and_planes(tmp_path: Path) -> None:
    movie = encoded(5, 3, 2)
    path = write(tmp_path / "m.h5", five=movie)
    assert "taken as planes" in check(hdf5, path, frames_of(movie), 3).facts.warnings[0]
    check(hdf5, path, frames_of(movie[:, :2]), 2, flyback=1)
    check(hdf5, write(tmp_path / "c.h5", four=movie[:, 0]), frames_of(movie[:, :1]))
    check(hdf5, write(tmp_path / "z.h5", four=movie[:, :, 0]), frames_of(movie[:, :, :1]), 3, planes=3)
    flat = write(tmp_path / "p.h5", pages=movie.reshape(-1, 48, 64))
    check(hdf5, flat, frames_of(movie), 3, planes=3, channels=2)


def test_labels_of_axes_decide(tmp_path: Path) -> None:
    movie = encoded(5, 3)
    path = write(tmp_path / "m.h5", mov=movie[:, :, 0].transpose(2, 3, 0, 1))
    with h5py.File(path, "a") as file:
        for number, label in enumerate(("y", "x", "t", "z")):
            file["mov"].dims[number].label = label
        file["mov"].attrs["fr"] = 10.0
        file["mov"].attrs["element_size_um"] = np.array([5.0, 2.0, 1.5])
    opened = check(hdf5, path, frames_of(movie), 3)
    assert "dimension labels" in opened.facts.pages
    assert opened.facts.rate_hz == 30.0
    assert opened.facts.pixel_um == (2.0, 1.5)


def test_several_movies_are_asked_for(tmp_path: Path) -> None:
    movie = encoded(5)
    path = write(tmp_path / "m.h5", a__mov=movie[:, 0, 0], b__mov=movie[:, 0, 0] + 1, mean=np.zeros((48, 64)))
    refused(hdf5, path, r"2 datasets.*/a/mov \(5, 48, 64\) uint16, /b/mov \(5, 48, 64\) uint16.*--dataset /a/mov")
    check(hdf5, path, frames_of(movie), dataset="a/mov")
    check(hdf5, path, frames_of(movie), dataset="/a/mov")
    check(hdf5, path, frames_of(movie) + 1, dataset="/b")
    refused(hdf5, path, r"no dataset none .*one of /a/mov", dataset="none")
    refused(hdf5, path, "no dataset a/mov/x", dataset="a/mov/x")
    refused(hdf5, path, "3 to 5 axes", dataset="mean")


def test_a_small_stack_beside_the_movie_is_said(tmp_path: Path) -> None:
    movie = encoded(200)
    path = write(tmp_path / "m.h5", mov=movie[:, 0, 0], means=np.zeros((1, 48, 64), "u1"))
    assert "/means is left aside" in check(hdf5, path, frames_of(movie)).facts.warnings[0]


def test_a_hard_link_and_a_loop_are_one_dataset(tmp_path: Path) -> None:
    movie = encoded(5)
    path = write(tmp_path / "m.h5", a__mov=movie[:, 0, 0])
    with h5py.File(path, "a") as file:
        file["b"] = file["a/mov"]
        file["a/loop"] = file["a"]
        file["soft"] = h5py.SoftLink("/a/mov")
        file["round"] = h5py.SoftLink("/round")
    check(hdf5, path, frames_of(movie))
    check(hdf5, path, frames_of(movie), dataset="soft")
    refused(hdf5, path, "no dataset round", dataset="round")


@pytest.mark.parametrize("dataset", [None, "out", "soft", "folder/mov"])
def test_links_that_leave_the_file_are_refused(tmp_path: Path, dataset: str | None) -> None:
    write(tmp_path / "other.h5", mov=encoded(5)[:, 0, 0])
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["out"] = h5py.ExternalLink("other.h5", "/mov")
        file["folder"] = h5py.ExternalLink("other.h5", "/")
        file["soft"] = h5py.SoftLink("/out")
    refused(hdf5, tmp_path / "m.h5", "another file", dataset=dataset)


def test_virtual_datasets_of_other_files_are_refused(tmp_path: Path) -> None:
    movie = encoded(4)
    write(tmp_path / "other.h5", mov=movie[:2, 0, 0])
    for name, source in (("out.h5", "other.h5"), ("in.h5", ".")):
        with h5py.File(tmp_path / name, "w") as file:
            file["part"] = movie[2:, 0, 0]
            layout = h5py.VirtualLayout((4, 48, 64), "<u2")
            layout[:2] = h5py.VirtualSource(source, "mov" if source != "." else "part", (2, 48, 64))
            layout[2:] = h5py.VirtualSource(".", "part", (2, 48, 64))
            file.create_virtual_dataset("all", layout)
    refused(hdf5, tmp_path / "out.h5", "other files, such as .*other.h5", dataset="all")
    check(hdf5, tmp_path / "in.h5", frames_of(movie[[2, 3, 2, 3]]), dataset="all")


def test_pixels_in_raw_files_beside_it_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(5 * 48 * 64 * 2))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        outside = [(str(tmp_path / "secret.bin"), 0, 5 * 48 * 64 * 2)]
        file.create_dataset("mov", (5, 48, 64), "<u2", external=outside)
    refused(hdf5, tmp_path / "m.h5", "other files, such as .*secret.bin")


def test_a_missing_filter_is_refused_at_opening(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 48, 64))
        plist.set_filter(h5py.h5z.FILTER_DEFLATE, 0, (1,))
        space = h5py.h5s.create_simple((5, 48, 64))
        h5py.h5d.create(file.id, b"mov", h5py.h5t.STD_U16LE, space, plist)
        file["mov"][:] = encoded(5)[:, 0, 0]
    data = (tmp_path / "m.h5").read_bytes()
    # message of the filters: version 1, one filter; then its number (1), 2 bytes length of its name, flags
    before = b"\x01\x01" + bytes(6) + b"\x01\x00"
    assert data.count(before) == 1
    (tmp_path / "m.h5").write_bytes(data.replace(before, before[:-2] + (40_000).to_bytes(2, "little")))
    refused(hdf5, tmp_path / "m.h5", "filter that is not installed.*40000.*hdf5plugin")


def test_time_last_is_refused_with_the_way_out(tmp_path: Path) -> None:
    movie = encoded(70, lines=64)
    path = write(tmp_path / "m.h5", mov=movie[:, 0, 0].transpose(1, 2, 0))
    refused(hdf5, path, r"last axis looks like time.*--shape \(64,64")
    check(hdf5, path, frames_of(movie), shape=(64, 64))


def matlab(path: Path, movie: Any) -> Path:
    """Write as MATLAB does: axes in reverse order, behind a block of text."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["movie"] = movie.transpose(range(movie.ndim)[::-1])
        file["movie"].attrs["MATLAB_class"] = np.bytes_(b"uint16")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))
    return path


def test_matlab_files_have_their_axes_in_reverse(tmp_path: Path) -> None:
    movie = encoded(5, 1, 2)
    path = matlab(tmp_path / "m.mat", movie[:, 0, 0].transpose(1, 2, 0))  # (Y, X, T) in MATLAB
    opened = check(hdf5, path, frames_of(movie[:, :, :1]))
    assert opened.facts.format == "MATLAB 7.3"
    assert "MATLAB stores its axes Y,X,T in reverse" in opened.facts.pages
    check(hdf5, matlab(tmp_path / "n.mat", movie[:, 0].transpose(2, 3, 1, 0)), frames_of(movie))  # (Y, X, C, T)
    check(hdf5, matlab(tmp_path / "o.mat", movie[:, 0, 0]), frames_of(movie[:, :, :1]), shape=(48, 64))  # (T, Y, X)


def test_scanbox_headers_and_old_matlab_files_are_not_claimed(tmp_path: Path) -> None:
    matlab(tmp_path / "m.mat", encoded(5)[:, 0, 0])
    (tmp_path / "m.sbx").touch()
    (tmp_path / "old.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(600))
    for name in ("m.mat", "old.mat", "none.h5"):
        assert not hdf5.claims(tmp_path / name)
    write(tmp_path / "without_suffix", mov=encoded(5)[:, 0, 0])
    assert hdf5.claims(tmp_path / "without_suffix")
    assert not hdf5.claims(tmp_path)


def test_what_was_never_written_is_refused_or_said(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("mov", (5, 48, 64), "<u2", chunks=(1, 48, 64), fillvalue=7)
    refused(hdf5, tmp_path / "m.h5", "no pixel was ever written")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file["mov"][:3] = encoded(3)[:, 0, 0]
    frames = np.full((5, 1, 48, 64), 7, "<u2")
    frames[:3] = frames_of(encoded(3))
    assert (
        "2 of 5 stored pieces were never written and read as 7" in check(hdf5, tmp_path / "m.h5", frames).facts.warnings
    )
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        mov = file.create_dataset("mov", (10**9, 48, 64), "<u2", chunks=(1, 48, 64))
        mov[0] = 1
    refused(hdf5, tmp_path / "huge.h5", "1000000000 frames")
    with h5py.File(tmp_path / "wide.h5", "w") as file:
        mov = file.create_dataset("mov", (50_000, 512, 512), "<u2", chunks=(5000, 512, 512), compression="gzip")
        mov.id.write_direct_chunk((0, 0, 0), b"x")
    refused(hdf5, tmp_path / "wide.h5", "pieces of at most")


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_cut_file_is_refused(tmp_path: Path, keep: float) -> None:
    path = write(tmp_path / "m.h5", mov=encoded(5)[:, 0, 0])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    refused(hdf5, path, "cut off" if keep else "no HDF5 file")


def test_damaged_files_are_refused_or_read(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5", mov=encoded(5)[:, 0, 0])
    data = path.read_bytes()
    rng, messages = np.random.default_rng(0), []
    for _ in range(150):
        broken = bytearray(data)
        for place in rng.integers(8, 2200, 4):
            broken[place] = rng.integers(256)
        path.write_bytes(broken)
        try:
            with hdf5.open_movie(path, Wanted()) as movie:
                movie.frame(0)
        except (FileError, StageError, StreamError) as error:  # nothing else may come
            messages.append(str(error))
    assert messages
    assert not any("\n" in one for one in messages)


def test_a_file_that_another_program_writes_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w", libver="latest") as file:
        file.create_dataset("mov", data=encoded(5)[:, 0, 0], maxshape=(None, 48, 64), chunks=(1, 48, 64))
        file.swmr_mode = True
        file.flush()
        (tmp_path / "copy.h5").write_bytes((tmp_path / "m.h5").read_bytes())  # as another computer sees it
    refused(hdf5, tmp_path / "copy.h5", "another program is writing.*h5clear")
    check(hdf5, tmp_path / "m.h5", frames_of(encoded(5)))


def test_a_file_that_another_program_has_locked_is_refused(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl", reason="files are locked otherwise on Windows")
    path = write(tmp_path / "m.h5", mov=encoded(5)[:, 0, 0])
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refused(hdf5, path, "another program is writing")
    check(hdf5, path, frames_of(encoded(5)))


def test_a_file_that_shrinks_is_an_error_and_not_zeros(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5", mov=encoded(200)[:, 0, 0])
    with hdf5.open_movie(path, Wanted()) as movie:
        with path.open("r+b") as file:
            file.truncate(50_000)
        with pytest.raises(StageError, match="shorter"):
            movie.frame(199)


def test_no_dataset_that_can_be_a_movie(tmp_path: Path) -> None:
    refused(hdf5, write(tmp_path / "m.h5", mean=np.zeros((48, 64))), "no dataset can be a movie")
    refused(hdf5, write(tmp_path / "n.h5", mov=np.zeros((5, 48, 64), "c8")), "complex")
    refused(hdf5, write(tmp_path / "o.h5", mov=np.zeros((5, 48, 64, 3), "u1")), "colour")
    (tmp_path / "text.h5").write_text("no HDF5")
    refused(hdf5, tmp_path / "text.h5", "no HDF5 file")
    (tmp_path / "hdf4.hdf").write_bytes(b"\x0e\x03\x13\x01" + bytes(2000))
    refused(hdf5, tmp_path / "hdf4.hdf", "no HDF5 file")


def test_many_objects_do_not_take_forever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_file, "MAX_OBJECTS", 50)
    path = write(
        tmp_path / "m.h5", mov=encoded(5)[:, 0, 0], **{f"z{k}": np.zeros((5, 48, 64), "u2") for k in range(90)}
    )
    refused(hdf5, path, "datasets that can be the movie")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.h5", mov=encoded(5)[:, 0, 0])
    monkeypatch.setitem(sys.modules, "h5py", None)
    refused(hdf5, path, r'without the Python package h5py.*pip install "deepbid-rt\[formats\]"')


def test_the_real_file() -> None:
    path = DATA / "allen_ultralow" / "792757260_test_data.h5"
    if not path.exists():
        pytest.skip("shared/data/allen_ultralow is not there")
    with h5py.File(path) as file:
        frames = file["input_frames"][:][:, None]
    opened = check(hdf5, path, frames)
    assert opened.shape == (100, 1, 100, 100)
    assert opened.dtype.str == "<i2"
    assert opened.facts.warnings == ()
    refused(hdf5, path, "3 to 5 axes", dataset="ave_image")
    refused(hdf5, path, "3 to 5 axes|without pixels", dataset="ops")
