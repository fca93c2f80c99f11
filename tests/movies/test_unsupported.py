from __future__ import annotations

from pathlib import Path

import pytest

from deepbid_rt.movies import unsupported
from tests import DATA
from tests.movies.encoded import refused


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("a.mrc", "MRC.*Fiji"),
        ("a.czi", "Zeiss.*OME-TIFF with ZEN"),
        ("a.LSM", "Zeiss"),
        ("a.nd2", "Nikon.*NIS-Elements"),
        ("a.lif", "Leica"),
        ("a.oif", "Olympus"),
        ("a.oib", "Olympus"),
        ("a.ims", "Imaris"),
        ("a.dv", "DeltaVision"),
        ("a.sld", "SlideBook"),
        ("a.png", "picture"),
        ("a.JPG", "picture"),
        ("a.avi", "video"),
        ("a.mp4", "video"),
        ("a.mat", "MATLAB.*-v7.3"),
        ("a.xml", "settings or notes.*folder"),
        ("a.json", "settings or notes"),
        ("a.txt", "settings or notes"),
        ("a.zip", "unpack"),
    ],
)
def test_well_known_formats_are_refused_with_what_to_do(tmp_path: Path, name: str, match: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    assert unsupported.claims(tmp_path / name)
    error = refused(unsupported, tmp_path / name, match)
    assert ";" not in error.came + error.expected + error.todo


def test_files_of_other_readers_are_not_claimed(tmp_path: Path) -> None:
    for name in ("a.tif", "a.h5", "a.sbx", "a.npy", "a"):
        (tmp_path / name).write_bytes(b"anything")
        assert not unsupported.claims(tmp_path / name)
    (tmp_path / "a.mat").write_bytes(b"beside a.sbx")
    assert not unsupported.claims(tmp_path / "a.mat")
    (tmp_path / "b.mat").write_bytes(b"MATLAB 7.3".ljust(512) + b"\x89HDF\r\n\x1a\n")
    assert not unsupported.claims(tmp_path / "b.mat")
    (tmp_path / "Experiment.xml").write_text("<ThorImageExperiment/>")
    assert not unsupported.claims(tmp_path / "Experiment.xml")
    for number, encoding in enumerate(("utf-8", "utf-16")):
        path = tmp_path / f"TSeries-{number}.xml"
        path.write_text('<?xml version="1.0"?><PVScan version="5.4"/>', encoding)
        assert not unsupported.claims(path)
    (tmp_path / "zarr.json").write_text("{}")
    assert not unsupported.claims(tmp_path / "zarr.json")
    assert not unsupported.claims(tmp_path)
    assert not unsupported.claims(tmp_path / "none.mrc")


@pytest.mark.parametrize(
    "name",
    ["rdl_mt/MT.mrc", "scanbox_bi_uni/bi.mat", "scanbox_bi_uni/uni.mat", "clean_pairs_stills/clean_fmd_bpae_r.png"],
)
def test_real_files_are_refused(name: str) -> None:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"shared/data/{name} is not there")
    assert unsupported.claims(path)
    refused(unsupported, path, "formats.md")
