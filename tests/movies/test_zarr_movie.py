from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepbid_rt.errors import StageError
from deepbid_rt.movies import zarr_movie
from deepbid_rt.movies.wanted import Wanted
from tests.movies.encoded import check, encoded, frames_of, refused

zarr = pytest.importorskip("zarr", reason="the formats extra is not installed")


@pytest.fixture(scope="module", autouse=True)
def threads_of_zarr() -> Iterator[None]:
    """Start the threads that zarr keeps, before the tests count threads."""
    from zarr.core.sync import cleanup_resources

    with zarr.config.set({"threading.max_workers": 1}):
        array = zarr.create_array({}, shape=(4, 4), chunks=(2, 2), dtype="u2")
        array[:] = 1
        np.asarray(array[:])
        yield
    cleanup_resources()


def save(path: Path, pixels: Any, **more: Any) -> Path:
    more.setdefault("chunks", (1,) * (pixels.ndim - 2) + pixels.shape[-2:])
    array = zarr.create_array(path, shape=pixels.shape, dtype=pixels.dtype, **more)
    array[:] = pixels
    return path


AXES = {
    "t": {"name": "t", "type": "time", "unit": "second"},
    "c": {"name": "c", "type": "channel"},
    **{one: {"name": one, "type": "space", "unit": "micrometer"} for one in "zyx"},
}


def ome(path: Path, pixels: Any, order: str = "tczyx", version: str = "0.5", **changes: Any) -> Path:
    """Write a picture with two resolutions, as OME-Zarr says."""
    zarr_format = 3 if version == "0.5" else 2
    scale = [{"t": 0.1, "c": 1.0, "z": 5.0, "y": 2.0, "x": 1.5}[one] for one in order]
    levels = [
        {
            "path": str(k),
            "coordinateTransformations": [{"type": "scale", "scale": [*scale[:-2], *(2**k * s for s in scale[-2:])]}],
        }
        for k in range(2)
    ]
    metadata: dict[str, Any] = {"multiscales": [{"axes": [AXES[one] for one in order], "datasets": levels}]}
    metadata["multiscales"][0].update(changes)
    if "c" in order:
        names = [{"label": f"PMT {k}"} for k in range(pixels.shape[order.index("c")])]
        metadata["omero"] = {"channels": names}
    attributes = {"ome": {"version": version, **metadata}} if version == "0.5" else metadata
    zarr.create_group(path, zarr_format=zarr_format, attributes=attributes)
    save(path / "0", pixels, zarr_format=zarr_format)
    save(path / "1", pixels[..., ::2, ::2], zarr_format=zarr_format)
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str) -> None:
    movie = encoded(5, 3, 2)
    opened = check(
        zarr_movie, ome(tmp_path / "m.ome.zarr", movie.transpose(0, 2, 1, 3, 4), version=version), frames_of(movie), 3
    )
    facts = opened.facts
    assert facts.format == "OME-Zarr"
    assert facts.rate_hz == pytest.approx(30.0)
    assert facts.pixel_um == (2.0, 1.5)
    assert facts.channel_names == ("PMT 0", "PMT 1")
    assert facts.pages == "array 0, axes (T, C, Z, Y, X), 2 channels, 3 planes in turn, by its OME metadata"
    assert facts.warnings == ()


@pytest.mark.parametrize("axes", ["tyx", "tcyx", "tzyx", "zyx"])
def test_ome_zarr_with_fewer_axes(tmp_path: Path, axes: str) -> None:
    movie = encoded(5 if "t" in axes else 1, 3 if "z" in axes else 1, 2 if "c" in axes else 1)
    keep = [letter for letter in "tczyx" if letter in axes]
    stored = movie.transpose(0, 2, 1, 3, 4).reshape([movie.shape["tzcyx".index(one)] for one in keep])
    facts = check(zarr_movie, ome(tmp_path / "m.zarr", stored, axes), frames_of(movie), 3 if "z" in axes else 1).facts
    assert any("no time axis" in one for one in facts.warnings) == ("t" not in axes)


def test_scales_multiply_and_units_count(tmp_path: Path) -> None:
    movie = encoded(5)
    axes = [
        {"name": "t", "unit": "millisecond"},
        {"name": "y", "unit": "nanometer"},
        {"name": "x", "unit": "nanometer"},
    ]
    outer = [{"type": "scale", "scale": [100.0, 1000.0, 1000.0]}]
    path = ome(tmp_path / "m.zarr", movie[:, 0, 0], "tyx", axes=axes, coordinateTransformations=outer)
    facts = check(zarr_movie, path, frames_of(movie)).facts
    assert facts.rate_hz == pytest.approx(100.0)
    assert facts.pixel_um == pytest.approx((2.0, 1.5))
    path = ome(tmp_path / "n.zarr", movie[:, 0, 0], "tyx", axes=["t", "y", "x"])
    facts = check(zarr_movie, path, frames_of(movie)).facts
    assert facts.rate_hz is None
    assert facts.pixel_um is None


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<f4", "i1", "<f8"])
def test_plain_arrays(tmp_path: Path, zarr_format: int, dtype: str) -> None:
    movie = encoded(5, dtype="u1") % 100
    path = save(tmp_path / "m.zarr", movie[:, 0, 0].astype(dtype), zarr_format=zarr_format, chunks=(2, 48, 64))
    kinds = {"u1": "|u1", "<u2": "<u2", ">u2": "<u2", "<f4": "<f4", "i1": "<i2", "<f8": "<f4"}
    facts = check(zarr_movie, path, frames_of(movie).astype(kinds[dtype])).facts
    assert facts.format == "Zarr"


