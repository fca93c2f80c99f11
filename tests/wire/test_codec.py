from __future__ import annotations

import importlib.util
import json
import math
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.errors import StreamError, WireError
from deepbid_rt.frame import DTYPES, Frame, FrameFlag, Gap, Motion, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.wire import codec as wire
from deepbid_rt.wire.header import MAX_HEADER_BYTES, digest
from deepbid_rt.wire.message import BeatMessage, EndMessage, FrameMessage, NoteMessage, StartMessage
from tests import ROOT

GOLDEN = ROOT / "tests" / "golden"
EXPECTED: dict[str, dict[str, Any]] = json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))
TS = 1_750_000_000_000_000_000


def a_stream(dtype: str = "<i2", shape: tuple[int, int, int] = (2, 6, 5), **more: Any) -> StreamInfo:
    scan = ScanGeometry("collinear", first="backward", mirrored=False, extra={"kind": "galvo", "f_res_hz": 7910.5})
    return StreamInfo(shape, np.dtype(dtype), 29.97, **{"scan": scan, "user": {"zoom": 2}, **more})


def a_frame(info: StreamInfo, index: int = 7, **more: Any) -> Frame:
    pixels = np.arange(math.prod(info.shape)).reshape(info.shape).astype(info.dtype)
    return Frame(index, pixels, **more)


def an_encoder(info: StreamInfo | None = None, role: str = "raw") -> wire.Encoder:
    return wire.Encoder(info or a_stream(), role, clock_ns=lambda: TS)


def changed(parts: list[wire.Part], **changes: Any) -> list[wire.Part]:
    header = {**msgpack.unpackb(parts[1]), **changes}
    return [parts[0], msgpack.packb({key: value for key, value in header.items() if value is not ...}), parts[2]]


def with_body(**changes: Any) -> list[wire.Part]:
    """A start message with other body values and the hash that goes with them."""
    parts = changed(an_encoder().start(), **changes)
    header = msgpack.unpackb(parts[1])
    hh = digest({key: value for key, value in header.items() if key not in ("v", "k", "sid", "seq", "ts", "hh")})
    return changed(parts, hh=hh)


def refused(parts: list[wire.Part], **options: Any) -> WireError:
    with pytest.raises(WireError) as caught:
        wire.decode(parts, **options)
    return caught.value


def read_golden(name: str) -> list[wire.Part]:
    data, parts = (GOLDEN / f"{name}.bin").read_bytes(), []
    while data:
        (count,) = struct.unpack("<I", data[:4])
        parts.append(data[4 : 4 + count])
        data = data[4 + count :]
    return list(parts)


# Round trips


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 9), st.integers(1, 9)),
    index=st.integers(0, 2**63 - 2),
    plane=st.integers(0, 4095),
    flags=st.integers(0, 63),
    arrived_ns=st.integers(0, 2**63 - 1),
    acquired_s=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
