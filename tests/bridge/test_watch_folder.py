"""Files that are followed while they are written. The pixels of a page say its number."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from bridge import watch_folder
from bridge.watch_folder import GrowingTiff, WatchSettings, WatchSource, entry_of
from deepbid_rt.errors import FileError, OptionError, RefusedError
from deepbid_rt.frame import Event, Frame, Gap, StreamEnd, StreamInfo
from deepbid_rt.movies.wanted import Wanted
from deepbid_rt.zmq_io import ZmqSource
from tests import DATA, ROOT
from tests.movies.tiff_files import page, write

QUICK: dict[str, Any] = {"idle_s": 0.4, "file_timeout_s": 0.3, "settle_s": 0.05}
WAIT_S = 20.0
SHAPE = (24, 32)


def quick(**more: Any) -> WatchSettings:
    return WatchSettings(**{**QUICK, **more})


@contextmanager
def watching(path: Path, settings: WatchSettings | None = None) -> Iterator[WatchSource]:
    with closing(WatchSource(path, settings or quick())) as source:
        source.open()
        yield source


def copied(event: Event) -> Event:
    return Frame(event.index, event.pixels.copy(), event.t_ns, event.arrived_ns, event.plane, event.flags,
                 acquired_s=event.acquired_s) if isinstance(event, Frame) else event  # fmt: skip


def until(source: WatchSource, enough: Callable[[list[Event]], bool], wait_s: float = WAIT_S) -> list[Event]:
    """Events until there are enough. Fails after a long silence."""
    events: list[Event] = []
    deadline_s = time.monotonic() + wait_s
    while not enough(events):
        assert time.monotonic() < deadline_s, f"only {events[-3:]}"
        event = source.read(0.05)
        events += [copied(event)] if event is not None else []
    return events


def frames_of(events: list[Event]) -> list[Frame]:
    return [event for event in events if isinstance(event, Frame)]


def ended(events: list[Event]) -> bool:
    return bool(events) and isinstance(events[-1], StreamEnd)


def whole_series(source: WatchSource) -> list[Event]:
    return until(source, ended)


def has(count: int) -> Callable[[list[Event]], bool]:
    return lambda events: len(frames_of(events)) >= count


def silence(source: WatchSource, timeout_s: float = 0.15) -> None:
    """Nothing comes, although the source looks again and again."""
    assert source.read(timeout_s) is None


def picture(number: int, dtype: str = "i2", shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return page(number, dtype, shape)


def numbers(events: list[Event]) -> list[list[int]]:
    """The number in the first pixel of each channel of each frame, with all other pixels checked."""
    found = []
    for frame in frames_of(events):
        firsts = [int(one[0, 0]) for one in frame.pixels]
        for pixels, first in zip(frame.pixels, firsts, strict=True):
            np.testing.assert_array_equal(pixels, picture(first, "f8", pixels.shape).astype(pixels.dtype))
        found.append(firsts)
    return found


# One growing TIFF


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "more", [{}, {"metadata": None}, {"compression": "zlib"}, {"rowsperstrip": 5}, {"tile": (16, 16)}]
)
def test_the_pages_of_a_growing_tiff_come_one_by_one(tmp_path, bigtiff, byteorder, more):
    path = tmp_path / "movie.tif"
    with watching(path) as source, tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as writer:
        silence(source)
        events: list[Event] = []
        for number in range(5):
            writer.write(picture(number, "u2"), photometric="minisblack", contiguous=False, **more)
            if number > 0:  # the first page alone does not tell how its writer goes on
                events += until(source, has(2 if number == 1 else 1))
        assert numbers(events) == [[0], [1], [2], [3], [4]]
        assert [frame.index for frame in frames_of(events)] == [0, 1, 2, 3, 4]
        assert events[0].shape == (1, *SHAPE)
        assert events[0].dtype == np.dtype("<u2")
        assert whole_series(source) == [StreamEnd("done")]


@pytest.mark.parametrize(
    ("stored", "given"), [("u1", "|u1"), ("i1", "<i2"), ("f8", "<f4"), (">i2", "<i2"), ("u4", "<f4")]
)
def test_types_become_those_of_a_stream(tmp_path, stored, given):
    path = tmp_path / "movie.tif"
    with tifffile.TiffWriter(path, byteorder=">" if stored[0] == ">" else "<") as writer:
        for number in range(3):
            writer.write(picture(number, stored), photometric="minisblack", contiguous=False, metadata=None)
    with watching(path) as source:
        events = whole_series(source)
    assert events[0].dtype == np.dtype(given)
    assert numbers(events) == [[0], [1], [2]]


def linked(order: str, big: bool, count: int) -> tuple[bytes, list[int], list[int]]:
    """A TIFF as libtiff writes it: pixels, directory, then the pointer of the directory before.

    Returns the bytes without the pointers, their places, and their values; pages end at the same places.
    """
    pointer, width = ("Q", 8) if big else ("I", 4)
    head = (b"II" if order == "<" else b"MM") + (
        struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)
    )
    out, places, values = bytearray(head + bytes(width)), [len(head)], []
    for number in range(count):
        pixels = picture(number).astype(order + "i2").tobytes()
        start = len(out)
        out += pixels
        values.append(len(out))
        tags = [
            (256, SHAPE[1]),
            (257, SHAPE[0]),
            (258, 16),
            (259, 1),
            (262, 1),
            (273, start),
            (277, 1),
            (278, SHAPE[0]),
            (279, len(pixels)),
            (339, 2),
        ]
        out += struct.pack(order + ("Q" if big else "H"), len(tags))
        for code, value in tags:
            out += struct.pack(order + "HH" + pointer * 2, code, 16 if big else 4, 1, value)
        places.append(len(out))
        out += bytes(width)
    return bytes(out), places, values


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_pointer_that_is_patched_late_is_waited_for(tmp_path, order, big):
    """The file neither changes its length nor, within a tick of the clock, its time when a pointer is written."""
    content, places, values = linked(order, big, 4)
    path = tmp_path / "movie.tif"
    with path.open("wb", buffering=0) as file, watching(path, quick(idle_s=30, settle_s=30)) as source:
        file.write(content)
        silence(source)
        for number, (place, value) in enumerate(zip(places, values, strict=False)):
            stat = path.stat()
            file.seek(place)
            file.write(struct.pack(order + ("Q" if big else "I"), value))
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            if number:
                events = until(source, has(2 if number == 1 else 1))
                assert numbers(events)[-1] == [number]
            silence(source, 0.03)


def test_a_pointer_beyond_the_end_of_the_file_is_waited_for(tmp_path):
    """As ScanImage writes: each directory points to where the next one will be."""
    path = tmp_path / "whole.tif"
    write(path, range(3), shape=SHAPE)
    content = path.read_bytes()
    with tifffile.TiffFile(path) as tif:
        pages = [one.offset for one in tif.pages]
    growing = tmp_path / "growing.tif"
    with growing.open("wb", buffering=0) as file, watching(growing) as source:
        file.write(content[: pages[1]])
        assert numbers(until(source, has(1))) == [[0]]
        silence(source, 0.03)
        file.write(content[pages[1] : pages[2]])
        assert numbers(until(source, has(1))) == [[1]]
        file.write(content[pages[2] :])
        assert numbers(until(source, has(1))) == [[2]]


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_file_that_is_copied_byte_by_byte_gives_whole_pages_only(tmp_path, compression):
    whole = tmp_path / "whole.tif"
    write(whole, range(4), shape=(8, 6), compression=compression)
    content = whole.read_bytes()
    path = tmp_path / "copy.tif"
    with path.open("wb", buffering=0) as file, closing(GrowingTiff(path)) as tiff:
        found: list[int] = []

        def look() -> None:
            tiff.look()
            if (one := tiff.page()) is not None:
                out = np.empty((8, 6), "<i2")
                tiff.read(one, out)
                tiff.take(one)
                found.append(int(out[0, 0]))
                np.testing.assert_array_equal(out, page(found[-1], "i2", (8, 6)))

        for byte in content:
            file.write(bytes([byte]))
            look()
        deadline_s = time.monotonic() + WAIT_S
        while len(found) < 4 and time.monotonic() < deadline_s:
            look()
        assert found == [0, 1, 2, 3]
        assert tiff.page() is None


def test_a_compressed_page_whose_length_is_written_last_is_waited_for(tmp_path):
    path = tmp_path / "movie.tif"
    write(path, range(2), shape=SHAPE, compression="zlib", byteorder="<")
    with tifffile.TiffFile(path) as tif:
        place = tif.pages[1].tags[279].valueoffset
    content = path.read_bytes()
    unfinished = bytearray(content)
    unfinished[place : place + 8] = bytes(8)
    path.write_bytes(unfinished)
    with watching(path, quick(idle_s=30)) as source, path.open("r+b", buffering=0) as file:
        assert numbers(until(source, has(1))) == [[0]]
        silence(source)
        file.write(content)
        assert numbers(until(source, has(1))) == [[1]]


def test_a_directory_that_is_read_while_it_is_written_is_read_again(tmp_path, monkeypatch):
    """Its number of tags is there, and then its first tags, before the others are."""
    content, places, values = linked("<", False, 3)
    raw = bytearray(content)
    for place, value in zip(places, values, strict=False):
        raw[place : place + 4] = struct.pack("<I", value)
    path = tmp_path / "movie.tif"
    torn = bytearray(raw)
    torn[values[1] + 2 + 5 * 12 : values[1] + 2 + 10 * 12] = bytes(5 * 12)
    path.write_bytes(torn)
    with path.open("r+b", buffering=0) as file, closing(GrowingTiff(path)) as tiff:
        deadline_s = time.monotonic() + WAIT_S
        while tiff.count < 1 and time.monotonic() < deadline_s:
            tiff.look()
            if (one := tiff.page()) is not None:
                tiff.take(one)
        tiff.first = None  # so that it does not take the file to be longer than it needs
        tiff.look()
        assert tiff.page() is None  # it has seen the torn directory once
        file.write(raw)
        tiff.look()
        assert tiff.page() is None  # and has to see the other one twice
        while (one := tiff.page()) is None and time.monotonic() < deadline_s:
            tiff.look()
        assert one.offset == values[1]


def test_a_half_written_page_at_the_end_is_said_and_counts_as_missing(tmp_path, caplog):
    whole = tmp_path / "whole.tif"
    write(whole, range(3), shape=SHAPE)
    content = whole.read_bytes()
    (tmp_path / "cut.tif").write_bytes(content[:-100])
    with watching(tmp_path / "cut.tif") as source:
        events = whole_series(source)
    assert numbers(events) == [[0], [1]]
    assert events[-2:] == [Gap(2, 1, "source"), StreamEnd("done")]
    assert "not whole" in caplog.text


def test_a_file_that_goes_on_after_a_pause_is_a_new_series(tmp_path):
    path = tmp_path / "movie.tif"
    with watching(path) as source, tifffile.TiffWriter(path) as writer:
        for number in range(3):
            writer.write(picture(number), contiguous=False, photometric="minisblack")
        first = whole_series(source)
        silence(source)
        for number in range(3, 5):
            writer.write(picture(number), contiguous=False, photometric="minisblack")
        second = whole_series(source)
    assert numbers(first + second) == [[0], [1], [2], [3], [4]]
    assert isinstance(second[0], StreamInfo)
    assert first[0].series != second[0].series


def test_another_file_in_its_place_is_a_new_series(tmp_path):
    path = tmp_path / "movie.tif"
    write(path, range(3), shape=SHAPE)
    with watching(path, quick(idle_s=30)) as source:
        until(source, has(3))
        write(tmp_path / "next.tif", range(10, 12), shape=SHAPE)
        (tmp_path / "next.tif").replace(path)
        events = until(source, has(2))
    assert events[0] == StreamEnd("done")
    assert numbers(events) == [[10], [11]]


def test_a_file_that_is_renamed_or_deleted_is_read_to_its_end(tmp_path):
    path = tmp_path / "movie.tif"
    with tifffile.TiffWriter(path) as writer, watching(path) as source:
        for number in range(2):
            writer.write(picture(number), contiguous=False, photometric="minisblack")
        until(source, has(2))
        path.rename(tmp_path / "done.tif")
        writer.write(picture(2), contiguous=False, photometric="minisblack")
        assert numbers(until(source, has(1))) == [[2]]
        (tmp_path / "done.tif").unlink()
        assert whole_series(source) == [StreamEnd("done")]
        silence(source)


def test_a_file_that_shrinks_is_a_new_series(tmp_path, caplog):
    path = tmp_path / "movie.tif"
    write(path, range(4), shape=SHAPE)
    with watching(path, quick(idle_s=30)) as source:
        until(source, has(4))
        write(path, [7, 8], shape=SHAPE)  # opens the same file again and empties it
        events = until(source, has(2))
    assert events[0] == StreamEnd("replaced")
    assert numbers(events) == [[7], [8]]
    assert "shorter" in caplog.text


def test_a_page_of_another_size_is_missing_and_said(tmp_path, caplog):
    path = tmp_path / "movie.tif"
    with tifffile.TiffWriter(path) as writer:
        for shape in (SHAPE, SHAPE, (5, 5), SHAPE):
            writer.write(picture(1, shape=shape), contiguous=False, photometric="minisblack", metadata=None)
    with watching(path) as source:
        events = whole_series(source)
    assert [frame.index for frame in frames_of(events)] == [0, 1, 3]
    assert [event for event in events if isinstance(event, Gap)] == [Gap(2, 1, "source")]
    assert "another size" in caplog.text


@pytest.mark.parametrize(
    "content", [b"", b"II*\0", b"no TIFF at all, however long it is " * 99, b"II*\0\x08\0\0\0" + bytes(500)]
)
def test_what_is_no_tiff_is_waited_for_and_said(tmp_path, content, caplog):
    path = tmp_path / "movie.tif"
    path.write_bytes(content)
    with watching(path) as source:
        silence(source, 0.6)
        assert "cannot be read" in caplog.text
        write(tmp_path / "next.tif", range(2), shape=SHAPE)
        (tmp_path / "next.tif").replace(path)
        assert numbers(until(source, has(2))) == [[0], [1]]


def test_pages_that_form_a_circle_end_the_file(tmp_path, caplog):
    content, places, values = linked("<", False, 3)
    raw = bytearray(content)
    for place, value in zip(places, [*values, values[0]], strict=True):
        raw[place : place + 4] = struct.pack("<I", value)
    (tmp_path / "movie.tif").write_bytes(raw)
    with watching(tmp_path / "movie.tif") as source:
        assert numbers(whole_series(source)) == [[0], [1], [2]]


def test_colours_are_refused_and_the_next_file_is_taken(tmp_path, caplog):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, np.zeros((3, 8, 8, 3), np.uint8), photometric="rgb", metadata=None)
    with watching(path) as source:
        silence(source, 0.3)
        assert "colours" in caplog.text
        write(tmp_path / "next.tif", range(2), shape=SHAPE)
        (tmp_path / "next.tif").replace(path)
        assert numbers(until(source, has(2))) == [[0], [1]]


# Channels, planes, and formats that say what they are at the end


def test_given_channels_and_planes_are_never_read_as_time(tmp_path):
    path = tmp_path / "movie.tif"
    wanted = Wanted(channels=2, planes=2, flyback=1)
    with watching(path, quick(wanted=wanted)) as source, tifffile.TiffWriter(path) as writer:
        for number in range(12 + 1):  # two volumes, and half a frame
            writer.write(picture(number), contiguous=False, photometric="minisblack", metadata=None)
        events = whole_series(source)
    assert events[0].shape == (2, *SHAPE)
    assert events[0].planes == 2
    assert numbers(events) == [[0, 1], [2, 3], [6, 7], [8, 9]]
    assert [(frame.index, frame.plane) for frame in frames_of(events)] == [(0, 0), (1, 1), (2, 0), (3, 1)]
    assert events[-2] == Gap(4, 1, "source")


HEADER = (
    "SI.VERSION_MAJOR = 2021\nSI.hChannels.channelSave = [1;2]\nSI.hChannels.channelName = {'Green' 'Red'}\n"
    "SI.hRoiManager.scanFrameRate = 30\nSI.hScan2D.bidirectional = true\nSI.hScan2D.linePhase = -3e-07\n"
)
VOLUME = (
    "SI.hStackManager.enable = true\nSI.hFastZ.enable = true\nSI.hStackManager.numSlices = 3\n"
    "SI.hStackManager.framesPerSlice = 1\nSI.hStackManager.numFramesPerVolume = 3\n"
    "SI.hStackManager.numFramesPerVolumeWithFlyback = 4\nSI.hRoiManager.scanVolumeRate = 7.5\n"
)


def scanimage(writer: tifffile.TiffWriter, number: int, channel: int, header: str, value: int) -> None:
    writer.write(
        picture(value), contiguous=False, metadata=None, photometric="minisblack", software=header,
        description=f"frameNumbers = {number}\nframeTimestamps_sec = {number / 30:.9f}\n".encode(),
    )  # fmt: skip


def test_channels_rate_scan_and_numbers_of_scanimage(tmp_path):
    path = tmp_path / "scan_00001_00001.tif"
    with watching(tmp_path) as source, tifffile.TiffWriter(path, bigtiff=True) as writer:
        for number in (1, 2, 4, 5):  # 3 was lost
            for channel in range(2):
                scanimage(writer, number, channel, HEADER, 10 * number + channel)
        events = whole_series(source)
    info = events[0]
    assert info.shape == (2, *SHAPE)
    assert info.rate_hz == 30
    assert info.scan.extra["phase_s"] == -3e-07
    assert info.user["format"] == "ScanImage"
    assert [one["name"] for one in info.user["channels"]] == ["Green", "Red"]
    assert numbers(events) == [[10, 11], [20, 21], [40, 41], [50, 51]]
    assert [frame.index for frame in frames_of(events)] == [1, 2, 4, 5]
    assert [event for event in events if isinstance(event, Gap)] == [Gap(3, 1, "source")]
    assert frames_of(events)[1].acquired_s == pytest.approx(2 / 30)


def test_volumes_of_scanimage_without_their_flyback_frames_over_two_files(tmp_path):
    with watching(tmp_path) as source:
        for file, numbers_in in ((1, range(1, 7)), (2, range(7, 13))):
            with tifffile.TiffWriter(tmp_path / f"scan_00001_{file:05d}.tif", bigtiff=True) as writer:
                for number in numbers_in:
                    for channel in range(2):
                        scanimage(writer, number, channel, HEADER + VOLUME, 10 * number + channel)
        events = whole_series(source)
    assert events[0].planes == 3
    assert events[0].rate_hz == pytest.approx(22.5)
    assert [first for first, _ in numbers(events)] == [10, 20, 30, 50, 60, 70, 90, 100, 110]
    assert [(frame.index, frame.plane) for frame in frames_of(events)] == [(k, k % 3) for k in range(9)]
    assert not [event for event in events if isinstance(event, Gap)]


def test_frame_numbers_that_begin_again_begin_a_series(tmp_path):
    with watching(tmp_path, quick(idle_s=1.0)) as source:
        for file in (1, 2):
            with tifffile.TiffWriter(tmp_path / f"scan_{file:05d}.tif", bigtiff=True) as writer:
                for number in (1, 2, 3):
                    for channel in range(2):
                        scanimage(writer, number, channel, HEADER, 100 * file + 10 * number + channel)
        events = [*whole_series(source), *whole_series(source)]
    assert [type(event) for event in events] == [StreamInfo, *[Frame] * 3, StreamEnd] * 2
    assert [frame.index for frame in frames_of(events)] == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "init", "options", "expected"),
    [
        ("t.tif", {}, {"contiguous": True}, [[k] for k in range(6)]),
        ("t.tif", {}, {"contiguous": True, "metadata": None}, [[k] for k in range(6)]),
        ("t.tif", {"imagej": True}, {"contiguous": True, "metadata": {"axes": "TCYX"}}, [[0, 1], [2, 3], [4, 5]]),
        ("t.ome.tif", {"ome": True}, {"contiguous": True, "metadata": {"axes": "TCYX"}}, [[0, 1], [2, 3], [4, 5]]),
        ("t.tif", {"ome": True}, {"contiguous": True, "metadata": {"axes": "TCYX"}}, [[0, 1], [2, 3], [4, 5]]),
        ("t.tif", {}, {"contiguous": True, "metadata": {"axes": "TCYX"}}, [[0, 1], [2, 3], [4, 5]]),
    ],
)
def test_pages_whose_directories_come_last_are_read_when_the_file_is_closed(
    tmp_path, caplog, name, init, options, expected
):
    """Their channels are never read as time. The connector says why nothing comes."""
    path = tmp_path / name
    with watching(path, quick(idle_s=0.3)) as source:
        with tifffile.TiffWriter(path, **init) as writer:
            if "axes" in (options.get("metadata") or {}):
                stack = np.stack([picture(k) for k in range(6)]).reshape(3, 2, *SHAPE)

                def slowly() -> Iterator[np.ndarray]:
                    for number, one in enumerate(stack.reshape(6, *SHAPE)):
                        writer._fh.flush()
                        if number:
                            silence(source, 0.05)
                        yield one

                more = {key: value for key, value in options.items() if key != "contiguous"}
                writer.write(slowly(), shape=stack.shape, dtype="i2", photometric="minisblack", **more)
            else:
                for number in range(6):
                    writer.write(picture(number), photometric="minisblack", **options)
                    silence(source, 0.02)
        events = whole_series(source)
    assert numbers(events) == expected
    assert isinstance(events[0], StreamInfo)


@pytest.mark.parametrize("kind", ["Micro-Manager", "OME"])
def test_channels_that_are_stated_elsewhere_are_not_read_as_time(tmp_path, caplog, kind):
    """The file has a directory for each page, and looks complete after each. It is read when it stays as it is."""
    path = tmp_path / ("movie.ome.tif" if kind == "OME" else "movie.tif")
    ome = tifffile.OmeXml()
    ome.addimage("int16", (3, 2, *SHAPE), (6, 1, 1, *SHAPE, 1), axes="TCYX")
    with watching(path, quick(idle_s=1.5)) as source, tifffile.TiffWriter(path) as writer:
        for number in range(6):
            t, c = divmod(number, 2)
            text = json.dumps({"ChannelIndex": c, "SliceIndex": 0, "FrameIndex": t, "PositionIndex": 0}).encode()
            more: dict[str, Any] = {"extratags": [(51123, "s", 0, text, True)]}
            if kind == "OME":
                more = {"description": ome.tostring().encode() if number == 0 else None}
            writer.write(picture(number), contiguous=False, metadata=None, photometric="minisblack", **more)
            silence(source, 0.1)
        events = whole_series(source)
    assert events[0].shape == (2, *SHAPE)
    assert numbers(events) == [[0, 1], [2, 3], [4, 5]]
    assert kind in caplog.text


def test_pages_of_such_a_file_come_one_by_one_when_they_are_stated(tmp_path):
    path = tmp_path / "movie.ome.tif"
    with watching(path, quick(wanted=Wanted(channels=2))) as source, tifffile.TiffWriter(path) as writer:
        for number in range(4):
            writer.write(picture(number), contiguous=False, metadata=None, photometric="minisblack")
        assert numbers(until(source, has(2))) == [[0, 1], [2, 3]]


def test_it_says_that_a_growing_file_cannot_be_read_before_it_is_closed(tmp_path, caplog):
    path = tmp_path / "movie.tif"
    with watching(path) as source, tifffile.TiffWriter(path) as writer:
        for number in range(4):
            writer.write(picture(number), photometric="minisblack", contiguous=True)
        silence(source, 0.6)
        assert caplog.text.count("without a directory for each page") == 1


def test_a_closed_file_is_published_at_its_frame_rate(tmp_path):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, np.stack([picture(k) for k in range(80)]), imagej=True, metadata={"axes": "TYX"})
    with watching(path, quick(rate_hz=100.0, pace=1.0)) as source:
        until(source, has(48))
        begun_s = time.monotonic()
        until(source, has(30))
        assert time.monotonic() - begun_s > 0.25


# Folders


def test_single_pages_in_the_order_of_their_numbers(tmp_path, caplog):
    """Numbers have unequal lengths, files come out of order, and other files are left alone."""
    (tmp_path / "old_1.tif").write_bytes(b"II*\0")
    with watching(tmp_path) as source:
        (tmp_path / "notes.xml").write_text("<a/>")
        (tmp_path / "Thumbs.db").write_bytes(b"x")
        (tmp_path / "m_3.tif.tmp").write_bytes(b"x")
        for number in (8, 9, 10, 12, 11):
            tifffile.imwrite(tmp_path / f"m_{number}.tif", picture(number), photometric="minisblack")
        events = whole_series(source)
    assert numbers(events) == [[8], [9], [10], [11], [12]]
    assert [frame.index for frame in frames_of(events)] == [0, 1, 2, 3, 4]
    assert not [event for event in events if isinstance(event, Gap)]
    for name in ("notes.xml", "Thumbs.db", "m_3.tif.tmp"):
        assert name in caplog.text
    assert "1 files that are in" in caplog.text


def test_channels_in_files_of_their_own(tmp_path):
    """As Bruker names its files; the second channel comes late."""
    with watching(tmp_path) as source:
        for number in range(1, 5):
            for channel in (1, 2):
                name = f"TSeries-01_Cycle00001_Ch{channel}_{number:06d}.ome.tif"
                tifffile.imwrite(tmp_path / name, picture(10 * number + channel), ome=True)
        events = whole_series(source)
    assert events[0].shape == (2, *SHAPE)
    assert numbers(events) == [[11, 12], [21, 22], [31, 32], [41, 42]]


def test_a_channel_file_that_does_not_come_tears_its_frame_only(tmp_path, caplog):
    with watching(tmp_path) as source:
        for number in range(1, 5):
            for channel in (1, 2):
                if (number, channel) != (3, 2):
                    tifffile.imwrite(tmp_path / f"a_Ch{channel}_{number:03d}.tif", picture(10 * number + channel))
        events = whole_series(source)
    assert numbers(events) == [[11, 12], [21, 22], [41, 42]]
    assert [event for event in events if isinstance(event, Gap)] == [Gap(2, 1, "source")]
    assert "channel 2" in caplog.text


def test_a_missing_file_and_a_broken_one_are_said_and_are_gaps(tmp_path, caplog):
    with watching(tmp_path) as source:
        for number in range(1, 8):
            path = tmp_path / f"m_{number:03d}.tif"
            tifffile.imwrite(path, picture(number), photometric="minisblack")
            if number == 3:
                path.write_bytes(path.read_bytes()[:-50])
            if number == 5:
                path.unlink()
        events = whole_series(source)
    assert numbers(events) == [[1], [2], [4], [6], [7]]
    assert [frame.index for frame in frames_of(events)] == [0, 1, 3, 5, 6]
    assert [event for event in events if isinstance(event, Gap)] == [Gap(2, 1, "source"), Gap(4, 1, "source")]
    assert "m_003.tif did not become whole" in caplog.text
    assert "in front of m_006.tif did not come" in caplog.text


def test_a_file_that_is_slow_is_waited_for(tmp_path):
    tifffile.imwrite(tmp_path / "whole", picture(2), photometric="minisblack")
    content = (tmp_path / "whole").read_bytes()
    folder = tmp_path / "folder"
    folder.mkdir()
    with watching(folder, quick(file_timeout_s=WAIT_S, idle_s=1.0)) as source:
        tifffile.imwrite(folder / "m_1.tif", picture(1), photometric="minisblack")
        with (folder / "m_2.tif").open("wb", buffering=0) as file:
            file.write(content[:300])
            tifffile.imwrite(folder / "m_3.tif", picture(3), photometric="minisblack")
            assert numbers(until(source, has(1))) == [[1]]
            silence(source)
            file.write(content[300:])
        assert numbers(whole_series(source)) == [[2], [3]]


def test_files_of_many_pages_are_one_series_and_grow(tmp_path):
    with watching(tmp_path) as source:
        events: list[Event] = []
        for file in range(1, 4):
            with tifffile.TiffWriter(tmp_path / f"m_{file}.tif", bigtiff=True) as writer:
                for number in range(4):
                    writer.write(picture(10 * file + number), contiguous=False, metadata=None, photometric="minisblack")
        events = whole_series(source)
    assert [one for (one,) in numbers(events)] == [10 * file + number for file in (1, 2, 3) for number in range(4)]
    assert [frame.index for frame in frames_of(events)] == list(range(12))


@pytest.mark.parametrize("settings", [quick(each_file=True), quick()])
def test_each_file_or_another_name_is_a_new_series(tmp_path, settings):
    names = ("m_1.tif", "m_2.tif") if settings.each_file else ("mouse2_1.tif", "mouse1_1.tif")
    with watching(tmp_path, settings) as source:
        for file, name in enumerate(names):
            write(tmp_path / name, [10 * file, 10 * file + 1], shape=SHAPE)
            os.utime(tmp_path / name, (1e9 + file, 1e9 + file))
        events = [*whole_series(source), *whole_series(source)]
    assert [type(event) for event in events] == [StreamInfo, Frame, Frame, StreamEnd] * 2
    assert numbers(events) == [[0], [1], [10], [11]]


def test_files_by_time(tmp_path):
    with watching(tmp_path, quick(by="time")) as source:
        for at, name in enumerate(("z.tif", "b.tif", "m.tif")):
            write(tmp_path / f"{name}.part", [at], shape=SHAPE)
            os.utime(tmp_path / f"{name}.part", (1e9 + at, 1e9 + at))
        for name in ("m.tif", "z.tif", "b.tif"):
            (tmp_path / f"{name}.part").rename(tmp_path / name)
        events = whole_series(source)
    assert numbers(events) == [[0], [1], [2]]


def test_a_file_of_another_size_begins_a_series(tmp_path, caplog):
    with watching(tmp_path) as source:
        for number, shape in enumerate((SHAPE, SHAPE, (8, 8), (8, 8))):
            write(tmp_path / f"m_{number}.tif", [number], shape=shape)
        events = [*whole_series(source), *whole_series(source)]
    assert [event.reason for event in events if isinstance(event, StreamEnd)] == ["replaced", "done"]
    assert numbers(events) == [[0], [1], [2], [3]]


def test_files_that_are_there_already_are_published_when_asked_for(tmp_path):
    for number in (1, 2):
        write(tmp_path / f"m_{number}.tif", [number], shape=SHAPE)
    with watching(tmp_path) as source:
        silence(source, 0.6)
    with watching(tmp_path, quick(existing=True, pattern="m_*.tif")) as source:
        assert numbers(whole_series(source)) == [[1], [2]]


def test_a_file_that_was_there_and_grows_is_published(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m_1.tif") as writer:
        writer.write(picture(0), contiguous=False, metadata=None, photometric="minisblack")
        with watching(tmp_path) as source:
            silence(source)
            for number in (1, 2):
                writer.write(picture(number), contiguous=False, metadata=None, photometric="minisblack")
            assert numbers(whole_series(source)) == [[0], [1], [2]]


def test_a_file_that_comes_late_is_said(tmp_path, caplog):
    with watching(tmp_path, quick(idle_s=1.0)) as source:
        for number in (5, 6):
            write(tmp_path / f"m_{number}.tif", [number], shape=SHAPE)
        until(source, has(2))
        write(tmp_path / "m_4.tif", [4], shape=SHAPE)
        assert whole_series(source) == [StreamEnd("done")]
    assert "m_4.tif came after" in caplog.text


def test_a_file_that_vanishes_before_it_is_read(tmp_path, caplog):
    with watching(tmp_path, quick(idle_s=1.0)) as source:
        for number in (1, 2, 3):
            write(tmp_path / f"m_{number}.tif", [number], shape=SHAPE)
        source._files.later()  # the folder is listed
        (tmp_path / "m_2.tif").unlink()
        events = whole_series(source)
    assert numbers(events) == [[1], [3]]
    assert Gap(1, 1, "source") in events


@pytest.mark.parametrize(
    ("name", "stem", "number", "channel"),
    [
        ("TSeries-01_Cycle00001_Ch2_000010.ome.tif", "TSeries-01_Cycle00001__#", 10, "2"),
        ("scan_00001_00002.tif", "scan_00001_#", 2, ""),
        ("ChanA_0001_0003.tif", "_0001_#", 3, "A"),
        ("beach2_5.tif", "beach2_#", 5, ""),
        ("movie.tif", "movie", None, ""),
    ],
)
def test_names_are_taken_apart(name, stem, number, channel):
    entry = entry_of(Path(name))
    assert (entry.stem, entry.number, list(entry.paths)) == (stem, number, [channel])


def test_a_new_folder_is_a_new_series_and_an_old_one_is_left_alone(tmp_path):
    """As Bruker and ThorImage make a folder for each acquisition."""
    (tmp_path / "old").mkdir()
    with watching(tmp_path) as source:
        for run in (1, 2):
            folder = tmp_path / f"run_{run}"
            folder.mkdir()
            for number in (1, 2):
                write(folder / f"m_{number}.tif", [10 * run + number], shape=SHAPE)
                os.utime(folder / f"m_{number}.tif", (1e9 + run, 1e9 + run))
        write(tmp_path / "old" / "m_9.tif", [9], shape=SHAPE)
        events = [*whole_series(source), *whole_series(source)]
        silence(source, 0.6)
    assert [type(event) for event in events] == [StreamInfo, Frame, Frame, StreamEnd] * 2
    assert numbers(events) == [[11], [12], [21], [22]]


# Pixels alone


@pytest.mark.parametrize(("dtype", "given"), [("<i2", "<i2"), (">u2", "<u2"), ("u1", "|u1"), ("f8", "<f4")])
def test_a_growing_file_of_pixels_alone(tmp_path, dtype, given):
    path = tmp_path / "movie.raw"
    settings = quick(wanted=Wanted(shape=(2, *SHAPE), dtype=dtype), skip_bytes=7, rate_hz=20.0)
    with path.open("wb", buffering=0) as file, watching(path, settings) as source:
        file.write(b"header.")
        silence(source)
        for number in range(3):
            raw = np.stack([picture(10 * number), picture(10 * number + 1)]).astype(dtype).tobytes()
            file.write(raw[:100])
            silence(source, 0.03)
            file.write(raw[100:])
            events = until(source, has(1))
            assert numbers(events) == [[10 * number, 10 * number + 1]]
            assert frames_of(events)[0].pixels.dtype == np.dtype(given)
        file.write(raw[:100])
        events = whole_series(source)
    assert events == [Gap(3, 1, "source"), StreamEnd("done")]


def test_a_file_of_pixels_that_shrinks_is_a_new_series(tmp_path):
    path = tmp_path / "movie.raw"
    path.write_bytes(picture(1).tobytes() + picture(2).tobytes())
    with watching(path, quick(wanted=Wanted(shape=SHAPE, dtype="i2"))) as source:
        until(source, has(2))
        path.write_bytes(picture(3).tobytes())
        events = whole_series(source)
        assert events == [StreamEnd("replaced")]
        assert numbers(whole_series(source)) == [[3]]


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(shape=SHAPE), Wanted(dtype="i2"), Wanted(shape=SHAPE, dtype="nonsense"), Wanted(shape=(3,), dtype="i2"),
        Wanted(shape=(0, 5), dtype="i2"), Wanted(shape=SHAPE, dtype="O"), Wanted(shape=SHAPE, dtype="i2", channels=2),
        Wanted(shape=(9, 5, 5), dtype="i2"),
    ],
)  # fmt: skip
def test_impossible_pixels_are_refused(tmp_path, wanted):
    with pytest.raises(RefusedError):
        WatchSource(tmp_path, quick(wanted=wanted))


@pytest.mark.parametrize("more", [{"existing": True}, {"each_file": True}, {"pattern": "a*"}, {"by": "time"}])
def test_options_of_folders_are_refused_for_a_file(tmp_path, more):
    with pytest.raises(OptionError), watching(tmp_path / "movie.tif", quick(**more)):
        pass


@pytest.mark.parametrize(
    ("name", "more"),
    [("movie.tif", {"wanted": Wanted(shape=SHAPE, dtype="i2")}), ("movie.tif", {"skip_bytes": 5})],
)
def test_options_of_pixels_alone_are_refused_for_a_tiff(tmp_path, name, more):
    with pytest.raises(OptionError):
        WatchSource(tmp_path / name, quick(**more))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path / "none" / "movie.tif"):
        with pytest.raises(FileError), closing(WatchSource(path)) as source:
            source.open()


# The command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none",), "no file or folder"),
        ((".", "--shape", "5,7"), "--dtype"),
        ((".", "--idle", "-1"), "--idle -1"),
        ((".", "--channels", "0"), "--channels 0"),
        ((".", "--skip-bytes", "4"), "--skip-bytes"),
        (("movie.tif", "--existing"), "--existing"),
        ((".", "--scan", "collinear", "--no-bidirectional"), "collinear"),
    ],
)
def test_the_command_says_what_it_refuses(arguments, words, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["watch_folder.py", "--bind", "tcp://127.0.0.1:0", *arguments])
    assert watch_folder.main() == 2
    assert words in capsys.readouterr().err


def test_the_command_publishes_a_folder(tmp_path):
    for number in range(4):
        write(tmp_path / f"m_{number}.tif", [2 * number, 2 * number + 1], shape=SHAPE)
    command = [sys.executable, str(ROOT / "bridge" / "watch_folder.py"), str(tmp_path), "--bind", "tcp://127.0.0.1:0"]
    command += ["--existing", "--channels", "2", "--rate", "30", "--idle", "1", "--series", "1", "--wait", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            with closing(ZmqSource(process.stdout.readline().removeprefix("publishing on ").strip())) as received:
                received.open()
                events = until(received, ended)
            said, complaints = process.communicate(timeout=WAIT_S)
        finally:
            process.kill()
    assert process.returncode == 0, complaints
    assert numbers(events) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert json.loads(said.splitlines()[-1]) == {"series": 1, "frames": 4, "lost": 0}


# Real recordings, grown by another process


GROW = """
import sys, time
content = open(sys.argv[1], "rb").read()
with open(sys.argv[2], "wb", buffering=0) as file:
    for at in range(0, len(content), int(sys.argv[3])):
        file.write(content[at : at + int(sys.argv[3])])
        time.sleep(0.001)