def test_channels_shards_and_names(tmp_path: Path) -> None:
    movie = encoded(6, 1, 2)
    check(zarr_movie, save(tmp_path / "c.zarr", movie[:, 0]), frames_of(movie))
    path = save(tmp_path / "s.zarr", movie[:, 0], chunks=(1, 1, 48, 64), shards=(3, 2, 48, 64))
    check(zarr_movie, path, frames_of(movie), channels=2)
    path = save(
        tmp_path / "n.zarr",
        movie[:, 0].transpose(2, 3, 1, 0),
        chunks=(48, 64, 1, 2),
        dimension_names=["y", "x", "channel", "time"],
    )
    assert "dimension names" in check(zarr_movie, path, frames_of(movie)).facts.pages
    path = save(
        tmp_path / "x.zarr",
        movie[:, 0].transpose(0, 2, 3, 1),
        chunks=(1, 48, 64, 2),
        zarr_format=2,
        attributes={"_ARRAY_DIMENSIONS": ["t", "y", "x", "c"]},
    )
    check(zarr_movie, path, frames_of(movie))


def test_groups_of_arrays_and_pictures(tmp_path: Path) -> None:
    movie = encoded(5)
    zarr.create_group(tmp_path / "g.zarr")
    save(tmp_path / "g.zarr" / "a", movie[:, 0, 0])
    save(tmp_path / "g.zarr" / "mean", movie[0, 0, 0])
    check(zarr_movie, tmp_path / "g.zarr", frames_of(movie))
    zarr.create_group(tmp_path / "g.zarr" / "deep")
    ome(tmp_path / "g.zarr" / "deep" / "b", movie[:, 0, 0] + 1, "tyx")
    refused(zarr_movie, tmp_path / "g.zarr", "2 pictures: a, deep/b.*--dataset a")
    check(zarr_movie, tmp_path / "g.zarr", frames_of(movie), dataset="a")
    check(zarr_movie, tmp_path / "g.zarr", frames_of(movie) + 1, dataset="deep/b")
    facts = check(zarr_movie, tmp_path / "g.zarr", frames_of(movie) + 1, dataset="/deep/b/0").facts
    assert facts.pixel_um == (2.0, 1.5)
    check(zarr_movie, tmp_path / "g.zarr", frames_of(movie + 1)[..., ::2, ::2], dataset="deep/b/1")
    refused(zarr_movie, tmp_path / "g.zarr", "no Zarr array or group.*correct --dataset", dataset="none")


@pytest.mark.parametrize(
    ("attributes", "match"),
    [
        ({"ome": {"plate": {}}}, "a plate"),
        ({"ome": {"well": {}}}, "a well"),
        ({"ome": {"labels": ["a"]}}, "labels"),
        ({"image-label": {}, "multiscales": []}, "labels"),
        ({"ome": {"multiscales": []}}, "name no array"),
        ({"ome": {"multiscales": [{"datasets": [{"path": 3}]}]}}, "name no array"),
        ({"ome": {"multiscales": [{"axes": [], "datasets": [{"path": "0"}]}]}}, "axes t, c, z, y and x"),
        (
            {"ome": {"multiscales": [{"axes": [{"name": "q"}, "y", "x"], "datasets": [{"path": "0"}]}]}},
            "with axes q, y, x",
        ),
        ({"ome": {"multiscales": [{"axes": ["t", "y", "x"], "datasets": [{"path": "../other"}]}]}}, "lies outside"),
        (
            {"ome": {"multiscales": [{"axes": ["t", "c", "y", "x"], "datasets": [{"path": "0"}]}]}},
            "a name for each axis",
        ),
        ({}, "0 pictures"),
    ],
)
def test_other_groups_are_refused(tmp_path: Path, attributes: Any, match: str) -> None:
    zarr.create_group(tmp_path / "m.zarr", attributes=attributes)
    if match != "0 pictures":
        save(tmp_path / "m.zarr" / "0", encoded(5)[:, 0, 0])
    save(tmp_path / "other", encoded(5)[:, 0, 0])
    refused(zarr_movie, tmp_path / "m.zarr", match)