@settings(max_examples=25, deadline=None)
def test_a_decoded_frame_equals_the_encoded_one(
    dtype: str,
    shape: tuple[int, int, int],
    index: int,
    plane: int,
    flags: int,
    arrived_ns: int,
    acquired_s: float | None,
) -> None:
    info = a_stream(dtype, shape)
    sent = a_frame(info, index, plane=plane, flags=FrameFlag(flags), acquired_s=acquired_s)
    message = wire.decode(an_encoder(info).frame(sent), arrived_ns=arrived_ns)
    assert isinstance(message, FrameMessage)
    got = message.frame
    assert got.pixels.dtype.str == dtype
    np.testing.assert_array_equal(got.pixels, sent.pixels)
    assert (got.index, got.plane, got.flags) == (index, plane, FrameFlag(flags))
    assert (got.t_ns, got.arrived_ns, got.acquired_s) == (TS, arrived_ns, acquired_s)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 8192), st.integers(1, 8192)),
    dtype=st.sampled_from(DTYPES),
    rate_hz=st.floats(0.001, 999_999),
    bidirectional=st.booleans(),
    mirrored=st.booleans(),
    first=st.sampled_from(["forward", "backward"]),
    planes=st.integers(1, 4096),
    n_expected=st.none() | st.integers(0, 2**40),
    parent=st.none() | st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
    user=st.dictionaries(st.text(max_size=8), st.none() | st.integers(0, 9) | st.text(max_size=9), max_size=4),
)
@settings(max_examples=50, deadline=None)
def test_a_start_and_a_beat_describe_the_whole_stream(dtype: str, **fields: Any) -> None:
    scan = ScanGeometry("ordinary", fields.pop("bidirectional"), fields.pop("first"), fields.pop("mirrored"))
    info = StreamInfo(dtype=np.dtype(dtype), scan=scan, **fields)
    encoder = an_encoder(info)
    start, beat = wire.decode(encoder.start()), wire.decode(encoder.beat())
    assert isinstance(start, StartMessage)
    assert isinstance(beat, BeatMessage)
    assert start.info == beat.info == info
    assert start.hh == beat.hh


def test_messages_are_numbered_and_beats_repeat_the_last_numbers() -> None:
    info = a_stream()
    encoder = an_encoder(info)
    seqs = [wire.decode(parts).seq for parts in (encoder.start(), encoder.frame(a_frame(info, 5)), encoder.note("x"))]
    assert seqs == [0, 1, 2]
    encoder.drop(a_frame(info, 6))
    beat = wire.decode(encoder.beat())
    assert isinstance(beat, BeatMessage)
    assert (beat.last_seq, beat.last_fn, beat.end) == (3, 6, None)
    encoder.skip(Gap(7, 3, "engine"))
    after_gap = wire.decode(encoder.frame(a_frame(info, 10)))
    assert isinstance(after_gap, FrameMessage)
    assert after_gap.frame.flags == FrameFlag.SOURCE_LOST_BEFORE
    end = wire.decode(encoder.end(StreamEnd("abort")))
    assert isinstance(end, EndMessage)
    assert (end.seq, end.end, end.last_fn) == (5, StreamEnd("abort"), 10)
    idle = wire.decode(encoder.beat())
    assert isinstance(idle, BeatMessage)
    assert idle.end == StreamEnd("abort")


def test_a_denoised_frame_carries_the_sending_time_of_its_raw_frame() -> None:
    info = a_stream()
    message = wire.decode(an_encoder(info, "den").frame(a_frame(info, t_ns=123)))
    assert isinstance(message, FrameMessage)
    assert (message.role, message.sent_ns, message.frame.t_ns) == ("den", TS, 123)


def test_decoding_copies_no_pixels_and_leaves_them_read_only() -> None:
    info = a_stream("<f4", (1, 512, 512))
    topic, header, payload = an_encoder(info).frame(a_frame(info))
    buffer = bytearray(payload)
    message = wire.decode([topic, header, buffer])
    assert isinstance(message, FrameMessage)
    assert np.shares_memory(message.frame.pixels, np.frombuffer(buffer, np.uint8))
    assert not message.frame.pixels.flags.writeable


def test_encoding_copies_no_pixels() -> None:
    info = a_stream()
    frame = a_frame(info)
    assert np.shares_memory(np.frombuffer(an_encoder(info).frame(frame)[2], np.uint8), frame.pixels)


def test_further_parts_and_unknown_keys_are_ignored() -> None:
    message = wire.decode([*changed(an_encoder().note("hello"), x_new={"a": [1]}), b"more", b"parts"])
    assert isinstance(message, NoteMessage)
    assert message.text == "hello"


# Layout


def test_a_start_without_layout_gets_the_layout_of_the_caller() -> None:
    parts = with_body(scan={"bidi": True, "mirrored": True, "first": "fwd"})
    for layout in ("collinear", "ordinary"):
        message = wire.decode(parts, default_layout=layout)
        assert isinstance(message, StartMessage)
        assert message.info.scan.layout == layout
    error = refused(parts)
    assert error.kind == "layout"
    assert str(error) == (
        "a start message without a scan layout; expected scan.layout to be collinear or ordinary; "
        "let the sender give it, or choose --scan collinear or --scan ordinary."
    )