"""


def grown(recording: Path, path: Path, settings: WatchSettings, piece: int) -> list[Event]:
    with watching(path, settings) as source:
        command = [sys.executable, "-c", GROW, str(recording), str(path), str(piece)]
        with subprocess.Popen(command) as process:
            events = whole_series(source)
            assert process.wait(30) == 0
    return events


def real(name: str) -> Path:
    found = sorted(one for one in (DATA / name).glob("*.tif*")) if (DATA / name).is_dir() else []
    if not found:
        pytest.skip(f"no shared/data/{name}")
    return found[0]


@pytest.mark.parametrize(
    "name", ["fmi_gcamp", "si2023_2slice_2ch", "si57_2ch_small", "si38_legacy", "sima_motion", "thunder_mouse64"]
)
def test_real_recordings_give_the_same_frames_as_when_they_are_finished(tmp_path, name):
    from deepbid_rt.movies.open_movie import open_movie_file

    recording = real(name)
    events = grown(recording, tmp_path / recording.name, quick(idle_s=2.0, pace=0), 50_000)
    frames = frames_of(events)
    with open_movie_file(recording) as movie:
        assert events[0].shape == movie.shape[1:]
        assert events[0].planes == movie.facts.planes
        assert len(frames) == movie.shape[0]
        for at, frame in enumerate(frames):
            np.testing.assert_array_equal(frame.pixels, movie.frame(at))
            assert frame.plane == at % movie.facts.planes
        if movie.facts.rate_hz is not None:
            assert events[0].rate_hz == pytest.approx(movie.facts.rate_hz)
    assert isinstance(events[-1], StreamEnd)
