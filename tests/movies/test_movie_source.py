"""Recordings as sources: events, numbers, and what a recording adds to the description of the stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.frame import Frame, Gap, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.movies.movie_facts import MovieFacts
from deepbid_rt.movies.movie_source import MovieSource, scan_of
from deepbid_rt.movies.wanted import Wanted


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A movie of 4 frames, frame n full of n."""
    path = tmp_path / "my movie (1).tif"
    pixels = np.arange(4, dtype=np.int16)[:, None, None] + np.zeros((1, 6, 8), np.int16)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    return path


def play(source: MovieSource) -> list[object]:
    source.open()
    events = []
    while (event := source.read(0.0)) is not None:
        events.append(event)
    return events


def test_plays_info_frames_and_end(path: Path) -> None:
    scan = ScanGeometry("collinear", mirrored=False)
    info, *frames, end = play(MovieSource(path, scan=scan, rate_hz=30))
    assert isinstance(info, StreamInfo)
    assert (info.shape, info.dtype.str, info.rate_hz, info.scan) == ((1, 6, 8), "<i2", 30, scan)
    assert (info.source, info.n_expected, info.parent) == ("my_movie_1_", 4, None)
    assert all(isinstance(frame, Frame) for frame in frames)
    assert [(f.index, f.t_ns, f.arrived_ns, int(f.pixels.max())) for f in frames] == [(n, 0, 0, n) for n in range(4)]
    assert end == StreamEnd("done")


def test_each_opening_is_a_new_series_and_frames_may_be_kept(path: Path) -> None:
    source = MovieSource(path, scan=ScanGeometry(), rate_hz=30)
    first, second = play(source), play(source)
    assert first[0].series != second[0].series
    assert [int(f.pixels.min()) for f in first[1:-1]] == [0, 1, 2, 3]


def test_looping_continues_the_frame_numbers_and_cycles_through_planes(path: Path) -> None:
    info, *frames, _ = play(MovieSource(path, Wanted(planes=2), scan=ScanGeometry(), rate_hz=30, loop=2))
    assert (info.n_expected, info.planes) == (8, 2)
    assert [(f.index, f.plane, int(f.pixels[0, 0, 0])) for f in frames] == [(n, n % 2, n % 4) for n in range(8)]


def test_channels(path: Path) -> None:
    info, *frames, _ = play(MovieSource(path, Wanted(channels=2), scan=ScanGeometry(), rate_hz=30))
    assert info.shape == (2, 6, 8)
    assert [f.pixels[:, 0, 0].tolist() for f in frames] == [[0, 1], [2, 3]]


def test_returns_none_when_not_open_and_after_the_end(path: Path) -> None:
    source = MovieSource(path, scan=ScanGeometry(), rate_hz=30)
    assert source.info is None
    assert source.read(0.0) is None
    play(source)
    assert source.read(0.0) is None
    source.close()
    source.close()


def test_refuses_on_open(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError):
        MovieSource(tmp_path / "none.tif", scan=ScanGeometry(), rate_hz=30).open()
    with pytest.raises(StreamError, match="a frame rate of 0 Hz"):
        MovieSource(path, scan=ScanGeometry(), rate_hz=0).open()
    with pytest.raises(StreamError, match="a file to be played 0 times"):
        MovieSource(path, scan=ScanGeometry(), rate_hz=30, loop=0)


def numbered(tmp_path: Path, numbers: list[int]) -> Path:
    """A ScanImage movie of one page per number, full of it."""
    path = tmp_path / "scanimage.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for number in numbers:
            writer.write(
                np.full((6, 8), number, np.int16),
                contiguous=False,
                metadata=None,
                photometric="minisblack",
                software="SI.VERSION_MAJOR = 2023\nSI.hChannels.channelSave = 1\nSI.hRoiManager.scanFrameRate = 15.5\n"
                "SI.hScan2D.bidirectional = false\n",
                description=f"frameNumbers = {number}\nframeTimestamps_sec = {number / 15.5:.6f}\n",
            )
    return path


def test_own_numbers_come_with_gaps_where_the_recording_lacks_frames(tmp_path: Path) -> None:
    path = numbered(tmp_path, [1, 2, 5, 6])
    info, *events, _ = play(MovieSource(path, scan=ScanGeometry(), own_numbers=True))
    assert info.rate_hz == 15.5
    assert not info.scan.bidirectional
    assert [event.index if isinstance(event, Frame) else event for event in events] == [
        *(1, 2, Gap(3, 2, "source"), 5, 6)
    ]
    assert [event.index for event in play(MovieSource(path, scan=ScanGeometry()))[1:-1]] == [0, 1, 2, 3]


def test_own_numbers_go_on_when_a_recording_is_played_again(tmp_path: Path) -> None:
    path = numbered(tmp_path, [1, 2, 4])
    events = play(MovieSource(path, scan=ScanGeometry(), own_numbers=True, loop=2))[1:-1]
    assert [event.index for event in events if isinstance(event, Frame)] == [1, 2, 4, 5, 6, 8]
    assert [event for event in events if isinstance(event, Gap)] == [Gap(3, 1, "source"), Gap(7, 1, "source")]


def test_frames_have_the_times_of_the_recording(tmp_path: Path) -> None:
    path = numbered(tmp_path, [1, 2, 4])
    events = play(MovieSource(path, scan=ScanGeometry(), own_numbers=True, loop=2))[1:-1]
    times = [event.acquired_s for event in events if isinstance(event, Frame)]
    assert times == pytest.approx([n / 15.5 for n in (1, 2, 4, 5, 6, 8)], abs=2e-6)


def test_a_recording_without_times_gives_none(path: Path) -> None:
    info, *frames, _ = play(MovieSource(path, scan=ScanGeometry(), rate_hz=30))
    assert {frame.acquired_s for frame in frames} == {None}
    assert info.user == {}


def test_pixel_size_and_channel_names_are_in_the_description_of_the_stream(tmp_path: Path) -> None:
    path = tmp_path / "named.ome.tif"
    names = {"axes": "TCYX", "PhysicalSizeX": 0.4, "PhysicalSizeY": 0.8, "Channel": {"Name": ["green", "red"]}}
    tifffile.imwrite(path, np.arange(3 * 2 * 48, dtype=np.int16).reshape(3, 2, 6, 8), metadata=names)
    user = {"pixel_um": [0.8, 0.4], "channels": [{"name": "green"}, {"name": "red"}]}
    assert play(MovieSource(path, scan=ScanGeometry()))[0].user == user


def test_what_the_user_says_about_the_rate_is_so(tmp_path: Path) -> None:
    assert play(MovieSource(numbered(tmp_path, [1, 2]), scan=ScanGeometry(), rate_hz=7.0))[0].rate_hz == 7.0


def test_scan_directions_of_the_recording_complete_those_of_the_user() -> None:
    facts = MovieFacts("ScanImage", "", bidirectional=False, mirrored=False, extra={"f_res_hz": 7910.0, "phase_s": 0.0})
    assert scan_of(facts, ScanGeometry(extra={"phase_s": 1e-7})) == ScanGeometry(
        bidirectional=False, mirrored=False, extra={"f_res_hz": 7910.0, "phase_s": 1e-7}
    )
    assert scan_of(MovieFacts("TIFF", ""), ScanGeometry("collinear", mirrored=False)) == ScanGeometry(
        "collinear", mirrored=False
    )
    with pytest.raises(StreamError, match="scanned in one direction, to be read as collinear"):
        scan_of(facts, ScanGeometry("collinear"))