def test_the_layout_of_the_stream_takes_precedence_over_that_of_the_caller() -> None:
    message = wire.decode(an_encoder().start(), default_layout="ordinary")
    assert isinstance(message, StartMessage)
    assert message.info.scan.layout == "collinear"


# Refusals


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("version", {"v": 2}),
        ("version", {"v": True}),
        ("version", {"v": 1.0}),
        ("version", {"v": ...}),
        ("kind", {"k": "end"}),
        ("key", {"sid": "../../etc"}),
        ("key", {"sid": "short"}),
        ("key", {"seq": -1}),
        ("key", {"seq": True}),
        ("key", {"seq": 1.0}),
        ("key", {"seq": 2**63}),
        ("key", {"ts": "now"}),
        ("key", {"hh": 5}),
        ("key", {"fn": None}),
        ("key", {"fn": 2**64 - 1}),
        ("dtype", {"dtype": ">i2"}),
        ("dtype", {"dtype": "|O"}),
        ("dtype", {"dtype": ["<i2"]}),
        ("shape", {"shape": [2, 6]}),
        ("shape", {"shape": [2, 6, 5, 1]}),
        ("shape", {"shape": [9, 6, 5]}),
        ("shape", {"shape": [2, 0, 5]}),
        ("shape", {"shape": [2, 6, 8193]}),
        ("shape", {"shape": [2, True, 5]}),
        ("shape", {"shape": [2, 6.0, 5]}),
        ("shape", {"shape": {"0": 2}}),
        ("byte-count", {"shape": [2, 6, 6]}),
        ("byte-count", {"dtype": "<f4"}),
        ("comp", {"comp": "zstd"}),
        ("crc", {"crc": 1}),
        ("key", {"plane": -1}),
        ("key", {"flags": 1.5}),
        ("key", {"t_acq": math.nan}),
        ("key", {"t_rx": "soon"}),
        ("key", {"t_src": -1}),
        ("header", {"blob": b"binary"}),
        ("header", {"when": msgpack.Timestamp(1)}),
        ("header", {"ext": msgpack.ExtType(1, b"abc")}),
        ("header", {"many": [0] * 1025}),
        ("header", {"map": {1: 2}}),
        ("header", {"map": {b"k": 2}}),
        ("header", {"deep": [[[[[[[[0]]]]]]]]}),
        ("header-size", {"long": "x" * MAX_HEADER_BYTES}),
    ],
)
def test_a_wrong_frame_message_is_refused_with_the_kind_of_its_fault(kind: str, change: dict[str, Any]) -> None:
    info = a_stream()
    assert refused(changed(an_encoder(info).frame(a_frame(info)), **change)).kind == kind


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("start", {"rate_hz": -1.0}),
        ("start", {"rate_hz": 1e9}),
        ("start", {"scan": {"layout": "collinear", "bidi": False}}),
        ("key", {"rate_hz": math.nan}),
        ("key", {"rate_hz": math.inf}),
        ("key", {"rate_hz": True}),
        ("key", {"rate_hz": ...}),
        ("key", {"planes": 0}),
        ("key", {"n_expected": -1}),
        ("key", {"parent": "a/b"}),
        ("key", {"scan": [1]}),
        ("key", {"scan": {"layout": "spiral"}}),
        ("key", {"scan": {"layout": "ordinary", "first": "forward"}}),
        ("key", {"scan": {"layout": "ordinary", "mirrored": 1}}),
        ("key", {"user": "me"}),
        ("shape", {"shape": ...}),
        ("dtype", {"dtype": "<f8"}),
    ],
)
def test_a_wrong_start_body_is_refused_with_the_kind_of_its_fault(kind: str, change: dict[str, Any]) -> None:
    assert refused(with_body(**change)).kind == kind


