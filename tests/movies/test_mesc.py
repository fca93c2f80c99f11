from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepbid_rt.movies import mesc
from tests import DATA
from tests.movies.encoded import check, encoded, frames_of, refused

h5py = pytest.importorskip("h5py", reason="the formats extra is not installed")

XML = '<Task Type="{task}"><Params><param name="ResonantClock" value="{clock}"/></Params></Task>'


def codes(text: str, dtype: str = "<u2") -> Any:
    return np.array([*(ord(one) for one in text), 0], dtype)


def unit_attributes(movie: Any, inverted: bool = True, task: str = "TaskResonantScan") -> dict[str, Any]:
    times, _, channels, lines, pixels = movie.shape
    attributes: dict[str, Any] = {
        "VecChannelsSize": np.uint64(channels),
        "XDim": np.uint64(pixels),
        "YDim": np.uint64(lines),
        "ZDim": np.uint64(times),
        "XAxisConversionConversionLinearScale": 1.5,
        "YAxisConversionConversionLinearScale": 2.5,
        "ZAxisConversionConversionLinearScale": 40.0,
        "XAxisConversionUnitName": codes("µm"),
        "YAxisConversionUnitName": codes("µm"),
        "ZAxisConversionUnitName": codes("ms"),
        "ZAxisConversionTitle": codes("t", "<i2"),
        "MeasurementParamsXML": np.bytes_(XML.format(task=task, clock=600.0).encode()),
    }
    for k in range(channels):
        attributes[f"Channel_{k}_Name"] = codes(f"PMT {k}")
        attributes[f"Channel_{k}_Conversion_ConversionLinearScale"] = -1.0 if inverted else 1.0
        attributes[f"Channel_{k}_Conversion_ConversionLinearOffset"] = 65535.0 if inverted else 0.0
    return attributes


def write(path: Path, *movies: Any, inverted: bool = True, **changes: Any) -> Path:
    """Write measurements (T, 1, C, Y, X) into one session, with attributes that are changed or, as None, left out."""
    with h5py.File(path, "w") as file:
        for number, movie in enumerate(movies):
            unit = file.create_group(f"MSession_0/MUnit_{number}")
            for k in range(movie.shape[2]):
                pixels = 65535 - movie[:, 0, k] if inverted else movie[:, 0, k]
                unit.create_dataset(f"Channel_{k}", data=pixels, chunks=(1, *movie.shape[3:]), compression="gzip")
            for name, value in (unit_attributes(movie, inverted) | changes).items():
                if value is not None:
                    unit.attrs[name] = value
    return path


def test_one_measurement_opens_with_all_channels_and_facts(tmp_path: Path) -> None:
    movie = encoded(5, 1, 2)
    facts = check(mesc, write(tmp_path / "m.mesc", movie), frames_of(movie)).facts
    assert facts.rate_hz == 25.0
    assert facts.pixel_um == (2.5, 1.5)
    assert facts.channel_names == ("PMT 0", "PMT 1")
    assert facts.bidirectional is True  # 48 lines x 25 Hz are two for each of 600 periods
    assert facts.extra == {"f_res_hz": 600.0}
    assert len(facts.warnings) == 1
    assert "inverted" in facts.warnings[0]


def test_counts_that_are_not_inverted_are_kept(tmp_path: Path) -> None:
    movie = encoded(5, 1, 2)
    facts = check(mesc, write(tmp_path / "m.mesc", movie, inverted=False), frames_of(movie)).facts
    assert facts.warnings == ()
    path = write(tmp_path / "n.mesc", movie, inverted=False, Channel_1_Conversion_ConversionLinearOffset=-895.0)
    warnings = check(mesc, path, frames_of(movie)).facts.warnings
    assert warnings == ("counts of Channel_1 are kept; value = count x 1 + -895 by the file",)


def test_several_measurements_are_asked_for(tmp_path: Path) -> None:
    first, second = encoded(5, 1, 2), encoded(4, 1, 1)
    path = write(tmp_path / "m.mesc", first, second)
    refused(
        mesc,
        path,
        r"2 measurements: MSession_0/MUnit_0 \(2 channels \(5, 48, 64\)\), MSession_0/MUnit_1 .*--dataset MSession_0",
    )
    refused(mesc, path, "more than one measurement MSession_0", dataset="MSession_0")
    refused(mesc, path, "no measurement MSession_0/MUnit_7", dataset="MSession_0/MUnit_7")
    check(mesc, path, frames_of(second), dataset="MSession_0/MUnit_1")
    check(mesc, path, frames_of(first), dataset="/MSession_0/MUnit_0")
    opened = check(mesc, path, frames_of(first[:, :, 1:]), dataset="MSession_0/MUnit_0/Channel_1")
    assert opened.facts.channel_names == ("PMT 1",)


def test_units_of_more_than_nine_are_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "m.mesc", *[encoded(1)] * 11)
    message = str(refused(mesc, path, "11 measurements"))
    assert message.index("MUnit_2 ") < message.index("MUnit_7 ")
    assert "3 more" in message