def test_links_and_paths_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "m.zarr")
    save(tmp_path / "other", encoded(5)[:, 0, 0])
    (tmp_path / "m.zarr" / "0").symlink_to(tmp_path / "other")
    refused(zarr_movie, tmp_path / "m.zarr", "0 pictures")
    refused(zarr_movie, tmp_path / "m.zarr", "lies outside", dataset="0")
    refused(zarr_movie, tmp_path / "m.zarr", "lies outside", dataset="../other")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_missing_pieces_are_said(tmp_path: Path, zarr_format: int) -> None:
    movie = encoded(5)
    path = save(tmp_path / "m.zarr", movie[:, 0, 0], zarr_format=zarr_format, fill_value=9)
    (path / ("c/3/0/0" if zarr_format == 3 else "3.0.0")).unlink()
    movie[3] = 9
    assert (
        "1 of 5 stored pieces are missing and read as 9" in check(zarr_movie, path, frames_of(movie)).facts.warnings[0]
    )
    for one in [
        one for one in path.rglob("*") if one.is_file() and one.name not in ("zarr.json", ".zarray", ".zattrs")
    ]:
        one.unlink()
    refused(zarr_movie, path, "without any stored pixel")


def metadata(path: Path) -> dict[str, Any]:
    return json.loads((path / "zarr.json").read_text())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "secret"}]},
            "cannot be opened.*secret",
        ),
        ({"shape": [10**9, 48, 64]}, "1000000000 frames"),
        ({"shape": [5, 10**9, 10**9]}, "looks like time|lines"),
        ({"shape": [0, 48, 64]}, "of shape"),
        ({"shape": "many"}, "cannot be opened|Zarr"),
        ({"data_type": "complex64", "fill_value": [0.0, 0.0]}, "complex"),
        ({"data_type": "string", "fill_value": ""}, "cannot be|numbers|values"),
        (
            {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [10**5, 10**5, 64]}}},
            "pieces of at most",
        ),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 48, 64]}}}, "cannot be opened|Zarr"),
        ({"zarr_format": 9}, "cannot be opened|Zarr"),
    ],
)
@pytest.mark.filterwarnings("ignore::Warning")
def test_bad_metadata_are_refused(tmp_path: Path, change: Any, match: str) -> None:
    path = save(tmp_path / "m.zarr", encoded(5)[:, 0, 0])
    (path / "zarr.json").write_text(json.dumps(metadata(path) | change))
    refused(zarr_movie, path, match)


def test_unknown_codec_of_version_2_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.zarr", encoded(5)[:, 0, 0], zarr_format=2)
    value = json.loads((path / ".zarray").read_text()) | {"compressor": {"id": "secret", "level": 3}}
    (path / ".zarray").write_text(json.dumps(value))
    refused(zarr_movie, path, "cannot be opened.*secret")


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.zarr", encoded(5)[:, 0, 0])
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text[:-50])
    refused(zarr_movie, path, "damaged")
    (path / "zarr.json").write_text("[" * 100_000)
    refused(zarr_movie, path, "damaged")
    (path / "zarr.json").unlink()
    refused(zarr_movie, path, "no Zarr array or group.*hidden files")
    (path / "zarr.json").write_text(text)
    (path / "c" / "0" / "0" / "0").write_bytes(b"cut")
    refused(zarr_movie, path, "frame 0 .* cannot be read.*expected frames that can be decoded")
    (path / "c" / "0" / "0" / "0").write_bytes(bytes(2**17))
    refused(zarr_movie, path, "131072 bytes for")


def test_a_piece_that_is_cut_later_is_an_error(tmp_path: Path) -> None:
    path = save(tmp_path / "m.zarr", encoded(5)[:, 0, 0])
    with zarr_movie.open_movie(path, Wanted()) as movie:
        (path / "c" / "4" / "0" / "0").write_bytes(b"cut")
        with pytest.raises(StageError, match="frame 4"):
            movie.read(0, 5)


def test_archives_and_addresses_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.zarr.zip").write_bytes(b"PK")
    assert zarr_movie.claims(tmp_path / "m.zarr.zip")
    refused(zarr_movie, tmp_path / "m.zarr.zip", "archive or an address")
    refused(zarr_movie, Path("https://example.org/m.zarr"), "archive or an address")


def test_claims(tmp_path: Path) -> None:
    assert not zarr_movie.claims(tmp_path)
    assert not zarr_movie.claims(tmp_path / "none.zarr")
    save(tmp_path / "plain", encoded(5)[:, 0, 0])
    assert zarr_movie.claims(tmp_path / "plain")
    shutil.copytree(tmp_path / "plain", tmp_path / "n.zarr")
    assert zarr_movie.claims(tmp_path / "n.zarr")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "m.zarr", encoded(5)[:, 0, 0])
    monkeypatch.setitem(sys.modules, "zarr", None)
    refused(zarr_movie, path, r'without the Python package zarr.*pip install "deepbid-rt\[formats\]"')