def test_the_hash_of_a_start_is_not_recomputed() -> None:
    message = wire.decode(changed(an_encoder().start(), rate_hz=15.0, hh="any text"))
    assert (message.hh, message.info.rate_hz) == ("any text", 15.0)


def test_facts_without_a_field_are_kept_with_the_user_facts() -> None:
    message = wire.decode(with_body(bits=14, pixel_um=[0.5, 0.5]))
    assert isinstance(message, StartMessage)
    assert message.info.user == {"bits": 14, "pixel_um": [0.5, 0.5], "zoom": 2}


def test_refusals_are_sentences() -> None:
    info = a_stream()
    parts = an_encoder(info).frame(a_frame(info))
    check = "check the sender against bridge/PROTOCOL.md."
    assert str(refused(changed(parts, v=2))) == (
        f"v = 2 in the header; expected v to be 1, the version this program speaks; {check}"
    )
    assert str(refused([*parts[:2], b"abc"])) == (
        f"a payload of 3 bytes for frame 7, (2, 6, 5) <i2; expected exactly 120 bytes; {check}"
    )
    assert str(refused(changed(parts, seq=-1))) == (
        f"seq = -1 in a frame message; expected seq to be an integer from 0 to 9223372036854775807; {check}"
    )
    assert str(refused(parts[:2])) == f"a message of 2 parts; expected topic, header, payload; {check}"


@pytest.mark.parametrize("status", ["tracked", "held", "foreign", "restarted"])
def test_the_motion_of_a_denoised_frame_is_sent_in_its_header(status: Any) -> None:
    info, motion = a_stream(), Motion(-1.25, 1 / 3, 12.5, status, (0.5, -1 / 3), (0.0, 2.0))
    message = wire.decode(an_encoder(info, "den").frame(a_frame(info, motion=motion)))
    assert isinstance(message, FrameMessage)
    assert message.frame.motion == motion


def test_a_motion_is_sent_under_the_keys_of_the_protocol() -> None:
    info = a_stream()
    parts = an_encoder(info, "den").frame(a_frame(info, motion=Motion(-1.25, 0.5, 12.0, "held", (0.5,), (1.0,))))
    assert msgpack.unpackb(parts[1])["motion"] == {
        "dy": -1.25,
        "dx": 0.5,
        "confidence": 12.0,
        "verdict": "held",
        "bend_dy": [0.5],
        "bend_dx": [1.0],
    }


def test_the_displacement_of_backward_lines_is_sent_in_the_header() -> None:
    info = a_stream()
    parts = an_encoder(info, "den").frame(a_frame(info, aligned_px=-1.25))
    assert wire.decode(parts).frame.aligned_px == -1.25
    plain = an_encoder(info, "den").frame(a_frame(info))
    assert "aligned_px" not in msgpack.unpackb(plain[1])
    assert wire.decode(changed(plain, aligned_px=None)).frame.aligned_px == 0.0
    for wrong in ("1", float("nan"), [1.0], True):
        assert refused(changed(plain, aligned_px=wrong)).kind == "key"


def test_a_frame_without_motion_has_no_such_key() -> None:
    info = a_stream()
    parts = an_encoder(info, "den").frame(a_frame(info))
    assert "motion" not in msgpack.unpackb(parts[1])
    for nothing in (None, ...):
        message = wire.decode(changed(parts, motion=nothing))
        assert isinstance(message, FrameMessage)
        assert message.frame.motion is None


