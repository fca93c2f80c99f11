import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.tensorrt.header import HEADER_BYTES, PlanHeader, read_header, strip_prefix
from tests.simulated_gpu import plan_of

REBUILD = "deepbid-rt build m.onnx -o m.plan --size 8x8"


def test_the_header_holds_the_version_of_tensorrt():
    header = read_header(plan_of(b"", "10.16.1.11"), "m.plan", REBUILD)
    assert header == PlanHeader((10, 16, 1, 11))
    assert str(header) == "10.16.1.11"


@pytest.mark.parametrize(
    ("installed", "same"),
    [
        ("10.16.1.11", True),
        ("10.16.1", True),
        ("10.16.1.12", False),
        ("10.15.1.11", False),
        ("11.16.1.11", False),
        ("dev", False),
    ],
)
def test_the_installed_version_is_compared_part_by_part(installed, same):
    assert PlanHeader((10, 16, 1, 11)).matches(installed) is same


def test_a_build_number_above_255_is_compared_by_its_low_byte():
    assert PlanHeader((10, 0, 0, 300 & 0xFF)).matches("10.0.0.300")


@given(st.integers(0, HEADER_BYTES - 1))
def test_every_truncated_header_is_refused(length):
    with pytest.raises(EngineError) as refused:
        read_header(plan_of(b"")[:length], "m.plan", REBUILD)
    assert str(refused.value) == (
        f"m.plan holds {length} bytes; expected a TensorRT plan, which begins with 28 bytes of header; "
        f"build it again: {REBUILD}."
    )


@pytest.mark.parametrize(
    ("begin", "what"),
    [(b"vtrt", "a plan of TensorRT-RTX"), (b"PK\x03\x04", "an archive"), (b"\x08\x0a\x12\x07", "no TensorRT plan")],
)
def test_other_files_are_refused_by_name(begin, what):
    with pytest.raises(EngineError) as refused:
        read_header(begin + bytes(60), "m.plan", REBUILD)
    assert str(refused.value) == (
        f"m.plan is {what} (it begins with {begin!r}); expected a plan, which begins with b'ftrt'; "
        f"build it again: {REBUILD}."
    )


def test_json_before_a_plan_is_removed():
    text = b'{"task": "detect"}'
    assert strip_prefix(struct.pack("<I", len(text)) + text + plan_of(b"net")) == plan_of(b"net")


@pytest.mark.parametrize(
    ("length", "text"),
    [(0, b"{}"), (3, b"{}"), (2, b"[]"), ((1 << 20) + 1, b"{" * ((1 << 20) + 2))],
    ids=["none", "longer than the file", "no object", "too long"],
)
def test_a_prefix_that_is_not_json_stays(length, text):
    data = struct.pack("<I", length) + text
    assert strip_prefix(data) == data


@given(st.binary(max_size=64))
def test_any_bytes_stay_or_lose_a_whole_prefix(data):
    stripped = strip_prefix(data)
    assert data.endswith(stripped)
    if data[4:5] != b"{":
        assert stripped == data
