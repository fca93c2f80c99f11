"""Recordings and conversions, opened by the programs that labs use. Each test is skipped where its program is missing.

Suite2p keeps int16 as it is, halves uint16, and casts everything else to int16.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepbid_rt.conversion.convert import convert
from deepbid_rt.conversion.nwb_facts import NwbFacts
from deepbid_rt.conversion.target import Format, Target
from deepbid_rt.recording.tiff_writer import TiffMovieWriter
from tests.conversion.recordings import noise, recording

pytestmark = [
    pytest.mark.usefixtures("threads_of_zarr"),
    # What other programs warn about when they are imported is theirs.
    pytest.mark.filterwarnings("ignore::Warning"),
]
HERE = Path(__file__).parent
IMAGEJ = Path("/usr/share/java/ij.jar")


def program(module: str) -> Any:
    """Import a reader; skip when it is missing or cannot be imported here."""
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:  # a torch that does not fit raises the second
        pytest.skip(f"{module} cannot be imported ({error})")


def own(folder: Path, truth: NDArray[Any], channel_names: str = "") -> Path:
    """A recording as deepbid-rt writes it."""
    points, planes, channels, *shape = truth.shape
    facts = {"channels": channels, "planes": planes, "rate_hz": 30.0, "pixel_um_y": 0.8, "pixel_um_x": 0.4}
    with closing(TiffMovieWriter(folder / "own.tif", facts=facts)) as writer:
        for number, frame in enumerate(truth.reshape(points * planes, channels, *shape)):
            writer.append(frame, number, number / 30, plane=number % planes)
    return writer.path


def written(folder: Path, truth: NDArray[Any], kind: str) -> Path:
    """Write a movie as a recording of deepbid-rt, or convert one."""
    if kind == "own":
        return own(folder, truth)
    names: dict[Format, str] = {"ome-tiff": "a.ome.tif", "imagej": "a.tif", "nwb": "a.nwb", "ome-zarr": "a.zarr"}
    facts = NwbFacts.of(
        {
            "session_start": "2026-01-30T10:00+00:00",
            "subject_id": "m7",
            "species": "Mus musculus",
            "sex": "F",
            "age": "P90D",
            "location": "VISp",
            "indicator": "GCaMP6f",
            "excitation_nm": 920,
            "emission_nm": 525,
        }
    )
    format_: Format = kind  # type: ignore[assignment]
    return convert(recording(truth), Target(folder / names[format_], format_), nwb=facts).path


def as_suite2p(truth: NDArray[Any]) -> NDArray[np.int16]:
    return (truth // 2 if truth.dtype == np.uint16 else truth).astype(np.int16)


@pytest.mark.parametrize("by_tifffile", [True, False])
@pytest.mark.parametrize("dtype", ["<i2", "<u2"])
@pytest.mark.parametrize("kind", ["own", "ome-tiff", "imagej"])
def test_suite2p(tmp_path: Path, kind: str, dtype: str, by_tifffile: bool) -> None:
    """Suite2p reads with ScanImageTiffReader where that is installed and can, else with tifffile."""
    suite2p, io = program("suite2p"), program("suite2p.io")
    if not by_tifffile and not program("suite2p.io.tiff").HAS_SCANIMAGE:
        pytest.skip("scanimage-tiff-reader is not installed")
    truth = noise(points=40, dtype=dtype)
    path = written(tmp_path, truth, kind)
    db = suite2p.default_db() | {
        "data_path": [str(tmp_path)],
        "file_list": [path.name],
        "save_path0": str(tmp_path),
        "nplanes": 3,
        "nchannels": 2,
        "force_sktiff": by_tifffile,
        "batch_size": 6,
        "fast_disk": str(tmp_path),
    }
    db["file_list"], db["first_files"] = io.get_file_list(db)
    dbs = io.init_dbs(db)
    with ExitStack() as stack:
        files = [
            [stack.enter_context(Path(one[key]).open("wb")) for one in dbs] for key in ("reg_file", "reg_file_chan2")
        ]
        io.tiff_to_binary(dbs, suite2p.default_settings(), *files)
    for plane, one in enumerate(dbs):
        assert (one["Ly"], one["Lx"], one["nframes"]) == (12, 16, 40)
        for channel, key in enumerate(("reg_file", "reg_file_chan2")):
            found = np.fromfile(one[key], np.int16).reshape(40, 12, 16)
            np.testing.assert_array_equal(found, as_suite2p(truth[:, plane, channel]))


@pytest.mark.parametrize("dtype", ["<i2", "<u2"])
@pytest.mark.parametrize("kind", ["own", "ome-tiff"])
def test_scanimage_tiff_reader(tmp_path: Path, kind: str, dtype: str) -> None:
    reader = program("ScanImageTiffReader").ScanImageTiffReader
    truth = noise(dtype=dtype)
    path = written(tmp_path, truth, kind)
    with reader(str(path)) as tif:
        assert tif.shape() == [30, 12, 16]
        np.testing.assert_array_equal(tif.data(), truth.reshape(30, 12, 16))
        if kind == "own":
            assert tif.description(5).startswith("frameNumbers = 2\nframeTimestamps_sec = 0.066666667\n")


@pytest.mark.parametrize("kind", ["own", "ome-tiff", "imagej", "nwb"])
def test_caiman(tmp_path: Path, kind: str) -> None:
    """CaImAn of github.com/flatironinstitute/CaImAn; the package of that name on PyPI is another program."""
    caiman = program("caiman")
    if not hasattr(caiman, "load"):
        pytest.skip("the package named caiman is not CaImAn")
    truth = noise(points=40, planes=1, channels=1)
    path = written(tmp_path, truth, kind)
    movie = caiman.load(str(path), var_name_hdf5="acquisition/TwoPhotonSeries")
    np.testing.assert_array_equal(np.asarray(movie), truth[:, 0, 0].astype(np.float32))


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2", "<f4"])
@pytest.mark.parametrize("kind", ["own", "ome-tiff", "imagej"])
def test_napari(tmp_path: Path, kind: str, dtype: str) -> None:
    builtins = program("napari_builtins.io")
    truth = noise(dtype=dtype)
    path = written(tmp_path, truth, kind)
    ((pixels, *_),) = builtins.napari_get_reader(str(path))(str(path))
    np.testing.assert_array_equal(np.asarray(pixels).reshape(truth.shape), truth)
    if kind != "own":  # a stack of pages has one axis, those have three
        assert np.shape(pixels)[:3] == truth.shape[:3]


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2", "<f4"])
def test_napari_ome_zarr(tmp_path: Path, dtype: str) -> None:
    plugin = program("napari_ome_zarr._reader")
    truth = noise(dtype=dtype)
    path = written(tmp_path, truth, "ome-zarr")
    ((pixels, said, kind),) = plugin.napari_get_reader(str(path))()
    assert kind == "image"
    assert [name.split(": ")[-1] for name in said["name"]] == ["GCaMP6f", "red µ/2"]
    axis = said["channel_axis"]
    assert axis == 1
    scale = list(said["scale"])
    assert scale[-2:] == [0.8, 0.4]
    assert scale[0] == pytest.approx(0.1)
    data = pixels[0] if isinstance(pixels, list) else pixels
    with program("dask").config.set(scheduler="synchronous"):  # without threads that stay
        np.testing.assert_array_equal(np.asarray(data), truth.transpose(0, 2, 1, 3, 4))


def test_ome_zarr_models(tmp_path: Path) -> None:
    """The checks of the OME-Zarr 0.5 specification."""
    models = program("ome_zarr_models")
    found = models.open_ome_zarr(written(tmp_path, noise(), "ome-zarr"))
    assert type(found).__name__ == "Image"
    assert found.attributes.ome.version == "0.5"
    assert found.attributes.ome.omero["channels"][1]["label"] == "red µ/2"


def test_nwbinspector(tmp_path: Path) -> None:
    inspector = program("nwbinspector")
    path = written(tmp_path, noise(points=40), "nwb")
    suggestion = inspector.Importance.BEST_PRACTICE_SUGGESTION
    messages = list(inspector.inspect_nwbfile(nwbfile_path=str(path)))
    assert [one.message for one in messages if one.importance.value > suggestion.value] == []


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2", "<f4"])
@pytest.mark.parametrize("shape", [(5, 3, 2), (4, 1, 1), (1, 3, 2)])
def test_imagej(tmp_path: Path, dtype: str, shape: tuple[int, int, int]) -> None:
    truth = noise(*shape, dtype=dtype)
    sizes, pixel, interval, *images = open_in_imagej(written(tmp_path, truth, "imagej"))
    assert sizes == " ".join(map(str, ("sizes", *truth.shape)))
    assert pixel.split()[3] == "um"
    assert [float(side) for side in pixel.split()[1:3]] == pytest.approx([0.8, 0.4])
    assert float(interval.split()[1]) == pytest.approx(shape[1] / 30)
    assert images[0] == "label GCaMP6f, frame 7, 3.500000 s"
    pixels = [[float(value) for value in line.split()[1:]] for line in images[1::2]]
    np.testing.assert_array_equal(np.array(pixels, np.float32).reshape(truth.shape), truth.astype(np.float32))


def test_imagej_above_4_gb_by_its_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One page directory, and all pixels behind it, as in files above 4 GB."""
    monkeypatch.setattr("deepbid_rt.conversion.imagej_tiff.LARGEST_TIFF", 10_000)
    truth = noise()
    sizes, *_, last = open_in_imagej(written(tmp_path, truth, "imagej"))
    assert sizes == "sizes 5 3 2 12 16"
    np.testing.assert_array_equal([float(value) for value in last.split()[1:]], truth[-1, -1, -1].reshape(-1))


def test_imagej_opens_no_recording_itself(tmp_path: Path) -> None:
    """The reason for the format imagej: recordings are BigTIFF, so that they may be larger than 4 GB."""
    assert open_in_imagej(own(tmp_path, noise())) == ["cannot be opened"]


def open_in_imagej(path: Path) -> list[str]:
    if shutil.which("javac") is None or not IMAGEJ.is_file():
        pytest.skip("a Java development kit and ImageJ (Debian's package imagej) are not installed")
    command = ["java", "-Djava.awt.headless=true", "-cp", str(IMAGEJ), str(HERE / "OpenInImageJ.java"), str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    return [
        line for line in done.stdout.splitlines() if line.startswith(("sizes", "pixel", "interval", "label", "cannot"))
    ]