@pytest.mark.parametrize(
    "motion",
    [
        3,
        [1, 2, 3, "held"],
        {},
        {"dy": 1, "dx": 1, "confidence": 1, "verdict": "lost"},
        {"dy": math.nan, "dx": 1, "confidence": 1, "verdict": "held"},
        {"dy": 1, "dx": True, "confidence": 1, "verdict": "held"},
        {"dy": 1, "dx": 1, "verdict": "held"},
        {"dy": 1, "dx": 1, "confidence": 1, "verdict": "held", "bend_dy": 1},
        {"dy": 1, "dx": 1, "confidence": 1, "verdict": "held", "bend_dy": ["1"], "bend_dx": [1]},
        {"dy": 1, "dx": 1, "confidence": 1, "verdict": "held", "bend_dy": [1, 2], "bend_dx": [1]},
        {"dy": 1, "dx": 1, "confidence": 1, "verdict": "held", "bend_dy": [math.inf], "bend_dx": [1]},
    ],
)
def test_a_wrong_motion_is_refused_with_the_kind_of_its_fault(motion: Any) -> None:
    info = a_stream()
    assert refused(changed(an_encoder(info, "den").frame(a_frame(info)), motion=motion)).kind == "key"


@pytest.mark.parametrize("topic", [b"", b"raw/scope1/frame", b"raw/sc ope/frame/", b"raw//frame/", b"raw/a/b/frame/"])
def test_a_malformed_topic_is_refused(topic: bytes) -> None:
    assert refused([topic, *an_encoder().start()[1:]]).kind == "topic"


def test_a_payload_with_a_byte_too_many_or_too_few_is_refused() -> None:
    info = a_stream()
    topic, header, payload = an_encoder(info).frame(a_frame(info))
    for wrong in (bytes(payload) + b"x", bytes(payload)[:-1]):
        assert refused([topic, header, wrong]).kind == "byte-count"


def test_a_payload_in_a_message_without_pixels_is_refused() -> None:
    assert refused([*an_encoder().note("x")[:2], b"y"]).kind == "byte-count"


def test_huge_messages_are_refused_without_allocating_memory() -> None:
    info = a_stream()
    parts = changed(an_encoder(info).frame(a_frame(info)), shape=[8, 8192, 8192], dtype="<f4")
    hostile = [parts, [b"x" * 10**6, *parts[1:]], [parts[0], b"\xdd\xff\xff\xff\xff" + b"\x00" * 9, b""]]
    hostile.append([parts[0], b"\x91" * MAX_HEADER_BYTES, b""])
    hostile.append([parts[0], b"\xdb\xff\xff\xff\xff", b""])
    for message in hostile:
        refused(message)
    tracemalloc.start()
    try:
        for message in hostile:
            refused(message)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_every_truncation_of_every_golden_message_is_refused() -> None:
    for name in EXPECTED:
        topic, header, payload = read_golden(name)
        for cut in range(len(topic)):
            refused([topic[:cut], header, payload])
        for cut in range(len(header)):
            refused([topic, header[:cut], payload])
        for cut in range(len(payload)):
            refused([topic, header, payload[:cut]])


@given(st.lists(st.binary(max_size=80), max_size=5), st.sampled_from(wire.KINDS), st.booleans())
@settings(max_examples=200, deadline=None)
def test_random_bytes_raise_only_wire_errors(parts: list[bytes], kind: str, good_topic: bool) -> None:
    if good_topic and parts:
        parts[0] = f"raw/scope1/{kind}/".encode()
    refused(list(parts))


@given(st.sampled_from(sorted(EXPECTED)), st.data())
@settings(max_examples=300, deadline=None)
def test_mutated_messages_raise_only_wire_errors(name: str, data: st.DataObject) -> None:
    parts = [bytearray(part) for part in read_golden(name)]
    for _ in range(data.draw(st.integers(1, 4))):
        part = parts[data.draw(st.integers(0, 1))]
        part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = wire.decode(parts)
    except WireError as error:
        assert error.kind  # noqa: PT017
        return
    assert message.seq >= 0


