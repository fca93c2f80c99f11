"""OME-TIFF: one file and sets of files, and XML that nobody should trust."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.movies import ome
from deepbid_rt.movies.tiff import open_movie
from deepbid_rt.movies.wanted import Wanted
from tests import DATA
from tests.movies.tiff_files import SIDE, expected, firsts, page, value, write

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
NAMESPACE = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


def xml(
    blocks: str = "",
    *,
    order: str = "XYCZT",
    sizes: tuple[int, int, int] = (1, 1, 4),
    attributes: str = "",
    head: str = HEAD,
    uuid: str = "",
    images: int = 1,
) -> str:
    """Return the OME-XML of an image; sizes are those of C, Z and T."""
    pixels = " ".join(f'Size{axis}="{size}"' for axis, size in zip("CZT", sizes, strict=True))
    pixels += f' SizeX="{SIDE}" SizeY="{SIDE}" DimensionOrder="{order}" Type="int16" ID="Pixels:0" {attributes}'
    image = f'<Image ID="Image:0"><Pixels {pixels}>{blocks}</Pixels></Image>'
    return f"{head}<OME {NAMESPACE} {uuid}>{image * images}</OME>"


def file(path: Path, numbers: Iterable[int], text: str) -> Path:
    return write(path, numbers, lambda at: text if at == 0 else "")


@pytest.mark.parametrize("order", ["CZT", "CTZ", "ZCT", "ZTC", "TCZ", "TZC"])
def test_dimension_orders(tmp_path: Path, order: str) -> None:
    lengths = {"C": 2, "Z": 3, "T": 4}
    numbers = []
    for at in np.ndindex(*(lengths[axis] for axis in reversed(order))):
        place = dict(zip(reversed(order), at, strict=True))
        numbers.append(value(place["T"], place["Z"], place["C"]))
    text = xml(
        "<TiffData/>", order=f"XY{order}", sizes=(2, 3, 4), attributes='TimeIncrement="100" TimeIncrementUnit="ms"'
    )
    with open_movie(file(tmp_path / "a.ome.tif", numbers, text), Wanted()) as movie:
        assert firsts(movie) == expected([(t, z) for t in range(4) for z in range(3)], 2)
        assert (movie.facts.format, movie.facts.planes) == ("OME-TIFF", 3)
        assert movie.facts.rate_hz == pytest.approx(30.0)
        assert movie.facts.warnings == ()


def test_what_tifffile_writes(tmp_path: Path) -> None:
    pages = np.stack([page(value(t, z, c)) for t in range(4) for c in range(2) for z in range(3)])
    metadata = {
        "axes": "TCZYX",
        "PhysicalSizeX": 250.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
        "TimeIncrement": 0.1,
        "Channel": {"Name": ["green", "red"]},
    }
    tifffile.imwrite(
        tmp_path / "a.ome.tif", pages.reshape(4, 2, 3, SIDE, SIDE), photometric="minisblack", metadata=metadata
    )
    with open_movie(tmp_path / "a.ome.tif", Wanted()) as movie:
        assert firsts(movie) == expected([(t, z) for t in range(4) for z in range(3)], 2)
        assert movie.facts.pixel_um == (0.5, 0.25)
        assert movie.facts.channel_names == ("green", "red")
        assert movie.facts.rate_hz == pytest.approx(30.0)


def test_blocks_decide_where_pages_belong(tmp_path: Path) -> None:
    blocks = '<TiffData FirstT="2" IFD="0" PlaneCount="2"/><TiffData FirstT="0" IFD="2" PlaneCount="2"/>'
    with open_movie(file(tmp_path / "a.tif", [value(t) for t in (2, 3, 0, 1)], xml(blocks)), Wanted()) as movie:
        assert firsts(movie) == expected([(t, 0) for t in range(4)])


def test_times_of_planes(tmp_path: Path) -> None:
    blocks = "<TiffData/>" + "".join(
        f'<Plane TheT="{t}" TheZ="{z}" TheC="{c}" DeltaT="{t + z / 2 + c * 9}"/>'
        for t in range(4)
        for z in range(2)
        for c in range(2)
    )
    with open_movie(file(tmp_path / "a.tif", range(16), xml(blocks, sizes=(2, 2, 4))), Wanted()) as movie:
        assert movie.facts.times_s is not None
        assert movie.facts.times_s.tolist() == [t + z / 2 for t in range(4) for z in range(2)]
        assert movie.facts.rate_hz == 2.0


def set_of_files(folder: Path, *, name: str = "m_{}.ome.tif", files: int = 3) -> list[Path]:
    """Write a set with two time points of two channels per file."""
    paths = [folder / name.format(k) for k in range(files)]
    blocks = "".join(
        f'<TiffData FirstT="{2 * k}" FirstC="0" FirstZ="0" IFD="0" PlaneCount="4">'
        f'<UUID FileName="{path.name}">urn:uuid:{k}</UUID></TiffData>'
        for k, path in enumerate(paths)
    )
    for k, path in enumerate(paths):
        text = xml(blocks, sizes=(2, 1, 2 * files), uuid=f'UUID="urn:uuid:{k}"')
        file(path, [value(t, 0, c) for t in (2 * k, 2 * k + 1) for c in range(2)], text)
    return paths


def test_a_set_of_files_is_one_recording(tmp_path: Path) -> None:
    paths = set_of_files(tmp_path)
    for asked in (paths[0], paths[2], tmp_path, tmp_path / "m_*.ome.tif"):
        with open_movie(asked, Wanted()) as movie:
            assert firsts(movie) == expected([(t, 0) for t in range(6)], 2)
    paths[1].unlink()
    with pytest.raises(FileError, match=r"no file .*m_1\.ome\.tif, which the OME-XML names"):
        open_movie(paths[0], Wanted())


def set_of_channels(folder: Path) -> dict[tuple[int, int], Path]:
    """Write a set of one page per file: 3 time points of 2 channels, by (t, c)."""
    paths = {(t, c): folder / f"m_{t}_{c}.ome.tif" for t in range(3) for c in range(2)}
    blocks = "".join(
        f'<TiffData FirstT="{t}" FirstC="{c}" FirstZ="0" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{path.name}">urn:uuid:{t}{c}</UUID></TiffData>'
        for (t, c), path in paths.items()
    )
    for (t, c), path in paths.items():
        file(path, [value(t, 0, c)], xml(blocks, sizes=(2, 1, 3), uuid=f'UUID="urn:uuid:{t}{c}"'))
    return paths


def test_a_channel_that_was_not_copied_is_left_out_with_a_word(tmp_path: Path) -> None:
    paths = set_of_channels(tmp_path)
    for t in range(3):
        paths[t, 0].unlink()
    with open_movie(paths[1, 1], Wanted()) as movie:
        assert firsts(movie) == [[value(t, 0, 1)] for t in range(3)]
        assert any("1 of 2 channels (1) are left out: their files, such as m_0_0" in w for w in movie.facts.warnings)


def test_a_file_that_is_missing_beside_others_of_its_channel_is_refused(tmp_path: Path) -> None:
    paths = set_of_channels(tmp_path)
    paths[1, 0].unlink()
    with pytest.raises(FileError, match=r"no file .*m_1_0\.ome\.tif, which the OME-XML names"):
        open_movie(paths[0, 1], Wanted())


def test_a_copy_beside_the_original_shows_its_own_pixels(tmp_path: Path) -> None:
    """Programs that register a movie copy the XML, which names the original."""
    block = '<TiffData IFD="0" PlaneCount="4"><UUID FileName="raw.ome.tif">urn:uuid:1</UUID></TiffData>'
    text = xml(block, uuid='UUID="urn:uuid:1"')
    file(tmp_path / "raw.ome.tif", range(4), text)
    file(tmp_path / "registered.ome.tif", range(50, 54), text)
    for name, first in (("raw", 0), ("registered", 50)):
        with open_movie(tmp_path / f"{name}.ome.tif", Wanted()) as movie:
            assert firsts(movie) == [[first + t] for t in range(4)]


def test_a_copy_of_a_file_of_a_set_takes_its_place(tmp_path: Path) -> None:
    """Its own UUID says which file of the set it is."""
    paths = set_of_files(tmp_path)
    copy = tmp_path / "copy.ome.tif"
    copy.write_bytes(paths[0].read_bytes())
    with open_movie(copy, Wanted()) as movie:
        assert firsts(movie) == expected([(t, 0) for t in range(6)], 2)


def test_many_files_of_a_set_are_not_all_open(tmp_path: Path) -> None:
    paths = set_of_files(tmp_path, name="m_{:03d}.ome.tif", files=40)
    with open_movie(paths[0], Wanted()) as movie:
        assert firsts(movie) == expected([(t, 0) for t in range(80)], 2)
        paths[3].unlink()
        with pytest.raises(Exception, match=r"frame 6 of .*cannot be read"):
            movie.read(0, 80)


def test_files_that_do_not_belong_to_the_set_are_refused(tmp_path: Path) -> None:
    paths = set_of_files(tmp_path)
    write(tmp_path / "m_3.ome.tif", range(4))
    with pytest.raises(StreamError, match=r"m_3\.ome\.tif, which is not in the OME-XML"):
        open_movie(tmp_path, Wanted())
    with open_movie(paths[0], Wanted()) as movie:
        assert movie.shape[0] == 6


def test_a_renamed_file_is_known_by_its_uuid(tmp_path: Path) -> None:
    block = '<TiffData IFD="0" PlaneCount="4"><UUID FileName="old.ome.tif">urn:uuid:1</UUID></TiffData>'
    for uuid in ('UUID="urn:uuid:1"', ""):
        with open_movie(
            file(tmp_path / "new.tif", [value(t) for t in range(4)], xml(block, uuid=uuid)), Wanted()
        ) as movie:
            assert firsts(movie) == expected([(t, 0) for t in range(4)])


def test_metadata_of_another_file(tmp_path: Path) -> None:
    blocks = "".join(
        f'<TiffData FirstT="{t}"><UUID FileName="{name}">urn:uuid:{name}</UUID></TiffData>'
        for t, name in enumerate(("a.tif", "b.tif"))
    )
    whole = xml(blocks, sizes=(1, 1, 2), uuid='UUID="urn:uuid:a.tif"')
    only = f'{HEAD}<OME {NAMESPACE}><BinaryOnly MetadataFile="{{}}" UUID="urn:uuid:a.tif"/></OME>'
    file(tmp_path / "a.tif", [value(0)], whole)
    file(tmp_path / "b.tif", [value(1)], only.format("a.tif"))
    with open_movie(tmp_path / "b.tif", Wanted()) as movie:
        assert firsts(movie) == expected([(0, 0), (1, 0)])
    (tmp_path / "m.companion.ome").write_text(whole.replace('UUID="urn:uuid:a.tif"', 'UUID="urn:uuid:m"'))
    file(tmp_path / "b.tif", [value(1)], only.format("m.companion.ome"))
    with open_movie(tmp_path / "b.tif", Wanted()) as movie:
        assert firsts(movie) == expected([(0, 0), (1, 0)])
    for name, error in (("../a.tif", "without folders"), ("gone.tif", "no file .*gone"), ("", "without folders")):
        file(tmp_path / "b.tif", [value(1)], only.format(name))
        with pytest.raises(FileError, match=error):
            open_movie(tmp_path / "b.tif", Wanted())


@pytest.mark.parametrize("name", ["../b.tif", "/etc/passwd", "x/b.tif", "..", r"C:\\b.tif", "a\0b"])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    block = f'<TiffData IFD="0"><UUID FileName="{name.replace(chr(0), "")}">urn:uuid:1</UUID></TiffData>'
    path = file(tmp_path / "a.tif", range(4), xml(block))
    if "\0" in name:
        return
    with pytest.raises(FileError, match="without folders"):
        open_movie(path, Wanted())


def test_slices_without_time_points_are_time_with_a_word(tmp_path: Path) -> None:
    path = file(tmp_path / "a.tif", range(10), xml("<TiffData/>", sizes=(1, 10, 1)))
    with open_movie(path, Wanted()) as movie:
        assert movie.facts.planes == 1
        assert "10 slices and one time point" in movie.facts.warnings[0]
    with open_movie(path, Wanted(planes=10)) as movie:
        assert (movie.facts.planes, movie.facts.warnings) == (10, ())


def test_an_aborted_recording_keeps_its_whole_time_points(tmp_path: Path) -> None:
    text = xml("<TiffData/>", sizes=(2, 1, 100))
    with open_movie(file(tmp_path / "a.tif", range(8), text), Wanted()) as movie:
        assert movie.shape[0] == 4
        assert "announces 100 time points, and 4 are here" in movie.facts.warnings[0]
    path = file(tmp_path / "b.tif", range(7), text)
    with pytest.raises(FileError, match="7 pages, where the OME-XML promises 200"):
        open_movie(path, Wanted())
    with open_movie(path, Wanted(salvage=True)) as movie:
        assert movie.shape[0] == 3
        assert "1 pages of an incomplete time point" in movie.facts.warnings[0]


def test_pages_without_a_place_are_said(tmp_path: Path) -> None:
    blocks = '<TiffData IFD="0" PlaneCount="4"/>'
    with open_movie(file(tmp_path / "a.tif", range(6), xml(blocks)), Wanted()) as movie:
        assert movie.shape[0] == 4
        assert "2 pages of the files are in no place" in movie.facts.warnings[0]


def test_wishes_replace_the_xml(tmp_path: Path) -> None:
    path = file(tmp_path / "a.tif", range(12), xml("<TiffData/>", sizes=(2, 1, 6)))
    with open_movie(path, Wanted(channels=3)) as movie:
        assert movie.shape[:2] == (4, 3)
        assert "the file itself says 2 channels" in movie.facts.warnings[0]
    with pytest.raises(StreamError, match="multiple of 10"):
        open_movie(path, Wanted(planes=5))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (xml(head='<!DOCTYPE OME [<!ENTITY a "aaaa">]>'), "document type"),
        (xml(head='<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/passwd">'), "document type"),
        (xml("<a>" * 100 + "</a>" * 100), "inside each other"),
        (xml()[:-20], "cannot be read"),
        (xml(sizes=(1, 1, 10**9)), "4 pages, where the OME-XML|announces|4 are here"),
        (xml(sizes=(10**8, 10**8, 1)), "4 pages, where the OME-XML promises"),
        (xml(sizes=(1, 1, 0)), "SizeT '0'"),
        (xml(order="XYCZQ"), "DimensionOrder"),
        (xml(images=2), "2 images"),
        (xml('<Channel SamplesPerPixel="3"/><TiffData/>'), "colours"),
        (xml('<TiffData IFD="0" FirstT="9"/>'), "outside of the image"),
        (xml('<TiffData IFD="-1"/>'), "IFD '-1'"),
        (xml('<TiffData IFD="7"/>'), "4 pages, where"),
        (xml('<TiffData IFD="0"/><TiffData IFD="1"/>'), "two pages for"),
        (xml('<TiffData FirstT="1" IFD="0" PlaneCount="3"/>'), "no page for a place"),
        (xml('<TiffData IFD="0" PlaneCount="999999999"/>'), "outside of the image"),
        (f"{HEAD}<Other><OME/></Other>", "begins with Other"),
        (HEAD + "<OME>" + "</OME>", "0 images"),
    ],
)
def test_xml_that_cannot_be_right(tmp_path: Path, text: str, error: str) -> None:
    path = file(tmp_path / "a.tif", range(4), text)
    try:
        with open_movie(path, Wanted()) as movie:
            said = "; ".join(movie.facts.warnings)
    except (FileError, StreamError) as raised:
        said = str(raised)
    assert any(one in said for one in error.split("|")), said


def test_a_large_xml_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ome, "MAX_OME_BYTES", 1000)
    with pytest.raises(FileError, match=r"has 2\d{3} bytes"):
        open_movie(file(tmp_path / "a.tif", range(4), xml("<!--" + "x" * 2000 + "-->")), Wanted())


def test_a_document_type_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """EBCDIC hides the signs of a document type from a search."""
    declared = '<?xml version="1.0" encoding="cp037"?>'
    body = declared + '<!DOCTYPE OME [<!ENTITY a "b">]><OME></OME>'
    (tmp_path / "m.ome").write_bytes(body.encode("cp037"))
    only = f'{HEAD}<OME {NAMESPACE}><BinaryOnly MetadataFile="m.ome" UUID="urn:uuid:a"/></OME>'
    with pytest.raises(FileError):
        open_movie(file(tmp_path / "a.tif", range(4), only), Wanted())


def test_real_sets() -> None:
    for name, shape, pixel in (
        ("thorlabs_3files/ChanA_001_001_001_002.tif", (3, 1, 512, 512), 0.884),
        ("prairie_linescan/LineScan-03052024-1208-1065_Cycle00001_Ch2_000001.ome.tif", (1, 2, 1000, 1054), 0.2947),
    ):
        if not (DATA / name).exists():
            pytest.skip(f"no real recording {DATA / name}")
        with open_movie(DATA / name, Wanted()) as movie:
            assert movie.shape == shape
            assert movie.facts.pixel_um == pytest.approx((pixel, pixel), rel=1e-3)
    with pytest.raises(FileError, match="nor 6189 others, which the OME-XML names"):
        open_movie(next((DATA / "bruker_2plane").glob("*.tif")), Wanted())
