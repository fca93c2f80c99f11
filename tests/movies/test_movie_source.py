from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.frame import Frame, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.recording.tiff_source import TiffSource


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A movie of 4 frames, frame n full of n."""
    path = tmp_path / "my movie (1).tif"
    pixels = np.arange(4, dtype=np.int16)[:, None, None] + np.zeros((1, 6, 8), np.int16)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    return path


def play(source: TiffSource) -> list[object]:
    source.open()
    events = []
    while (event := source.read(0.0)) is not None:
        events.append(event)
    return events


def test_plays_info_frames_and_end(path: Path) -> None:
    scan = ScanGeometry("collinear", mirrored=False)
    info, *frames, end = play(TiffSource(path, scan=scan, rate_hz=30))
    assert isinstance(info, StreamInfo)
    assert (info.shape, info.dtype.str, info.rate_hz, info.scan) == ((1, 6, 8), "<i2", 30, scan)
    assert (info.source, info.n_expected, info.parent) == ("my_movie_1_", 4, None)
    assert all(isinstance(frame, Frame) for frame in frames)
    assert [(f.index, f.t_ns, f.arrived_ns, int(f.pixels.max())) for f in frames] == [(n, 0, 0, n) for n in range(4)]
    assert end == StreamEnd("done")


def test_each_opening_is_a_new_series_and_frames_may_be_kept(path: Path) -> None:
    source = TiffSource(path, scan=ScanGeometry(), rate_hz=30)
    first, second = play(source), play(source)
    assert first[0].series != second[0].series
    assert [int(f.pixels.min()) for f in first[1:-1]] == [0, 1, 2, 3]


def test_looping_continues_the_frame_numbers_and_cycles_through_planes(path: Path) -> None:
    info, *frames, _ = play(TiffSource(path, scan=ScanGeometry(), rate_hz=30, planes=2, loop=2))
    assert (info.n_expected, info.planes) == (8, 2)
    assert [(f.index, f.plane, int(f.pixels[0, 0, 0])) for f in frames] == [(n, n % 2, n % 4) for n in range(8)]


def test_channels(path: Path) -> None:
    info, *frames, _ = play(TiffSource(path, scan=ScanGeometry(), rate_hz=30, channels=2))
    assert info.shape == (2, 6, 8)
    assert [f.pixels[:, 0, 0].tolist() for f in frames] == [[0, 1], [2, 3]]


def test_returns_none_when_not_open_and_after_the_end(path: Path) -> None:
    source = TiffSource(path, scan=ScanGeometry(), rate_hz=30)
    assert source.info is None
    assert source.read(0.0) is None
    play(source)
    assert source.read(0.0) is None
    source.close()
    source.close()


def test_refuses_on_open(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError):
        TiffSource(tmp_path / "none.tif", scan=ScanGeometry(), rate_hz=30).open()
    with pytest.raises(StreamError, match="a frame rate of 0 Hz"):
        TiffSource(path, scan=ScanGeometry(), rate_hz=0).open()
    with pytest.raises(StreamError, match="a file to be played 0 times"):
        TiffSource(path, scan=ScanGeometry(), rate_hz=30, loop=0)