@given(st.sampled_from(sorted(EXPECTED)), st.data())
@settings(max_examples=300, deadline=None)
def test_any_value_under_any_key_raises_only_wire_errors(name: str, data: st.DataObject) -> None:
    parts = read_golden(name)
    key = data.draw(st.sampled_from(sorted(msgpack.unpackb(parts[1]))))
    try:
        wire.decode(changed(parts, **{key: data.draw(plain)}))
    except WireError as error:
        assert str(error).endswith(".")  # noqa: PT017


# Refusals of the encoder


def test_a_frame_that_does_not_fit_its_series_is_not_sent() -> None:
    info = a_stream(series="0123456789abcdef")
    with pytest.raises(StreamError) as caught:
        an_encoder(info).frame(Frame(3, np.zeros((1, 6, 5), "<i2")))
    assert str(caught.value) == (
        "frame 3 of shape (1, 6, 5) and type <i2; expected (2, 6, 5) and <i2 as announced for series "
        "0123456789abcdef; begin a new series when the frame changes."
    )


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("topic", {"source": "scope 1"}),
        ("key", {"series": "a/b/c/d/e"}),
        ("header", {"user": {"x": np.int16(3)}}),
        ("header", {"user": {"x": b"bytes"}}),
        ("header", {"user": {"x": 2**70}}),
    ],
)
def test_a_series_that_receivers_would_refuse_is_not_begun(kind: str, more: dict[str, Any]) -> None:
    with pytest.raises(WireError) as caught:
        an_encoder(a_stream(**more)).start()
    assert caught.value.kind == kind


def too_deep(levels: int) -> Any:
    return {"level": too_deep(levels - 1)} if levels else "bottom"


@pytest.mark.parametrize(
    ("facts", "left_out"),
    [
        ({"x": "y" * MAX_HEADER_BYTES, "animal": "M7"}, ["x"]),
        ({"x": ["y" * 100] * 300, "z": ["y" * 100] * 400, "animal": "M7"}, ["z"]),
        ({"x": too_deep(7), "animal": "M7"}, ["x"]),
        ({"animal": "M7", **{f"k{n:04}": n for n in range(1024)}}, ["k1023"]),
    ],
)
def test_facts_that_do_not_fit_a_message_are_left_out_and_it_is_said(
    facts: dict[str, Any], left_out: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    encoder = an_encoder(a_stream(user=facts))
    message = wire.decode(encoder.start())
    assert isinstance(message, StartMessage)
    assert message.info.user == {key: value for key, value in facts.items() if key not in left_out}
    [record] = caplog.records
    assert f"{len(left_out)} facts of series" in record.getMessage()
    assert record.getMessage().endswith(", ".join(left_out))
    assert len(encoder.beat({"engine": "x" * 8000})[1]) <= MAX_HEADER_BYTES


def test_a_legal_start_is_published_again_whatever_its_facts_are() -> None:
    """The keys that the protocol names move into the facts, one level deeper."""
    many = {f"k{n:04}": n for n in range(1020)}
    for body in ({"user": {"x": "y" * 60_000}}, {"channels": too_deep(7)}, {"user": many, "bits": 14, "level": 2}):
        message = wire.decode(with_body(**body))
        assert isinstance(message, StartMessage)
        wire.decode(an_encoder(message.info, "den").start())


def test_a_status_that_does_not_fit_a_beat_is_left_out() -> None:
    message = wire.decode(an_encoder().beat({"engine": "x" * MAX_HEADER_BYTES}))
    assert isinstance(message, BeatMessage)
    assert message.status == {}


def test_an_unknown_reason_is_not_sent() -> None:
    encoder = an_encoder()
    with pytest.raises(WireError):
        encoder.end(StreamEnd("bored"))
    assert not encoder.ended


# Golden messages, made by another msgpack implementation


def expected_motion(fields: dict[str, Any]) -> Motion:
    return Motion(
        fields["dy"],
        fields["dx"],
        fields["confidence"],
        fields["verdict"],
        tuple(fields["bend_dy"]),
        tuple(fields["bend_dx"]),
    )


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if "refused" not in expected])
def test_golden_messages_are_read_as_described(name: str) -> None:
    expected = EXPECTED[name]
    fields = expected["fields"]
    message = wire.decode(read_golden(name), default_layout="ordinary")
    assert (message.seq, message.hh) == (expected["seq"], expected["hh"])
    match message:
        case FrameMessage(frame=frame):
            assert expected["kind"] == "frame"
            assert frame.pixels.tolist() == expected["pixels"]
            assert frame.pixels.dtype.str == fields["dtype"]
            assert (frame.index, frame.plane, int(frame.flags)) == (fields["fn"], 0, fields.get("flags", 0))
            assert frame.t_ns == fields.get("t_src", message.sent_ns)
            assert frame.motion == (expected_motion(fields["motion"]) if "motion" in fields else None)
        case StartMessage(info=info) | BeatMessage(info=info):
            assert list(info.shape) == fields["shape"]
            assert (info.dtype.str, info.rate_hz) == (fields["dtype"], fields["rate_hz"])
            assert info.scan.layout == fields["scan"].get("layout", "ordinary")
            assert info.scan.mirrored == fields["scan"]["mirrored"]
            assert info.scan.first[0] == fields["scan"]["first"][0]
            assert info.scan.extra["kind"] == "resonant"
            assert {key: info.user[key] for key in fields.get("user", {})} == fields.get("user", {})
            if isinstance(message, BeatMessage):
                assert (message.last_seq, message.last_fn) == (fields["last_seq"], fields["last_fn"])
                assert (message.end is not None) == (fields["state"] == "idle")
        case EndMessage():
            assert (message.end.reason, message.last_fn) == (fields["reason"], fields["last_fn"])
        case NoteMessage():
            assert message.text == fields["text"]


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if "refused" in expected])
def test_golden_faults_are_refused_as_described(name: str) -> None:
    assert refused(read_golden(name)).kind == EXPECTED[name]["refused"]