def test_planes_as_given(tmp_path: Path) -> None:
    movie = encoded(5, 3, 2)
    pages = movie.reshape(15, 1, 2, 48, 64)
    path = write(tmp_path / "m.mesc", pages, MeasurementParamsXML=XML.format(task="TaskMultiLayer", clock=8000))
    facts = check(mesc, path, frames_of(movie), 3, planes=3).facts
    assert any("TaskMultiLayer: give --planes" in one for one in facts.warnings)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"VecChannelsSize": np.uint64(3)}, "2 channels and a header of 3"),
        ({"YDim": np.uint64(64), "XDim": np.uint64(48)}, "header of 64 lines and 48 pixels"),
        ({"ZAxisConversionTitle": codes("z")}, "stack over depth"),
        ({"Channel_1_Conversion_ConversionLinearScale": 1.0}, "some of whose channels are inverted"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, changes: Any, match: str) -> None:
    refused(mesc, write(tmp_path / "m.mesc", encoded(5, 1, 2), **changes), match)


def test_channels_of_unlike_size_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.mesc", encoded(5, 1, 2))
    with h5py.File(path, "a") as file:
        del file["MSession_0/MUnit_0/Channel_1"]
        file["MSession_0/MUnit_0/Channel_1"] = np.zeros((4, 48, 64), "<u2")
    refused(mesc, path, r"Channel_1 .*\(4, 48, 64\)")
    with h5py.File(path, "a") as file:
        del file["MSession_0/MUnit_0/Channel_1"]
        file["MSession_0/MUnit_0/Channel_1"] = h5py.ExternalLink("other.h5", "/x")
    refused(mesc, path, "another file")


def test_a_header_that_counts_other_frames_is_said(tmp_path: Path) -> None:
    movie = encoded(5)
    facts = check(mesc, write(tmp_path / "m.mesc", movie, ZDim=np.uint64(900)), frames_of(movie)).facts
    assert "counts 900 frames and it holds 5" in facts.warnings[0]


@pytest.mark.parametrize(
    "changes",
    [
        {name: None for name in unit_attributes(encoded(1)) if "Conversion_" not in name},
        {"ZAxisConversionConversionLinearScale": float("nan"), "XAxisConversionConversionLinearScale": 0.0},
        {"ZAxisConversionConversionLinearScale": np.zeros(5), "YAxisConversionUnitName": np.zeros((3, 3))},
        {"ZAxisConversionUnitName": codes("parsec"), "XAxisConversionUnitName": np.array([-1, 2**31], "<i8")},
    ],
)
def test_missing_or_odd_attributes_are_no_facts(tmp_path: Path, changes: Any) -> None:
    movie = encoded(5)
    facts = check(mesc, write(tmp_path / "m.mesc", movie, **changes), frames_of(movie)).facts
    assert facts.rate_hz is None
    assert facts.pixel_um is None


@pytest.mark.parametrize(
    "xml",
    [
        '<!DOCTYPE a [<!ENTITY a "aaaa">]><Task>&a;</Task>',
        "<Task",
        "x" * 60_000,
    ],
)
def test_unsafe_parameters_are_not_read(tmp_path: Path, xml: str) -> None:
    movie = encoded(5)
    path = write(tmp_path / "m.mesc", movie, MeasurementParamsXML=None)
    with h5py.File(path, "a") as file:
        file["MSession_0/MUnit_0"].attrs.create("MeasurementParamsXML", xml)
    facts = check(mesc, path, frames_of(movie)).facts
    assert "were not read" in facts.warnings[1]
    assert facts.bidirectional is None


def test_files_without_measurements_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.mesc", "w") as file:
        file["MSession_0/MUnit_0/other"] = np.zeros(3)
        file["MSession_1"] = np.zeros(3)
    refused(mesc, tmp_path / "m.mesc", "0 measurements.*groups MSession_0/MUnit_0")
    (tmp_path / "cut.mesc").write_bytes(write(tmp_path / "n.mesc", encoded(5)).read_bytes()[:-100])
    refused(mesc, tmp_path / "cut.mesc", "cut off")
    (tmp_path / "text.mesc").write_text("text")
    refused(mesc, tmp_path / "text.mesc", "no HDF5 file")
    assert not mesc.claims(tmp_path / "none.mesc")


@pytest.mark.parametrize("number", [0, 1])
def test_the_real_file(number: int) -> None:
    path = DATA / "femtonics_p29" / "p29.mesc"
    if not path.exists():
        pytest.skip("shared/data/femtonics_p29 is not there")
    refused(mesc, path, "2 measurements")
    with h5py.File(path) as file:
        unit = file[f"MSession_0/MUnit_{number}"]
        frames = 65535 - np.stack([unit["Channel_0"][:], unit["Channel_1"][:]], axis=1)
    opened = check(mesc, path, frames, dataset=f"MSession_0/MUnit_{number}")
    assert opened.shape == (5, 2, 512, 512)
    assert opened.facts.rate_hz == pytest.approx(30.963, abs=1e-3)
    assert opened.facts.pixel_um == pytest.approx((1.782114, 1.782114))
    assert opened.facts.channel_names == ("UG", "UR")
    assert opened.facts.bidirectional is True
