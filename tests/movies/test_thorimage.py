"""Recordings of ThorImageLS: a stand-in writes ``Experiment.xml`` and files as version 5.0 does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.movies import thorimage
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.wanted import Wanted
from tests import DATA
from tests.movies.stamped_images import SHAPE, movie, stamped

RATE_HZ = 30.0


def experiment(folder: Path, **given: Any) -> Path:
    """Write an ``Experiment.xml``; keys are ``Element_attribute``."""
    folder.mkdir(exist_ok=True)
    count = given.pop("channels", 1)
    values: dict[str, dict[str, Any]] = {
        "Software": {"version": "5.0.2023.10041"},
        "LSM": {
            "channel": (1 << count) - 1, "pixelX": 10, "pixelY": 12, "frameRate": RATE_HZ, "averageMode": 0,
            "averageNum": 5, "scanMode": 0, "areaMode": 0, "pixelSizeUM": 0.884,
        },
        "ZStage": {"steps": 16, "enable": 1},
        "Timelapse": {"timepoints": 3, "intervalSec": 0},
        "Streaming": {"enable": 1, "frames": 6, "rawData": 1, "zFastEnable": 0, "flybackFrames": 1},
        "CaptureMode": {"mode": 1},
        "Modality": {"primaryDetectorType": 1},
        "ExperimentStatus": {"value": "Complete"},
        "RawData": {"onlyEnabledChannels": 1},
    }  # fmt: skip
    mask = given.pop("mask", (1 << count) - 1)
    for key, value in given.items():
        element, attribute = key.split("_")
        values[element][attribute] = value
    rows = "".join(
        f"<{name} " + " ".join(f'{key}="{one}"' for key, one in attributes.items()) + " />"
        for name, attributes in values.items()
    )
    waves = "".join(f'<Wavelength name="Chan{chr(65 + i)}" />' for i in range(4) if mask >> i & 1)
    xml = folder / "Experiment.xml"
    xml.write_text(
        '<?xml version="1.0"?>\n<ThorImageExperiment><Name name="x" path="D:\\x" />'
        f'<Wavelengths>{waves}<ChannelEnable Set="{mask}" /></Wavelengths>{rows}</ThorImageExperiment>'
    )
    return folder


def raw(folder: Path, pixels: Any, name: str = "Image_0001_0001.raw") -> Path:
    (folder / name).write_bytes(np.asarray(pixels, "<u2").tobytes())
    return folder / name


def tiffs(folder: Path, times: int, planes: int = 1, channels: str = "A", *, shape: tuple[int, int] = SHAPE) -> Path:
    for t in range(times):
        for z in range(planes):
            for c, letter in enumerate(channels):
                name = f"Chan{letter}_001_001_{z + 1:03}_{t + 1:03}.tif"
                tifffile.imwrite(folder / name, stamped(t, z, c, shape=shape), metadata=None)
    return folder


def opened(path: Path, **wanted: Any) -> MovieFile:
    assert thorimage.claims(path)
    return thorimage.open_movie(path, Wanted(**wanted))


def pixels(path: Path, **wanted: Any) -> Any:
    with opened(path, **wanted) as one:
        return one.read(0, one.shape[0])


def test_a_raw_file_of_two_channels(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a", channels=2)
    path = raw(folder, movie(6, 1, 2))
    for given in (folder, path, folder / "Experiment.xml"):
        with opened(given) as one:
            assert one.shape == (6, 2, *SHAPE)
            assert one.dtype.str == "<u2"
            np.testing.assert_array_equal(one.read(0, 6), movie(6, 1, 2))
            facts = one.facts
            assert facts.planes == 1
            assert facts.rate_hz == RATE_HZ
            assert facts.pixel_um == (0.884, 0.884)
            assert facts.channel_names == ("ChanA", "ChanB")
            assert facts.bidirectional is True
            assert facts.warnings == ()
            assert "2 channels follow each other as whole images" in facts.pages
            assert "the length of the file" in facts.pages


def test_planes_and_fly_back_frames_of_a_raw_file(tmp_path: Path) -> None:
    folder = experiment(
        tmp_path / "a", channels=2, ZStage_steps=3, Streaming_zFastEnable=1, Streaming_flybackFrames=2,
        Streaming_frames=20,
    )  # fmt: skip
    whole = movie(4, 5, 2)
    raw(folder, whole)
    with opened(folder) as one:
        np.testing.assert_array_equal(one.read(0, 12), movie(4, 3, 2))
        assert one.facts.planes == 3
        assert one.facts.rate_hz == pytest.approx(RATE_HZ * 3 / 5)
        assert "3 planes (of 5, 2 fly-back frames left out)" in one.facts.pages
        assert one.facts.warnings == ()


def test_steps_of_the_stage_are_no_planes_without_fast_z(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a")
    raw(folder, movie(6))
    with opened(folder) as one:
        assert one.facts.planes == 1


def test_averaged_frames_come_less_often(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a", LSM_averageMode=1, LSM_averageNum=3, LSM_scanMode=1)
    raw(folder, movie(6))
    with opened(folder) as one:
        assert one.facts.rate_hz == RATE_HZ / 3
        assert one.facts.bidirectional is False


@pytest.mark.parametrize("frames", [4, 9])
def test_a_raw_file_of_another_length_is_taken_with_a_warning(tmp_path: Path, frames: int) -> None:
    folder = experiment(tmp_path / "a", channels=2, ExperimentStatus_value="Stopped")
    path = raw(folder, movie(frames, 1, 2))
    path.write_bytes(path.read_bytes() + b"\1" * 250)
    with opened(folder) as one:
        np.testing.assert_array_equal(one.read(0, frames), movie(frames, 1, 2))
        text = " ".join(one.facts.warnings)
        assert f"promises 6 frames, and Image_0001_0001.raw holds {frames}, since the recording was stopped" in text
        assert "10 bytes of an unfinished frame" in text
        assert "1 images of an unfinished frame" in text


def test_an_incomplete_last_volume_is_left_out_with_a_warning(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a", ZStage_steps=2, Streaming_zFastEnable=1, Streaming_frames=8)
    raw(folder, movie(3, 3)[:8])
    with opened(folder) as one:
        np.testing.assert_array_equal(one.read(0, 4), movie(2, 2))
        assert one.facts.warnings == ("2 images of an incomplete last volume are left out",)


def test_a_raw_file_that_grows_keeps_its_frames(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a")
    path = raw(folder, movie(3))
    with opened(folder) as one:
        with path.open("ab") as file:
            file.write(movie(5).astype("<u2").tobytes())
        assert one.shape[0] == 3
        np.testing.assert_array_equal(one.read(0, 3), movie(3))


def test_a_raw_file_that_shrinks_is_an_error_of_that_frame(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a")
    path = raw(folder, movie(6))
    with opened(folder) as one:
        path.write_bytes(path.read_bytes()[:1000])
        one.frame(3)
        with pytest.raises(StageError, match="frame 5 of"):
            one.frame(5)


def test_all_four_channels_stored_where_two_are_enabled(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a", mask=0b1010, LSM_channel=0b1010, RawData_onlyEnabledChannels=0)
    raw(folder, movie(6, 1, 4))
    with opened(folder) as one:
        np.testing.assert_array_equal(one.read(0, 6), movie(6, 1, 4)[:, [1, 3]])
        assert one.facts.channel_names == ("ChanB", "ChanD")
        assert "2 enabled channels of 4 stored ones" in one.facts.pages
    raw(folder, movie(6, 1, 2))
    np.testing.assert_array_equal(pixels(folder), movie(6, 1, 2))
    raw(folder, movie(5, 1, 4))
    with opened(folder) as one:
        assert one.shape[:2] == (5, 2)
        assert "leaves open whether the file holds 4 or 2 channels" in one.facts.warnings[0]
    assert pixels(folder, channels=4).shape[:2] == (5, 4)


def test_wishes_for_a_raw_file(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a", Streaming_frames=24)
    raw(folder, movie(4, 3, 2))
    with opened(folder, channels=2, planes=2, flyback=1) as one:
        np.testing.assert_array_equal(one.read(0, 8), movie(4, 3, 2)[[0, 1, 3, 4, 6, 7, 9, 10]])
        assert one.facts.pages.endswith("as given with --planes and --flyback")
        assert one.facts.channel_names == ("ChanA", "ChanB")
    for wanted in (Wanted(channels=0), Wanted(planes=0), Wanted(planes=100), Wanted(channels=9)):
        with pytest.raises(StreamError):
            thorimage.open_movie(folder, wanted)


@pytest.mark.parametrize("content", [b"", b"\0" * 100])
def test_a_raw_file_without_a_frame_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = experiment(tmp_path / "a")
    (folder / "Image_0001_0001.raw").write_bytes(content)
    with pytest.raises(StreamError, match="with 0 pages"):
        thorimage.open_movie(folder, Wanted())


def test_several_raw_files_are_refused_by_name(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a")
    for name in ("Image_0001_0001.raw", "Image_0001_0002.raw"):
        raw(folder, movie(6), name)
    with pytest.raises(FileError, match=r"2 raw files \(Image_0001_0001\.raw, Image_0001_0002\.raw\)"):
        thorimage.open_movie(folder, Wanted())
    assert pixels(folder / "Image_0001_0002.raw").shape[0] == 6


@pytest.mark.parametrize(("key", "value"), [("LSM_pixelX", 10**9), ("LSM_pixelY", 0), ("LSM_pixelX", "many")])
def test_a_size_that_is_wrong_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    folder = experiment(tmp_path / "a", **{key: value})
    raw(folder, movie(2))
    with pytest.raises(StreamError, match="pixels"):
        thorimage.open_movie(folder, Wanted())


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"LSM_areaMode": 3}, "a line scan"),
        ({"Modality_primaryDetectorType": 0}, "a camera"),
    ],
)
def test_other_recordings_are_refused(tmp_path: Path, given: dict[str, Any], sentence: str) -> None:
    folder = experiment(tmp_path / "a", **given)
    raw(folder, movie(6))
    with pytest.raises(StreamError, match=sentence):
        thorimage.open_movie(folder, Wanted())


def test_one_file_per_channel_plane_and_time(tmp_path: Path) -> None:
    folder = experiment(
        tmp_path / "a", channels=2, ZStage_steps=3, Streaming_zFastEnable=1, Streaming_flybackFrames=0,
        Streaming_frames=12,
    )  # fmt: skip
    tiffs(folder, 4, 3, "AB")
    (folder / "ChanA_Preview.tif").write_bytes(b"x")
    for given in (folder, folder / "ChanB_001_001_002_003.tif", folder / "Experiment.xml"):
        with opened(given) as one:
            assert one.shape == (12, 2, *SHAPE)
            np.testing.assert_array_equal(one.read(0, 12), movie(4, 3, 2))
            assert one.facts.planes == 3
            assert one.facts.rate_hz == RATE_HZ
            assert one.facts.warnings == ()
            assert "3 planes, by the names of the files" in one.facts.pages


def test_fly_back_planes_of_tiff_files_are_left_out(tmp_path: Path) -> None:
    folder = experiment(
        tmp_path / "a", ZStage_steps=2, Streaming_zFastEnable=1, Streaming_flybackFrames=1, Streaming_frames=9
    )
    tiffs(folder, 3, 3)
    with opened(folder) as one:
        np.testing.assert_array_equal(one.read(0, 6), movie(3, 2))
        assert one.facts.rate_hz == pytest.approx(RATE_HZ * 2 / 3)
        assert "1 fly-back frames left out" in one.facts.pages


def test_planes_that_the_names_do_not_count_warn(tmp_path: Path) -> None:
    folder = experiment(
        tmp_path / "a", ZStage_steps=2, Streaming_zFastEnable=1, Streaming_flybackFrames=1, Streaming_frames=6
    )
    tiffs(folder, 6)
    with opened(folder) as one:
        assert one.read(0, 4)[:, 0, 5, 5].tolist() == [0, 1000, 3000, 4000]
        assert one.facts.planes == 2
        assert "count no planes" in one.facts.warnings[0]
    with opened(folder, planes=1) as one:
        assert one.shape[0] == 6


def test_volumes_that_are_not_streamed(tmp_path: Path) -> None:
    folder = experiment(
        tmp_path / "a", CaptureMode_mode=0, ZStage_steps=2, Timelapse_timepoints=3, Timelapse_intervalSec=4
    )
    tiffs(folder, 3, 2)
    with opened(folder) as one:
        assert one.shape[0] == 6
        assert one.facts.planes == 2
        assert one.facts.rate_hz == pytest.approx(0.5)
        assert one.facts.warnings == ()


def test_missing_files(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a", channels=2)
    tiffs(folder, 6, 1, "AB")
    (folder / "ChanB_001_001_001_006.tif").unlink()
    with opened(folder) as one:
        assert one.shape[0] == 5
        assert "the last time (6) lacks files" in one.facts.warnings[0]
        assert "promises 6 frames, and there are files of 5" in one.facts.warnings[1]
    (folder / "ChanA_001_001_001_003.tif").unlink()
    with pytest.raises(FileError, match=r"no file .*ChanA_\*_\*_001_003\.tif"):
        thorimage.open_movie(folder, Wanted())
    np.testing.assert_array_equal(pixels(folder, salvage=True), movie(2, 1, 2))
    for one in folder.glob("ChanB*"):
        one.unlink()
    with pytest.raises(FileError, match="no file of ChanB"):
        thorimage.open_movie(folder, Wanted())


def test_a_tiff_file_that_is_cut(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a")
    tiffs(folder, 6)
    path = folder / "ChanA_001_001_001_004.tif"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(FileError, match="ChanA_001_001_001_004"):
        thorimage.open_movie(folder, Wanted())
    with opened(folder, salvage=True) as one:
        np.testing.assert_array_equal(one.read(0, 3), movie(3))
        assert one.shape[0] == 3
        assert one.problem


def test_contradictions_of_tiff_files(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a", LSM_pixelX=20)
    tiffs(folder, 6)
    with opened(folder) as one:
        assert "12 lines of 20 pixels" in one.facts.warnings[0]
    with pytest.raises(StreamError, match="2 channels for"):
        thorimage.open_movie(folder, Wanted(channels=2))
    tifffile.imwrite(folder / "ChanA_001_002_001_001.tif", stamped(0))
    with pytest.raises(StreamError, match="several wells or tiles"):
        thorimage.open_movie(folder, Wanted())
    (folder / "ChanA_001_002_001_001.tif").unlink()
    tifffile.imwrite(folder / "ChanA_001_001_001_002.tif", movie(2)[:, 0], metadata=None)
    with pytest.raises(StreamError, match="with 2 pages"):
        thorimage.open_movie(folder, Wanted())
    tifffile.imwrite(folder / "ChanA_001_001_001_002.tif", stamped(0, shape=(6, 10)), metadata=None)
    with pytest.raises(StreamError, match=r"shape \(6, 10\)"):
        thorimage.open_movie(folder, Wanted())


def test_names_that_count_far_more_than_there_is_are_refused(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a")
    tifffile.imwrite(folder / "ChanA_001_001_001_001.tif", stamped(0))
    tifffile.imwrite(folder / "ChanA_001_001_900000000_900000000.tif", stamped(0))
    with pytest.raises(StreamError, match="whose names count 900000000 times"):
        thorimage.open_movie(folder, Wanted())


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "a")
    with pytest.raises(FileError, match="without Image_0001_0001"):
        thorimage.open_movie(folder, Wanted())
    (folder / "Image_scan_1_region_0_0.tif").write_bytes(b"x")
    with pytest.raises(FileError, match="give Image_scan_1_region_0_0"):
        thorimage.open_movie(folder, Wanted())


@pytest.mark.parametrize("old", ["</ThorImageExperiment>", "<?xml", "ThorImageExperiment"])
def test_a_damaged_xml_is_refused(tmp_path: Path, old: str) -> None:
    folder = experiment(tmp_path / "a")
    raw(folder, movie(6))
    xml = folder / "Experiment.xml"
    xml.write_text(xml.read_text().replace(old, "<!DOCTYPE x><?xml" if old == "<?xml" else "<other>" * 3, 1))
    with pytest.raises(FileError):
        thorimage.open_movie(folder, Wanted())


def test_claims(tmp_path: Path) -> None:
    raw(tmp_path, movie(1))
    assert not thorimage.claims(tmp_path)
    assert not thorimage.claims(tmp_path / "Image_0001_0001.raw")
    assert not thorimage.claims(tmp_path / "missing")
    (tmp_path / "Experiment.xml").write_text("<PVScan/>")
    assert not thorimage.claims(tmp_path / "Experiment.xml")
    folder = experiment(tmp_path / "a")
    assert thorimage.claims(folder)
    assert not thorimage.claims(folder / "Image_0001_0001.raw")
    (folder / "ROIMask.raw").write_bytes(b"x")
    assert not thorimage.claims(folder / "ROIMask.raw")


@pytest.mark.skipif(not (DATA / "thorlabs_3files").is_dir(), reason="no shared/data/thorlabs_3files")
def test_a_real_recording() -> None:
    folder = DATA / "thorlabs_3files"
    for path in (folder, folder / "ChanA_001_001_001_002.tif"):
        with opened(path) as one:
            assert one.shape == (3, 1, 512, 512)
            assert one.dtype.str == "<u2"
            assert one.facts.rate_hz == 13.967
            assert one.facts.pixel_um == (0.884, 0.884)
            assert one.facts.channel_names == ("ChanA",)
            assert one.facts.bidirectional is True
            assert one.facts.warnings == ()
            assert not one.read(0, 3).any()