def test_another_implementation_reads_our_messages() -> None:
    info = a_stream(series="0123456789abcdef0123456789abcdef")
    encoder = an_encoder(info)
    start, frame = encoder.start(), encoder.frame(a_frame(info))
    body = msgspec.msgpack.decode(start[1])
    assert (body["v"], body["k"], body["seq"], body["ts"], body["sid"]) == (1, "start", 0, TS, info.series)
    assert body["shape"] == [2, 6, 5]
    assert body["scan"] == {
        "layout": "collinear",
        "bidi": True,
        "first": "bwd",
        "mirrored": False,
        "kind": "galvo",
        "f_res_hz": 7910.5,
    }
    header = msgspec.msgpack.decode(frame[1])
    assert (header["fn"], header["shape"], header["dtype"], header["hh"]) == (7, [2, 6, 5], "<i2", body["hh"])
    # Canonical means that both implementations pack the very same bytes.
    assert msgspec.msgpack.Encoder(order="sorted").encode(body) == start[1]


def test_the_golden_files_equal_the_output_of_their_tool(tmp_path: Path) -> None:
    tool = [sys.executable, str(ROOT / "tools" / "make_golden.py"), "--out", str(tmp_path)]
    done = subprocess.run(tool, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["messages"] == len(EXPECTED)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in GOLDEN.iterdir()}


def test_the_example_of_the_protocol_text_is_a_golden_message() -> None:
    text = (ROOT / "bridge" / "PROTOCOL.md").read_text(encoding="utf-8")
    example = text.split("```hex")[1].split("```")[0]
    parts = [bytes.fromhex(block.split(":")[1]) for block in example.strip().split("\n\n")]
    assert parts == read_golden("frame_i2")


def test_the_wire_needs_numpy_and_msgpack_only() -> None:
    code = "import sys; from deepbid_rt import wire; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    heavy = {"zmq", "msgspec", "torch", "openvino", "tifffile", "skimage", "scipy", "typer", "rich"}
    assert not heavy & set(done.stdout.split())
    assert importlib.util.find_spec("zmq")
