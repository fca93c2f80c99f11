"""Recordings of PrairieView: a stand-in writes the XML and files as version 5.6 does."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError, StageError, StreamError
from deepbid_rt.movies import bruker
from deepbid_rt.movies.movie_file import MovieFile
from deepbid_rt.movies.wanted import Wanted
from tests import DATA
from tests.movies.stamped_images import SHAPE, movie, stamped

PERIOD_S = 0.05
STATE = """
  <PVStateShard>
    <PVStateValue key="activeMode" value="{mode}" />
    <PVStateValue key="bitDepth" value="13" />
    <PVStateValue key="framePeriod" value="0.03" />
    <PVStateValue key="linesPerFrame" value="12" />
    <PVStateValue key="micronsPerPixel">
      <IndexedValue index="XAxis" value="1.5" />
      <IndexedValue index="YAxis" value="1.25" />
      <IndexedValue index="ZAxis" value="5" />
    </PVStateValue>
    <PVStateValue key="opticalZoom" value="2" />
    <PVStateValue key="pixelsPerLine" value="10" />
    <PVStateValue key="scanLinePeriod" value="6.25E-05" />
  </PVStateShard>"""


class Prairie:
    """Writes a recording, frame by frame."""

    def __init__(self, folder: Path, *, mode: str = "ResonantGalvo", state: str = STATE) -> None:
        self.folder, self.parts, self.clock = folder, [state.format(mode=mode)], 0.0
        folder.mkdir(exist_ok=True)

    @property
    def xml(self) -> Path:
        return self.folder / "rec-001.xml"

    def cycle(self, number: int, kind: str = "TSeries ZSeries Element", attributes: str = "") -> None:
        self.close()
        self.parts.append(f'<Sequence type="{kind}" cycle="{number}" {attributes}><PVStateShard />')

    def close(self) -> None:
        if any("<Sequence" in part for part in self.parts[-1:]) or self.parts[-1].startswith("<Frame"):
            self.parts.append("</Sequence>")

    def frame(self, index: int, files: str, state: str = "", clock: float | None = None) -> None:
        at = self.clock if clock is None else clock
        self.parts.append(
            f'<Frame relativeTime="{at}" absoluteTime="{at + 6.7}" index="{index}" parameterSet="CurrentSettings">'
            f'{files}<ExtraParameters lastGoodFrame="0" /><PVStateShard>{state}</PVStateShard></Frame>'
        )
        self.clock += PERIOD_S

    def file(self, cycle: int, channel: int, index: int, image: Any) -> str:
        name = f"rec-001_Cycle{cycle:05}_Ch{channel}_{index:06}.ome.tif"
        tifffile.imwrite(self.folder / name, image, metadata=None, ome=False)
        return f'<File channel="{channel}" channelName="Ch{channel}" filename="{name}" />'

    def write(self) -> Path:
        self.close()
        body = "".join(self.parts)
        self.xml.write_text(
            f'<?xml version="1.0" encoding="utf-8"?>\n<PVScan version="5.6.64.400" date="x">{body}</PVScan>',
            encoding="utf-8-sig",
        )
        return self.folder


def z_state(z: float) -> str:
    return (
        '<PVStateValue key="positionCurrent"><SubindexedValues index="ZAxis">'
        f'<SubindexedValue subindex="0" value="166.5" /><SubindexedValue subindex="1" value="{z}" />'
        "</SubindexedValues></PVStateValue>"
    )


def volumes(
    folder: Path,
    times: int = 3,
    planes: int = 3,
    channels: tuple[int, ...] = (1, 2),
    *,
    bidirectional: bool = False,
    positions: bool = True,
    first: int = 1,
    last_planes: int | None = None,
) -> Path:
    """A recording of volumes; with `bidirectional`, every second one is scanned backwards."""
    prairie = Prairie(folder)
    for t in range(times):
        prairie.cycle(first + t, attributes=f'bidirectionalZ="{bidirectional}"')
        order = list(range(planes))[:: -1 if bidirectional and t % 2 else 1]
        if t == times - 1:
            order = order[:last_planes]
        for index, z in enumerate(order, start=1):
            files = "".join(prairie.file(first + t, c, index, stamped(t, z, i)) for i, c in enumerate(channels))
            prairie.frame(index, files, z_state(50.0 * z) if positions else "")
    return prairie.write()


def series(folder: Path, times: int = 4, channels: tuple[int, ...] = (2,), *, mode: str = "Galvo") -> Prairie:
    prairie = Prairie(folder, mode=mode)
    prairie.cycle(1, "TSeries Timed Element")
    for t in range(times):
        prairie.frame(t + 1, "".join(prairie.file(1, c, t + 1, stamped(t, 0, i)) for i, c in enumerate(channels)))
    prairie.write()
    return prairie


def opened(path: Path, **wanted: Any) -> MovieFile:
    assert bruker.claims(path)
    return bruker.open_movie(path, Wanted(**wanted))


def pixels(path: Path, **wanted: Any) -> Any:
    with opened(path, **wanted) as one:
        return one.read(0, one.shape[0])


def test_volumes_of_two_channels_come_in_the_order_of_planes(tmp_path: Path) -> None:
    with opened(volumes(tmp_path / "a")) as one:
        assert one.shape == (9, 2, *SHAPE)
        assert one.dtype.str == "<u2"
        np.testing.assert_array_equal(one.read(0, 9), movie(3, 3, 2))
        facts = one.facts
        assert facts.planes == 3
        assert facts.rate_hz == pytest.approx(1 / PERIOD_S)
        assert facts.pixel_um == (1.25, 1.5)
        assert facts.channel_names == ("Ch1", "Ch2")
        assert facts.bidirectional is True
        assert facts.mirrored is True
        assert facts.numbers is not None
        assert facts.numbers.tolist() == list(range(9))
        assert facts.times_s == pytest.approx(np.arange(9) * PERIOD_S)
        assert facts.extra["f_res_hz"] == pytest.approx(8000)
        assert facts.extra["bits"] == 13
        assert facts.warnings == ()
        assert "3 planes" in facts.pages
        assert one.uncompressed


@pytest.mark.parametrize("positions", [True, False])
def test_volumes_that_were_scanned_backwards_are_turned_round(tmp_path: Path, positions: bool) -> None:
    with opened(volumes(tmp_path / "a", bidirectional=True, positions=positions)) as one:
        np.testing.assert_array_equal(one.read(0, 9), movie(3, 3, 2))
        assert "turned round" in one.facts.pages
        assert one.facts.times_s == pytest.approx(np.array([0, 1, 2, 5, 4, 3, 6, 7, 8]) * PERIOD_S)
        assert one.facts.rate_hz == pytest.approx(1 / PERIOD_S)


def test_positions_decide_against_the_attribute(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "a")
    xml = folder / "rec-001.xml"
    xml.write_text(xml.read_text().replace('bidirectionalZ="False"', 'bidirectionalZ="True"'))
    np.testing.assert_array_equal(pixels(folder), movie(3, 3, 2))


def test_any_of_its_files_opens_the_whole_recording(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "a", times=2)
    for path in (folder, folder / "rec-001.xml", folder / "rec-001_Cycle00002_Ch1_000002.ome.tif"):
        with opened(path) as one:
            assert one.path == path
            assert one.shape == (6, 2, *SHAPE)


def test_a_tiff_that_no_xml_names_is_not_claimed(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "a", times=1)
    other = folder / "rec-001_Cycle00009_Ch1_000001.ome.tif"
    tifffile.imwrite(other, stamped(0))
    assert not bruker.claims(other)
    assert not bruker.claims(folder / "none.ome.tif")
    assert not bruker.claims(tmp_path / "missing")
    (tmp_path / "b").mkdir()
    assert not bruker.claims(tmp_path / "b")
    (tmp_path / "b" / "x.xml").write_text("<other/>")
    assert not bruker.claims(tmp_path / "b" / "x.xml")


def test_an_xml_of_another_name_that_names_the_file_is_found(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "a", times=1)
    (folder / "rec-001.xml").rename(folder / "renamed.xml")
    (folder / "rec-001_Cycle00001_VoltageRecording_001.xml").write_text("<VRecSessionEntry/>")
    with opened(folder / "rec-001_Cycle00001_Ch1_000001.ome.tif") as one:
        assert one.shape[0] == 3


def test_a_folder_of_two_recordings_is_refused_by_name(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "a", times=1)
    (folder / "second.xml").write_bytes((folder / "rec-001.xml").read_bytes())
    with pytest.raises(FileError, match=r"rec-001\.xml, second\.xml"):
        bruker.open_movie(folder, Wanted())


def test_a_time_series_has_one_plane(tmp_path: Path) -> None:
    with opened(series(tmp_path / "a").folder) as one:
        np.testing.assert_array_equal(one.read(0, 4), movie(4))
        assert one.facts.planes == 1
        assert one.facts.bidirectional is None
        assert one.facts.rate_hz == pytest.approx(20)
        assert "f_res_hz" not in one.facts.extra


def test_cycles_of_time_series_follow_each_other_with_a_warning(tmp_path: Path) -> None:
    prairie = Prairie(tmp_path / "a")
    for cycle in (1, 2):
        prairie.cycle(cycle, "TSeries Brightness Over Time Element")
        for i in range(2):
            prairie.frame(i + 1, prairie.file(cycle, 1, i + 1, stamped(2 * cycle - 2 + i)))
        prairie.clock += 10
    with opened(prairie.write()) as one:
        np.testing.assert_array_equal(one.read(0, 4), movie(4))
        assert "2 time series" in one.facts.warnings[0]
        assert one.facts.numbers is None
        assert one.facts.rate_hz == pytest.approx(1 / PERIOD_S)


def test_one_file_of_many_pages_per_channel(tmp_path: Path) -> None:
    prairie = Prairie(tmp_path / "a")
    prairie.cycle(1, "TSeries Timed Element")
    for c in (1, 2):
        stack = np.array([stamped(t, 0, c - 1) for t in range(5)])
        tifffile.imwrite(prairie.folder / f"rec-001_Cycle00001_Ch{c}_000001.ome.tif", stack, metadata=None)
    for t in range(5):
        prairie.frame(
            t + 1,
            "".join(
                f'<File channel="{c}" channelName="Ch{c}" page="{t + 1}" '
                f'filename="rec-001_Cycle00001_Ch{c}_000001.ome.tif" />'
                for c in (1, 2)
            ),
        )
    folder = prairie.write()
    with opened(folder) as one:
        np.testing.assert_array_equal(one.read(0, 5), movie(5, 1, 2))
        assert one.facts.warnings == ()
    text = prairie.xml.read_text()
    prairie.xml.write_text(text[: text.index('<Frame relativeTime="0.2"')] + "</Sequence></PVScan>")
    with opened(folder) as one:
        assert one.shape[0] == 4
        assert "10 pages" in one.facts.warnings[0]
    prairie.xml.write_text(text.replace('page="5"', 'page="7"'))
    with pytest.raises(FileError, match=r"with 5 pages where .* names page 7"):
        bruker.open_movie(folder, Wanted())
    assert pixels(folder, salvage=True).shape[0] == 4


def test_pages_follow_each_other_where_the_xml_does_not_number_them(tmp_path: Path) -> None:
    prairie = Prairie(tmp_path / "a")
    prairie.cycle(1, "TSeries Timed Element")
    tifffile.imwrite(prairie.folder / "rec-001_Cycle00001_Ch1_000001.ome.tif", movie(3)[:, 0], metadata=None)
    for t in range(3):
        prairie.frame(t + 1, '<File channel="1" filename="rec-001_Cycle00001_Ch1_000001.ome.tif" />')
    np.testing.assert_array_equal(pixels(prairie.write()), movie(3))


def test_the_keys_of_version_4(tmp_path: Path) -> None:
    state = (
        '<PVStateShard><Key key="framePeriod" permissions="Read" value="0.04" />'
        '<Key key="micronsPerPixel_XAxis" value="2.5" /><Key key="micronsPerPixel_YAxis" value="2" /></PVStateShard>'
    )
    prairie = Prairie(tmp_path / "a", state=state)
    prairie.cycle(1, "Single")
    prairie.frame(1, prairie.file(1, 1, 1, stamped(0)))
    with opened(prairie.write()) as one:
        assert one.facts.pixel_um == (2, 2.5)
        assert one.facts.rate_hz == pytest.approx(25)


def test_a_cycle_that_was_stopped_is_left_out_with_a_warning(tmp_path: Path) -> None:
    with opened(volumes(tmp_path / "a", last_planes=2)) as one:
        np.testing.assert_array_equal(one.read(0, 6), movie(2, 3, 2))
        assert one.facts.warnings == ("cycle 3 was stopped after 2 of 3 planes, and is left out",)


def test_a_cycle_of_more_planes_is_refused(tmp_path: Path) -> None:
    prairie = Prairie(tmp_path / "a")
    for cycle, planes in ((1, 2), (2, 2), (3, 3)):
        prairie.cycle(cycle)
        for z in range(planes):
            prairie.frame(z + 1, prairie.file(cycle, 1, z + 1, stamped(cycle, z)))
    with pytest.raises(StreamError, match="cycle 3 has 3 planes, and others 2"):
        bruker.open_movie(prairie.write(), Wanted())


def test_a_missing_cycle_shows_in_the_numbers(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "a", times=3, planes=2)
    xml = folder / "rec-001.xml"
    xml.write_text(xml.read_text().replace('cycle="3"', 'cycle="5"'))
    with opened(folder) as one:
        assert one.facts.numbers is not None
        assert one.facts.numbers.tolist() == [0, 1, 2, 3, 8, 9]


def test_missing_files_are_refused_by_the_first_name(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "a")
    for name in ("rec-001_Cycle00002_Ch2_000003.ome.tif", "rec-001_Cycle00003_Ch1_000001.ome.tif"):
        (folder / name).unlink()
    with pytest.raises(FileError, match=r"no file .*Cycle00002_Ch2_000003.*nor 1 others"):
        bruker.open_movie(folder, Wanted())
    with opened(folder, salvage=True) as one:
        np.testing.assert_array_equal(one.read(0, 3), movie(1, 3, 2))
        assert one.shape[0] == 3
        assert "Cycle00002_Ch2_000003" in (one.problem or "")


def test_a_file_that_is_cut_is_refused_and_its_whole_volumes_salvaged(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "a")
    path = folder / "rec-001_Cycle00003_Ch1_000002.ome.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FileError, match=r"000002\.ome\.tif cannot be read as a whole TIFF"):
        bruker.open_movie(folder, Wanted())
    np.testing.assert_array_equal(pixels(folder, salvage=True), movie(2, 3, 2))


def test_a_file_that_shrinks_while_it_is_read_is_an_error_of_that_frame(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "a", channels=(1,))
    with opened(folder) as one:
        (folder / "rec-001_Cycle00001_Ch1_000002.ome.tif").write_bytes(b"II")
        one.frame(0)
        with pytest.raises(StageError, match="frame 1 of"):
            one.frame(1)


def test_files_of_unlike_size_or_type_are_refused(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "a", channels=(1,))
    tifffile.imwrite(folder / "rec-001_Cycle00002_Ch1_000002.ome.tif", stamped(0, shape=(6, 10)))
    with pytest.raises(StreamError, match=r"uint16 pixels of shape \(6, 10\)"):
        bruker.open_movie(folder, Wanted())
    tifffile.imwrite(folder / "rec-001_Cycle00002_Ch1_000002.ome.tif", stamped(0).astype("u1"))
    with pytest.raises(StreamError, match="uint8 pixels"):
        bruker.open_movie(folder, Wanted())


def test_big_endian_and_compressed_pages(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "a", channels=(1,), times=2)
    tifffile.imwrite(folder / "rec-001_Cycle00001_Ch1_000002.ome.tif", stamped(0, 1), byteorder=">", metadata=None)
    tifffile.imwrite(folder / "rec-001_Cycle00002_Ch1_000003.ome.tif", stamped(1, 2), compression="zlib", metadata=None)
    with opened(folder) as one:
        np.testing.assert_array_equal(one.read(0, 6), movie(2, 3))
        assert not one.uncompressed


def test_rgb_files_are_refused(tmp_path: Path) -> None:
    prairie = Prairie(tmp_path / "a")
    prairie.cycle(1, "Single")
    prairie.frame(1, prairie.file(1, 1, 1, np.zeros((*SHAPE, 3), "u1")))
    with pytest.raises(StreamError, match="greyscale"):
        bruker.open_movie(prairie.write(), Wanted())


def test_an_xml_that_says_another_size_warns(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "a")
    xml = folder / "rec-001.xml"
    xml.write_text(xml.read_text().replace('key="linesPerFrame" value="12"', 'key="linesPerFrame" value="24"'))
    with opened(folder) as one:
        assert "24 lines of 10 pixels" in one.facts.warnings[0]


def test_a_zoom_that_changes_warns(tmp_path: Path) -> None:
    prairie = Prairie(tmp_path / "a")
    prairie.cycle(1, "TSeries Timed Element")
    for t in range(3):
        zoom = f'<PVStateValue key="opticalZoom" value="{t // 2 + 2}" />'
        prairie.frame(t + 1, prairie.file(1, 1, t + 1, stamped(t)), zoom)
    with opened(prairie.write()) as one:
        assert one.facts.warnings[0].startswith("opticalZoom changed")


@pytest.mark.parametrize("kind", ["Linescan", "TSeries Linescan Element", "Point Scan"])
def test_line_scans_are_refused(tmp_path: Path, kind: str) -> None:
    prairie = Prairie(tmp_path / "a")
    prairie.cycle(1, kind)
    prairie.frame(1, prairie.file(1, 1, 1, stamped(0)))
    with pytest.raises(StreamError, match="line scan"):
        bruker.open_movie(prairie.write(), Wanted())


def test_a_grid_of_positions_is_refused(tmp_path: Path) -> None:
    prairie = Prairie(tmp_path / "a")
    grid = 'xYStageGridDefined="True" xYStageGridNumXPositions="3" xYStageGridNumYPositions="2"'
    prairie.cycle(1, attributes=grid)
    prairie.frame(1, prairie.file(1, 1, 1, stamped(0)))
    with pytest.raises(StreamError, match="6 positions of the stage"):
        bruker.open_movie(prairie.write(), Wanted())


def test_a_frame_that_lacks_a_channel(tmp_path: Path) -> None:
    folder = series(tmp_path / "a", channels=(1, 2)).folder
    xml = folder / "rec-001.xml"
    text = xml.read_text()
    cut = text.index('<File channel="2" channelName="Ch2" filename="rec-001_Cycle00001_Ch2_000004')
    xml.write_text(text[:cut] + text[text.index("<ExtraParameters", cut) :])
    with opened(folder) as one:
        np.testing.assert_array_equal(one.read(0, 3), movie(3, 1, 2))
        assert "lacks a channel" in one.facts.warnings[0]
    cut = text.index('<File channel="2" channelName="Ch2" filename="rec-001_Cycle00001_Ch2_000002')
    xml.write_text(text[:cut] + text[text.index("<ExtraParameters", cut) :])
    with pytest.raises(StreamError, match="frame 2 of cycle 1 lacks channel 2"):
        bruker.open_movie(folder, Wanted())


def test_wishes(tmp_path: Path) -> None:
    folder = series(tmp_path / "a", times=7).folder
    with opened(folder, planes=2, flyback=1) as one:
        np.testing.assert_array_equal(one.read(0, 4)[:, 0, 5, 5], [0, 1000, 3000, 4000])
        assert one.facts.planes == 2
        assert "as given with --planes" in one.facts.pages
        assert "1 frames of an incomplete last volume" in one.facts.warnings[0]
        assert one.facts.rate_hz == pytest.approx(2 / (3 * PERIOD_S))
    with opened(volumes(tmp_path / "b"), flyback=1) as one:
        np.testing.assert_array_equal(one.read(0, 6), movie(3, 3, 2)[[0, 1, 3, 4, 6, 7]])
        assert one.facts.planes == 2
    with pytest.raises(StreamError, match="3 channels for"):
        bruker.open_movie(folder, Wanted(channels=3))
    with pytest.raises(StreamError, match="multiple"):
        bruker.open_movie(folder, Wanted(planes=9))
    assert pixels(folder, channels=1).shape[1] == 1


@pytest.mark.parametrize("name", ["../secret.ome.tif", "/etc/passwd", "a\\b.ome.tif", "C:x.tif", ".."])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    prairie = Prairie(tmp_path / "a")
    prairie.cycle(1, "Single")
    prairie.frame(1, f'<File channel="1" channelName="Ch1" filename="{name}" />')
    with pytest.raises(FileError, match="names the file"):
        bruker.open_movie(prairie.write(), Wanted())


def test_an_xml_that_is_cut_is_refused_and_its_whole_frames_salvaged(tmp_path: Path) -> None:
    prairie = series(tmp_path / "a")
    text = prairie.xml.read_text()
    prairie.xml.write_text(text[: text.index("<ExtraParameters", text.index('index="4"'))])
    with pytest.raises(FileError, match="no whole XML"):
        bruker.open_movie(prairie.folder, Wanted())
    with opened(prairie.folder, salvage=True) as one:
        assert one.shape[0] == 3
        assert "XML is damaged" in (one.problem or "")


def test_entities_are_refused(tmp_path: Path) -> None:
    prairie = series(tmp_path / "a")
    text = prairie.xml.read_text()
    prairie.xml.write_text(text.replace("<PVScan", '<!DOCTYPE a [<!ENTITY b "bb">]><PVScan'))
    with pytest.raises(FileError, match="document type"):
        bruker.open_movie(prairie.folder, Wanted())


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("<Frame ", "<Other ", "File element"),
        ('filename="', 'name="', "File element"),
        ('channel="2"', 'channel="1"', "a channel twice"),
    ],
)
def test_wrong_or_missing_keys(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    prairie = series(tmp_path / "a", channels=(1, 2))
    text = prairie.xml.read_text().replace(old, new)
    prairie.xml.write_text(text.replace("</Frame>", "</Other>") if "Other" in new else text)
    with pytest.raises((FileError, StreamError), match=sentence):
        bruker.open_movie(prairie.folder, Wanted())


def test_times_that_do_not_rise_are_left_out(tmp_path: Path) -> None:
    prairie = Prairie(tmp_path / "a")
    prairie.cycle(1, "TSeries Timed Element")
    for t in range(3):
        prairie.frame(t + 1, prairie.file(1, 1, t + 1, stamped(t)), clock=[0.0, 0.2, 0.1][t])
    with opened(prairie.write()) as one:
        assert one.facts.times_s is None
        assert one.facts.rate_hz == pytest.approx(1 / 0.03)


def test_many_threads_read_what_one_reads(tmp_path: Path) -> None:
    with opened(volumes(tmp_path / "a", times=12, planes=2)) as one:
        expected = movie(12, 2, 2)
        wrong = []

        def read(first: int) -> None:
            wrong.extend(i for i in range(first, 24, 3) if not np.array_equal(one.frame(i), expected[i]))

        threads = [threading.Thread(target=read, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
    one.close()
    with pytest.raises(StageError):
        one.frame(0)


@pytest.mark.skipif(not (DATA / "bruker_2plane").is_dir(), reason="no shared/data/bruker_2plane")
def test_a_real_recording_of_two_planes() -> None:
    folder = DATA / "bruker_2plane"
    with opened(folder) as one:
        assert one.shape == (10, 1, 512, 512)
        assert one.dtype.str == "<u2"
        facts = one.facts
        assert facts.planes == 2
        assert facts.rate_hz == pytest.approx(20.6295, abs=1e-3)
        assert facts.pixel_um == (1.1078125, 1.1078125)
        assert facts.channel_names == ("Ch2",)
        assert facts.bidirectional is True
        assert facts.warnings == ()
        assert facts.extra["f_res_hz"] == pytest.approx(7920, abs=1)
        means = one.read(0, 10).mean(axis=(1, 2, 3))
        assert (means[0::2] > 3 * means[1::2]).all()
    assert pixels(next(folder.glob("*Cycle00004_Ch2_000002.ome.tif"))).shape == (10, 1, 512, 512)


@pytest.mark.skipif(not (DATA / "bruker_bidi_frame").is_dir(), reason="no shared/data/bruker_bidi_frame")
def test_a_real_file_without_xml_is_not_claimed() -> None:
    assert not bruker.claims(DATA / "bruker_bidi_frame")
    assert not bruker.claims(next((DATA / "bruker_bidi_frame").glob("*.ome.tif")))


@pytest.mark.skipif(not (DATA / "prairie_linescan").is_dir(), reason="no shared/data/prairie_linescan")
def test_a_real_line_scan_is_refused() -> None:
    folder = DATA / "prairie_linescan"
    for path in (folder, next(folder.glob("*.xml")), next(folder.glob("*Ch2*.ome.tif"))):
        assert bruker.claims(path)
        with pytest.raises(StreamError, match="is a line scan"):
            bruker.open_movie(path, Wanted())
    assert not bruker.claims(folder / "blood_Image15.tif")
