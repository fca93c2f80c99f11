"""ScanImage files: stand-ins whose pixels encode (t, plane, channel), and the real files."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.movies import page_descriptions
from deepbid_rt.movies.scanimage_header import ScanImageHeader
from deepbid_rt.movies.tiff import open_movie
from deepbid_rt.movies.wanted import Wanted
from tests import DATA
from tests.movies.tiff_files import SIDE, expected, firsts, value, write

RATE = "SI.hRoiManager.scanFrameRate = 30\nSI.hRoiManager.scanVolumeRate = 6\n"


def header(channels: str = "1", **more: object) -> str:
    lines = [
        "SI.VERSION_MAJOR = 2021",
        f"SI.hChannels.channelSave = {channels}",
        "SI.hChannels.channelName = {'Green' 'Red' 'Three' 'Four'}",
        "SI.hRoiManager.imagingFovUm = [-32 -64;32 -64;32 64;-32 64]",
        "SI.hScan2D.bidirectional = true",
        "SI.hScan2D.linePhase = -3e-07",
        *(f"SI.{key.replace('__', '.')} = {one}" for key, one in more.items()),
    ]
    return "\n".join(lines) + "\n" + (RATE if "plain" not in more else "")


def volume(
    planes: int, flyback: int = 0, *, per_slice: int = 1, fast: bool = True, **more: object
) -> dict[str, object]:
    return {
        "hStackManager__enable": "true",
        "hFastZ__enable": str(fast).lower(),
        "hStackManager__numSlices": planes,
        "hStackManager__framesPerSlice": per_slice,
        "hStackManager__numFramesPerVolume": planes * per_slice,
        "hStackManager__numFramesPerVolumeWithFlyback": planes * per_slice + flyback,
        **more,
    }


def numbered(numbers: Sequence[int], channels: int = 1, rate_hz: float = 30.0) -> list[str]:
    return [
        f"frameNumbers = {number}\nacquisitionNumbers = 1\nframeTimestamps_sec = {(number - 1) / rate_hz:.9f}\n"
        for number in numbers
        for _ in range(channels)
    ]


def stored(planes: int, flyback: int, volumes: int, channels: int = 1) -> list[int]:
    """Values of the pages of volumes with fly-back frames, which show planes of their own."""
    return [
        value(t, plane, channel)
        for t in range(volumes)
        for plane in range(planes + flyback)
        for channel in range(channels)
    ]


@pytest.mark.parametrize("channels", ["1", "[1 4]", "[1;2]", "[1,2,3]", "4"])
def test_saved_channels_follow_each_other(tmp_path: Path, channels: str) -> None:
    count = len([one for one in channels if one.isdigit()])
    pages = [value(t, 0, c) for t in range(3) for c in range(count)]
    path = write(tmp_path / "a.tif", pages, numbered(range(1, 4), count), software=header(channels))
    with open_movie(path, Wanted()) as movie:
        assert movie.shape == (3, count, SIDE, SIDE)
        assert firsts(movie) == expected([(t, 0) for t in range(3)], count)
        facts = movie.facts
        assert (facts.format, facts.rate_hz, facts.bidirectional) == ("ScanImage", 30.0, True)
        assert facts.pixel_um == (2.0, 1.0)
        assert facts.extra["phase_s"] == -3e-7
        assert facts.warnings == ()
        assert facts.numbers is not None
        assert facts.numbers.tolist() == [1, 2, 3]
        assert facts.times_s == pytest.approx([0, 1 / 30, 2 / 30])
    names = {"[1 4]": ("Green", "Four"), "4": ("Four",)}
    assert facts.channel_names == names.get(channels, facts.channel_names)


def test_header_of_software_without_descriptions_is_enough(tmp_path: Path) -> None:
    path = write(tmp_path / "in.tif", range(8), software="SI.hChannels.channelSave = [1;2]\n")
    with open_movie(path, Wanted()) as movie:
        assert movie.shape[:2] == (4, 2)
        assert "channelSave" in movie.facts.pages


def test_flyback_frames_are_left_out(tmp_path: Path) -> None:
    pages = stored(3, 2, 4, channels=2)
    software = header("[1 2]", **volume(3, 2))
    path = write(tmp_path / "a.tif", pages, numbered(range(1, 21), 2), software=software)
    with open_movie(path, Wanted()) as movie:
        assert firsts(movie) == expected([(t, p) for t in range(4) for p in range(3)], 2)
        assert movie.facts.planes == 3
        assert movie.facts.rate_hz == 18.0
        assert "3 planes and 2 fly-back frames, which are left out" in movie.facts.pages
        assert movie.facts.numbers is not None
        assert movie.facts.numbers.tolist() == list(range(1, 13))


@pytest.mark.parametrize("lengths", [(5, 5, 5), (7, 4, 4), (1, 13, 1)])
@pytest.mark.parametrize("described", [True, False])
def test_volumes_cross_the_borders_of_files(tmp_path: Path, lengths: tuple[int, ...], described: bool) -> None:
    pages, start = stored(3, 2, 3), 0
    for number, length in enumerate(lengths, start=1):
        at = range(start + 1, start + length + 1)
        write(
            tmp_path / f"m_00001_{number:05d}.tif",
            pages[start : start + length],
            numbered(at) if described else None,
            software=header(**volume(3, 2)),
        )
        start += length
    for asked in (tmp_path, tmp_path / "m_00001_*.tif"):
        with open_movie(asked, Wanted()) as movie:
            assert firsts(movie) == expected([(t, p) for t in range(3) for p in range(3)])
            assert movie.facts.warnings == ()


def test_a_file_from_the_middle_of_a_series_begins_inside_a_volume(tmp_path: Path) -> None:
    pages = stored(3, 2, 4)
    for number, (start, end) in enumerate([(0, 7), (7, 18), (18, 20)], start=1):
        descriptions = numbered(range(start + 1, end + 1))
        software = header(**volume(3, 2, hStackManager__actualNumVolumes=4))
        write(tmp_path / f"m_00001_{number:05d}.tif", pages[start:end], descriptions, software=software)
    with open_movie(tmp_path / "m_00001_00002.tif", Wanted()) as movie:
        assert firsts(movie) == expected([(2, p) for p in range(3)] + [(3, p) for p in range(3)])
        said = "; ".join(movie.facts.warnings)
    assert "file 2 of 3" in said
    assert "a volume may begin in another one" in said
    assert "1 frames of the incomplete first volume are left out" in said
    assert "says 12 frames" in said


def test_an_aborted_acquisition_loses_its_last_volume_with_a_word(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", stored(3, 2, 3)[:12], numbered(range(1, 13)), software=header(**volume(3, 2)))
    with open_movie(path, Wanted()) as movie:
        assert len(firsts(movie)) == 6
        assert any("2 frames of the incomplete last volume are left out" in one for one in movie.facts.warnings)


def test_pages_that_are_no_whole_frame_are_left_out_with_their_count(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", range(7), software=header("[1 2]"))
    with open_movie(path, Wanted()) as movie:
        assert movie.shape[:2] == (3, 2)
        assert any("1 of its 7 pages" in one for one in movie.facts.warnings)


def test_lost_frames_do_not_shift_planes(tmp_path: Path) -> None:
    pages, numbers = stored(3, 0, 4), list(range(1, 13))
    del pages[4], numbers[4]
    path = write(tmp_path / "a.tif", pages, numbered(numbers), software=header(**volume(3)))
    with open_movie(path, Wanted()) as movie:
        assert firsts(movie) == expected([(t, p) for t in (0, 2, 3) for p in range(3)])
        assert movie.facts.numbers is not None
        assert movie.facts.numbers.tolist() == [1, 2, 3, 7, 8, 9, 10, 11, 12]
        assert any("2 frames of volumes that lack frames" in one for one in movie.facts.warnings)


def test_flyback_frames_that_were_not_stored_are_known_by_their_numbers(tmp_path: Path) -> None:
    numbers = [5 * t + p + 1 for t in range(3) for p in range(3)]
    pages = [value(t, p) for t in range(3) for p in range(3)]
    path = write(tmp_path / "a.tif", pages, numbered(numbers), software=header(**volume(3, 2)))
    with open_movie(path, Wanted()) as movie:
        assert firsts(movie) == expected([(t, p) for t in range(3) for p in range(3)])


def test_lost_frames_of_one_plane_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", range(4), numbered([1, 2, 5, 6]), software=header())
    with open_movie(path, Wanted()) as movie:
        assert any("2 frames are missing" in one for one in movie.facts.warnings)
        assert movie.facts.numbers is not None
        assert movie.facts.numbers.tolist() == [1, 2, 5, 6]


def test_frames_of_a_slice_are_dealt_out(tmp_path: Path) -> None:
    # stored: volume > slice > frame of the slice > channel
    pages = [value(2 * v + f, s, c) for v in range(3) for s in range(2) for f in range(2) for c in range(2)]
    software = header("[1 4]", **volume(2, per_slice=2, fast=False))
    path = write(tmp_path / "a.tif", pages, numbered(range(1, 13), 2), software=software)
    with open_movie(path, Wanted()) as movie:
        assert firsts(movie) == expected([(t, s) for t in range(6) for s in range(2)], 2)
        assert movie.facts.planes == 2
        assert movie.facts.rate_hz == 30.0


def test_averaged_frames_count_as_one(tmp_path: Path) -> None:
    more = volume(2, per_slice=4, fast=False, hScan2D__logAverageFactor=2)
    pages = [value(2 * v + f, s) for v in range(2) for s in range(2) for f in range(2)]
    path = write(tmp_path / "a.tif", pages, software=header(**more))
    with open_movie(path, Wanted()) as movie:
        assert firsts(movie) == expected([(t, s) for t in range(4) for s in range(2)])
        assert movie.facts.rate_hz == 15.0
        assert any("mean of 2" in one for one in movie.facts.warnings)


@pytest.mark.parametrize("more", [{"hStackManager__enable": "false"}, {"hStackManager__numSlices": 1}])
def test_a_stack_that_is_off_is_one_plane(tmp_path: Path, more: dict[str, object]) -> None:
    software = header(**{**volume(3, fast=False), **more})
    path = write(tmp_path / "a.tif", range(6), numbered(range(1, 7)), software=software)
    with open_movie(path, Wanted()) as movie:
        assert movie.facts.planes == 1
        assert movie.shape[0] == 6


def test_acquisitions_of_a_pattern_follow_each_other(tmp_path: Path) -> None:
    for number in (1, 2):
        pages = [one + (value(5) - value(0)) * (number - 1) for one in stored(3, 0, 2)][: 6 if number == 2 else 4]
        write(
            tmp_path / f"m_{number:05d}_00001.tif",
            pages,
            numbered(range(1, len(pages) + 1)),
            software=header(**volume(3)),
        )
    with open_movie(tmp_path / "m_*.tif", Wanted()) as movie:
        assert firsts(movie) == expected([(t, p) for t in (0, 5, 6) for p in range(3)])
        assert any("1 frames of" in one for one in movie.facts.warnings)
    with pytest.raises(StreamError, match="2 acquisitions of ScanImage, the second one from m_00002"):
        open_movie(tmp_path, Wanted())


def test_channels_that_the_header_does_not_state_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", range(8), numbered(range(1, 5), 2), software=header("1"))
    with pytest.raises(StreamError, match=r"states 1 channels, while 2 pages have each frame number.*--channels"):
        open_movie(path, Wanted())
    with open_movie(path, Wanted(channels=2)) as movie:
        assert movie.shape[:2] == (4, 2)
        assert "as given with --channels" in movie.facts.pages
        assert any("the file itself says 1 channels" in one for one in movie.facts.warnings)


def test_wishes_replace_the_header_and_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", stored(3, 2, 4), numbered(range(1, 21)), software=header(**volume(3, 2)))
    with open_movie(path, Wanted(planes=4, flyback=1)) as movie:
        assert firsts(movie) == expected([(t, p) for t in range(4) for p in range(4)])
        assert movie.facts.planes == 4
        assert "--planes and --flyback" in movie.facts.pages
    with open_movie(path, Wanted(planes=3)) as movie:
        assert "as given" not in movie.facts.pages
    with pytest.raises(StreamError, match="multiple of 3 pages"):
        open_movie(path, Wanted(planes=3, flyback=0))


def test_a_header_without_channels_needs_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", range(4), software="SI.VERSION_MAJOR = 2021\n")
    with pytest.raises(FileError, match="without hChannels"):
        open_movie(path, Wanted())
    with open_movie(path, Wanted(channels=2)) as movie:
        assert movie.shape[:2] == (2, 2)


def roi(name: str, *fields: dict[str, Any], enable: int = 1) -> dict[str, Any]:
    found = [{"centerXY": [0, 0], "sizeXY": [2, 2], **field} for field in (fields or ({},))]
    return {"name": name, "enable": enable, "scanfields": found if len(found) > 1 else found[0]}


def rois(*those: dict[str, Any]) -> str:
    return json.dumps({"RoiGroups": {"imagingRoiGroup": {"rois": list(those) if len(those) > 1 else those[0]}}})


def test_several_regions_in_a_page_are_refused(tmp_path: Path) -> None:
    software = header(hRoiManager__mroiEnable="true")
    path = write(tmp_path / "two.tif", range(4), software=software, artist=rois(roi("a"), roi("b")))
    with pytest.raises(StreamError, match=r"2 regions \(mROI\)"):
        open_movie(path, Wanted())
    for name, those, enable in (
        ("one", rois(roi("a")), "true"),
        ("off", rois(roi("a"), roi("b", enable=0)), "true"),
        ("unused", rois(roi("a"), roi("b")), "false"),
    ):
        software = header(hRoiManager__mroiEnable=enable)
        path = write(tmp_path / f"{name}.tif", range(4), software=software, artist=those)
        with open_movie(path, Wanted()) as movie:
            assert movie.shape[0] == 4


def test_more_channels_than_a_stream_carries_are_refused(tmp_path: Path) -> None:
    software = header(f"[{' '.join(map(str, range(1, 15)))}]")
    path = write(tmp_path / "beads.tif", range(28), software=software)
    with pytest.raises(StreamError, match=r"14 channels.*--planes"):
        open_movie(path, Wanted())
    with open_movie(path, Wanted(channels=1, planes=14)) as movie:
        assert movie.facts.planes == 14


def test_swapped_axes_are_refused(tmp_path: Path) -> None:
    software = header(hRoiManager__linesPerFrame=32, hRoiManager__pixelsPerLine=64)
    with open_movie(write(tmp_path / "a.tif", range(2), software=software, shape=(32, 64)), Wanted()) as movie:
        assert movie.shape[2:] == (32, 64)
    with pytest.raises(StreamError, match="the other way round"):
        open_movie(write(tmp_path / "b.tif", range(2), software=software, shape=(64, 32)), Wanted())


def test_a_rate_that_time_stamps_contradict_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", range(9), numbered(range(1, 10), rate_hz=10), software=header())
    with open_movie(path, Wanted()) as movie:
        assert any("says 30 frames/s" in one and "say 10" in one for one in movie.facts.warnings)


@pytest.mark.parametrize("swapped", [False, True])
def test_long_recordings_are_numbered_by_the_ends_of_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped: bool
) -> None:
    monkeypatch.setattr(page_descriptions, "READ_ALL", 5)
    numbers = [1, 2, 3, 4, 9, 10] if swapped else [1, 2, 3, 4, 5, 6]
    for k in (0, 1):
        at = numbers[3 * k : 3 * k + 3]
        write(tmp_path / f"m_00001_{k + 1:05d}.tif", at, numbered(at), software=header())
    with open_movie(tmp_path, Wanted()) as movie:
        found = movie.facts.numbers
        assert movie.facts.times_s is None
    if swapped:
        assert found is None
    else:
        assert found is not None
        assert found.tolist() == numbers


def test_legacy_header(tmp_path: Path) -> None:
    keys = {
        "software.version": 3.8,
        "acq.savingChannel1": 1,
        "acq.savingChannel2": 0,
        "acq.savingChannel3": 1,
        "acq.numberOfZSlices": 2,
        "acq.numberOfFrames": 4,
        "acq.averaging": 1,
        "acq.numAvgFramesSave": 2,
        "acq.frameRate": 4,
        "acq.bidirectionalScan": 0,
    }
    text = "".join(f"state.{key}={one}\r" for key, one in keys.items())
    pages = [value(f, s, c) for s in range(2) for f in range(2) for c in range(2)]
    path = write(tmp_path / "a.tif", pages, lambda _: text)
    with open_movie(path, Wanted()) as movie:
        assert firsts(movie) == expected([(t, s) for t in range(2) for s in range(2)], 2)
        assert movie.facts.rate_hz == 2.0
        assert movie.facts.bidirectional is False
        assert not any("announces" in one for one in movie.facts.warnings)


@pytest.mark.parametrize("prefix", ["scanimage.SI4.", "scanimage.SI."])
def test_headers_between_3_and_2016(tmp_path: Path, prefix: str) -> None:
    new = prefix == "scanimage.SI."
    lines = {
        "hChannels.channelSave" if new else "channelsSave": "[1;2]",
        "hFastZ.enable" if new else "fastZEnable": "true",
        "hStackManager.slicesPerAcq" if new else "stackNumSlices": 3,
        "hFastZ.discardFlybackFrames" if new else "fastZDiscardFlybackFrames": "true",
        "hFastZ.numDiscardFlybackFrames" if new else "fastZNumDiscardFrames": 1,
        "hRoiManager.scanFrameRate" if new else "scanFrameRate": 40,
    }
    text = "Frame Number = {}\nFrame Timestamp(s) = {}.5\n" + "".join(
        f"{prefix}{key} = {one}\n" for key, one in lines.items()
    )
    path = write(tmp_path / "a.tif", stored(3, 1, 2, 2), lambda at: text.format(at // 2 + 1, at // 2))
    with open_movie(path, Wanted()) as movie:
        assert firsts(movie) == expected([(t, p) for t in range(2) for p in range(3)], 2)
        assert movie.facts.rate_hz == 30.0
        assert movie.facts.times_s is not None
        assert movie.facts.times_s.tolist() == [0.5, 1.5, 2.5, 4.5, 5.5, 6.5]


def test_a_header_of_json(tmp_path: Path) -> None:
    tree = {"SI": {"hChannels": {"channelSave": [1, 2]}, "hRoiManager": {"scanFrameRate": 12.5}}}
    path = write(tmp_path / "a.tif", range(4), software=json.dumps(tree))
    with open_movie(path, Wanted()) as movie:
        assert movie.shape[:2] == (2, 2)
        assert movie.facts.rate_hz == 12.5


def test_values_of_matlab() -> None:
    found = ScanImageHeader(
        {
            "a": "[1;2]",
            "b": "Inf",
            "c": "[Inf 3]",
            "d": "true",
            "e": "{'x' 'y z'}",
            "f": "-7.44e-07",
            "g": 1e9,
            "h": None,
        },
        legacy=False,
    )
    assert found.numbers("a") == [1, 2]
    assert found.number("b") is None
    assert found.number("c") is None
    assert found.flag("d") is True
    assert found.strings("e") == ["x", "y z"]
    assert found.number("zz", "f") == -7.44e-7
    assert found.count("g") == 10**9
    assert found.count("f") is None
    assert found.numbers("h") == []


@pytest.mark.parametrize(
    "values",
    [
        {"hStackManager__numSlices": 10**9},
        {"hStackManager__numSlices": 10**9, "hStackManager__numFramesPerVolume": 10**9},
        {"hStackManager__framesPerSlice": 10**9, "hFastZ__enable": "false"},
        {"hStackManager__numFramesPerVolumeWithFlyback": 10**9},
        {"hScan2D__logAverageFactor": 10**9},
        {"hRoiManager__scanFrameRate": "1e400"},
        {"hStackManager__numSlices": "9" * 400},
        {"hRoiManager__imagingFovUm": "[NaN NaN;1 2;3 4;5 6]"},
    ],
)
def test_absurd_numbers_are_refused_or_left_out(tmp_path: Path, values: dict[str, object]) -> None:
    software = header(**{**volume(3), "hStackManager__numFramesPerVolume": 7, **values})
    path = write(tmp_path / "a.tif", range(6), numbered(range(1, 7)), software=software)
    with contextlib.suppress(StreamError, FileError), open_movie(path, Wanted()) as movie:
        movie.read(0, movie.shape[0])


def test_a_cut_file_is_refused_or_salvaged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", stored(3, 2, 4), numbered(range(1, 21)), software=header(**volume(3, 2)))
    os.truncate(path, path.stat().st_size - 3 * SIDE * SIDE * 2)
    with pytest.raises(FileError, match=r"is cut off after 1\d complete pages"):
        open_movie(path, Wanted())
    with open_movie(path, Wanted(salvage=True)) as movie:
        assert firsts(movie) == expected([(t, p) for t in range(3) for p in range(3)])
        assert movie.problem == "it is cut off"


def test_a_file_that_shrinks_gives_an_error_that_names_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", range(9), numbered(range(1, 10)), software=header())
    with open_movie(path, Wanted()) as movie:
        movie.read(0, 9)
        os.truncate(path, 20_000)
        with pytest.raises(StageError, match=r"frame \d of .*a\.tif cannot be read \(it has become shorter"):
            movie.read(0, 9)


def real(*parts: str) -> Path:
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no real recording {path}")
    return path


def pages_of(*paths: Path) -> NDArray[Any]:
    found = []
    for path in paths:
        with tifffile.TiffFile(path) as tif:
            found.append(np.stack([one.asarray() for one in tif.pages]))
    return np.concatenate(found)


def test_real_volumes_over_three_files() -> None:
    folder = real("si2021_vol_1ch")
    paths = sorted(folder.glob("*.tif"))
    raw = pages_of(*paths).reshape(30, 16, 20, 20)[:, :9].reshape(270, 1, 20, 20)
    with open_movie(folder, Wanted()) as movie:
        assert movie.facts.planes == 9
        assert movie.facts.rate_hz == pytest.approx(32.7454 * 9)
        assert movie.facts.pixel_um == pytest.approx((0.84375, 0.84375))
        assert movie.facts.extra["f_res_hz"] == 12050.3
        assert movie.facts.extra["phase_s"] == -7.44e-7
        assert movie.facts.warnings == ("the header says 900 frames, and the files hold 270",)
        assert movie.facts.numbers is not None
        assert movie.facts.numbers.tolist() == list(range(1, 271))
        np.testing.assert_array_equal(movie.read(0, 270), raw)
    with open_movie(paths[1], Wanted()) as movie:
        np.testing.assert_array_equal(movie.read(0, 90), raw[90:180])
        assert "file 2 of 3" in movie.facts.warnings[0]


def test_real_slices_with_two_frames_and_two_channels() -> None:
    path = real("si2023_2slice_2ch", "scanimage_20220923_noroi.tif")
    raw = pages_of(path).reshape(3, 2, 2, 2, 256, 256)  # volume, slice, frame, channel
    with open_movie(path, Wanted()) as movie:
        assert movie.shape == (12, 2, 256, 256)
        assert movie.facts.planes == 2
        assert movie.facts.channel_names == ("Channel 1", "Channel 4")
        assert movie.facts.rate_hz == pytest.approx(58.2068)
        np.testing.assert_array_equal(movie.read(0, 12), raw.transpose(0, 2, 1, 3, 4, 5).reshape(movie.shape))


def test_real_legacy_and_5_7() -> None:
    with open_movie(real("si38_legacy", "sample_scanimage_version_3_8.tiff"), Wanted()) as movie:
        assert (movie.shape, movie.dtype.str) == ((10, 1, 256, 256), "<u2")
        assert (movie.facts.rate_hz, movie.facts.bidirectional) == (3.90625, True)
        assert "1220" in movie.facts.warnings[0]
    path = real("si57_2ch_small", "ScanImageBigTIFFv57.tif")
    with open_movie(path, Wanted()) as movie:
        assert (movie.shape, movie.facts.rate_hz) == ((2, 2, 64, 64), 198.247)
        assert movie.facts.warnings == ()
        assert movie.read(0, 2).mean(axis=(2, 3)).round().tolist() == [[-209, -1005], [-210, -1008]]
