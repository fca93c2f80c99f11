import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepbid_rt.card import ModelCard, Normalization
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import RefusedError, StreamError
from deepbid_rt.frame import DTYPES, Frame, FrameFlag, ScanGeometry
from deepbid_rt.runtimes.echo import EchoEngine
from deepbid_rt.scan.directions import MERGE_MODES, merge_views, split_scan, to_image_order
from tests import jagged
from tests.fakes import (
    FIXED,
    STREAM_CARD,
    WINDOW_CARD,
    SpyEngine,
    echo_card,
    flat_frame,
    mixing_answer,
    stamped_frames,
    stream,
)
from tests.window_denoiser_model import WindowDenoiserModel

COLLINEAR = ScanGeometry(layout="collinear")
PAPERS = echo_card(40, 8, 8, grid=8)
SMALL = echo_card(5, 2, 1)
CARDS = st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(0, 3)).map(
    lambda n: echo_card(n[0] + n[1] + n[2], n[0], n[1])
)


def run(denoiser, frames):
    return [out for frame in frames for out in denoiser.push(frame)]


def indices(frames):
    return [frame.index for frame in frames]


def same(outs, expected):
    assert indices(outs) == indices(expected)
    for out, want in zip(outs, expected, strict=True):
        assert out.pixels.dtype == want.pixels.dtype
        assert np.array_equal(out.pixels, want.pixels)


# The echo engine returns its input.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 9), (8, 8), (9, 8), (3, 17)])
@pytest.mark.parametrize("card", [echo_card(), PAPERS], ids=["at-once", "papers"])
def test_echo_returns_exact_pixels_for_every_type_and_size(dtype, size, card):
    info = stream((2, *size), dtype)
    frames = stamped_frames(info, 21, first=3)
    denoiser = Denoiser(EchoEngine(card), info)
    outs = run(denoiser, frames) + denoiser.flush()
    same(outs, frames)
    assert denoiser.inside == 0


@given(
    # -16384 marks a pixel without a sample; tests/scan/test_missing_pixels.py has it.
    pixels=hnp.arrays(
        np.int16, st.tuples(st.just(1), st.integers(1, 6), st.integers(1, 5)), elements=st.integers(-16383, 32767)
    ),
    first=st.sampled_from(["forward", "backward"]),
    mirrored=st.booleans(),
    layout=st.sampled_from(["collinear", "ordinary"]),
    merge=st.sampled_from(MERGE_MODES),
)
def test_echo_returns_the_merged_views(pixels, first, mirrored, layout, merge):
    """In image order, as `merge_views` merges the views of the raw frame."""
    scan = ScanGeometry(layout=layout, first=first, mirrored=mirrored)
    info = stream(pixels.shape, scan=scan)
    views = [view.astype(np.float32) for view in split_scan(pixels, scan)]
    if layout == "ordinary":
        views = [to_image_order(pixels, scan).astype(np.float32)]
    try:
        denoiser = Denoiser(EchoEngine(), info, merge=merge)
    except RefusedError:
        assert (layout == "ordinary" and merge in ("forward", "backward")) or 0 in (v.shape[-2] for v in views)
        return
    [out] = denoiser.push(Frame(0, pixels))
    expected = np.rint(merge_views(views, scan, merge)).astype(np.int16)
    assert out.pixels.shape == denoiser.info.shape
    assert np.array_equal(out.pixels, expected)


def test_the_default_merge_of_collinear_frames_is_the_mean_of_both_directions():
    info = stream((1, 4, 2), scan=COLLINEAR)
    denoiser = Denoiser(EchoEngine(), info)
    [out] = denoiser.push(Frame(0, np.array([[[10, 20], [30, 40], [1, 2], [5, 6]]], np.int16)))
    assert out.pixels.tolist() == [[[20, 30], [3, 4]]]
    assert denoiser.info.shape == (1, 2, 2)


def test_all_fields_but_the_pixels_are_unchanged():
    info = stream()
    flags = FrameFlag.SATURATED | FrameFlag.TTL_HIGH
    frame = Frame(9, np.ones(info.shape, np.int16), t_ns=5, arrived_ns=6, flags=flags)
    [out] = Denoiser(EchoEngine(), info).push(frame)
    assert (out.index, out.t_ns, out.arrived_ns, out.plane, out.flags) == (9, 5, 6, 0, flags)


def test_the_denoised_series_is_described():
    info = stream((2, 5, 6), scan=COLLINEAR, user={"lab": "x"}, n_expected=7)
    denoiser = Denoiser(EchoEngine(PAPERS), info)
    out = denoiser.info
    assert out.shape == (2, 3, 6)
    assert out.scan == ScanGeometry("ordinary", bidirectional=False)
    assert out.parent == info.series != out.series
    assert out.user == {"lab": "x", "engine": "small", "delay_frames": 15}
    assert (out.dtype, out.rate_hz, out.n_expected, out.planes) == (info.dtype, info.rate_hz, 7, 1)


def test_neither_input_nor_output_is_shared():
    """A source may overwrite its array, and a receiver its frames."""
    for card in (echo_card(), echo_card(4, 2, 1)):
        for dtype in (np.float32, np.int16):
            info = stream((1, 3, 3), dtype)
            frames = stamped_frames(info, 12)
            denoiser = Denoiser(EchoEngine(card), info)
            array = np.empty(info.shape, dtype)
            outs = []
            for frame in frames:
                array[:] = frame.pixels
                new = denoiser.push(dataclasses.replace(frame, pixels=array))
                array[:] = -1
                outs += [dataclasses.replace(out, pixels=out.pixels.copy()) for out in new]
                for out in new:
                    out.pixels[:] = -2
            outs += denoiser.flush()
            same(outs, frames)


# Order, delay, conservation.


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("first", [0, 5, 16])
@pytest.mark.parametrize(
    "card",
    [
        echo_card(),
        PAPERS,
        WINDOW_CARD,
        echo_card(5, 2, 1, normalization=Normalization(frames=3)),
        dataclasses.replace(STREAM_CARD, look_ahead=2, normalization=Normalization(frames=3)),
    ],
)
def test_the_stated_delay_is_reached_and_not_exceeded(card, first, planes):
    info = stream((1, 8, 8), planes=planes)
    frames = stamped_frames(info, 50 * planes, first=first * planes)
    denoiser = Denoiser(EchoEngine(card), info)
    assert denoiser.delay == card.delay * planes
    delays, last = [], frames[0].index - 1
    for pushed, frame in enumerate(frames, start=1):
        for out in denoiser.push(frame):
            assert out.index == last + 1
            last = out.index
            delays.append(frame.index - out.index)
        assert pushed == len(delays) + denoiser.inside
    assert max(delays) == denoiser.delay
    assert len(denoiser.flush()) == len(frames) - len(delays)
    assert denoiser.inside == 0


def test_each_frame_gets_its_own_answer():
    """With an engine whose output depends on the frame and its place in the window."""
    card = echo_card(8, 3, 2)
    info = stream((1, 2, 3), np.float32)
    frames = stamped_frames(info, 40)
    denoiser = Denoiser(SpyEngine(card), info)
    model = WindowDenoiserModel(card, mixing_answer)
    outs, expected = [], []
    for frame in frames:
        outs += denoiser.push(frame)
        expected += model.push(frame.index, frame.pixels[0])
    outs += denoiser.flush()
    expected += model.flush()
    assert indices(outs) == [plane_frame for plane_frame, _ in expected] == list(range(40))
    for out, (_, want) in zip(outs, expected, strict=True):
        assert np.array_equal(out.pixels[0], want)


@pytest.mark.parametrize("flags", [FrameFlag.NONE, FrameFlag.FLYBACK])
def test_planes_and_channels_are_denoised_independently(flags):
    """Three planes and two channels; the third plane may be flyback."""
    info = stream((2, 2, 2), np.float32, planes=3)
    frames = [dataclasses.replace(f, flags=flags if f.plane == 2 else f.flags) for f in stamped_frames(info, 60)]
    denoiser = Denoiser(SpyEngine(SMALL), info)
    outs = run(denoiser, frames) + denoiser.flush()
    assert indices(outs) == list(range(60))
    for plane in range(3):
        of_plane = [frame for frame in frames if frame.plane == plane]
        got = [out for out in outs if out.plane == plane]
        if flags and plane == 2:
            same(got, of_plane)
            continue
        for channel in range(2):
            model = WindowDenoiserModel(SMALL, mixing_answer)
            expected = [a for f in of_plane for a in model.push(f.index // 3, f.pixels[channel])] + model.flush()
            for out, (_, want) in zip(got, expected, strict=True):
                assert np.array_equal(out.pixels[channel], want)


# Gaps.


@st.composite
def sequences(draw):
    ops = st.sampled_from(["push"] * 8 + ["jump", "skip", "flush", "reset"])
    return draw(st.lists(st.tuples(ops, st.integers(1, 9)), min_size=1, max_size=50))


@given(CARDS, st.sampled_from(["reset", "hold"]), sequences(), st.integers(0, 9))
@settings(max_examples=150)
def test_any_sequence_of_calls_gives_the_answers_of_the_model(card, gap, sequence, index):
    """Pushes, index jumps, skips, flushes and resets against `WindowDenoiserModel`; no frame is lost or duplicated."""
    info = stream((1, 1, 2), np.float32)
    denoiser = Denoiser(SpyEngine(card), info, gap=gap)
    model = WindowDenoiserModel(card, mixing_answer)
    began = False
    pushed = returned = dropped = skipped = 0

    def interrupt(count):
        nonlocal model, skipped
        skipped += count
        if gap == "hold" and count < card.window:
            return []
        answers, model = model.flush(), WindowDenoiserModel(card, mixing_answer)
        return answers

    for op, count in sequence:
        expected = []
        if op in ("push", "jump"):
            if op == "jump" and began:
                expected = interrupt(count)
                index += count
            [frame] = stamped_frames(info, 1, first=index)
            outs = denoiser.push(frame)
            expected = expected + model.push(index, frame.pixels[0])
            pushed, index, began = pushed + 1, index + 1, True
        elif op == "skip":
            outs = denoiser.skip(count)
            expected = interrupt(count)
            index += count
        elif op == "flush":
            outs = denoiser.flush()
            expected, model = model.flush(), WindowDenoiserModel(card, mixing_answer)
        else:
            inside = denoiser.inside
            assert denoiser.reset() == inside
            dropped += inside
            model, outs, began = WindowDenoiserModel(card, mixing_answer), [], False
        assert indices(outs) == [plane_frame for plane_frame, _ in expected]
        for out, (_, want) in zip(outs, expected, strict=True):
            assert np.array_equal(out.pixels[0], want)
        returned += len(outs)
        assert pushed == returned + denoiser.inside + dropped
        assert denoiser.skipped == skipped
    outs = denoiser.flush()
    assert pushed == returned + len(outs) + dropped
    assert denoiser.inside == 0
    assert denoiser.flush() == []


@pytest.mark.parametrize(("kind", "resolved"), [("echo", "reset"), ("stream", "hold"), ("average", "hold")])
def test_the_default_gap_policy_depends_on_the_kind(kind, resolved):
    card = echo_card() if kind == "echo" else ModelCard(name="small", kind=kind, memories=(0.5,), normalization=FIXED)
    assert Denoiser(SpyEngine(card), stream()).gap == resolved
    assert Denoiser(SpyEngine(card), stream(), gap="reset").gap == "reset"
    assert Denoiser(SpyEngine(card), stream(), gap="hold").gap == "hold"


def test_a_gap_of_one_frame_resets_windows_by_default():
    info = stream((1, 1, 1))
    engine = SpyEngine(echo_card(8, 2, 2), lambda window: window)
    denoiser = Denoiser(engine, info)
    run(denoiser, [flat_frame(info, n, n) for n in range(9)])
    assert indices(denoiser.push(flat_frame(info, 10, 10))) == [6, 7, 8]  # all that was inside, before the gap
    engine.windows.clear()
    run(denoiser, [flat_frame(info, n, n) for n in range(11, 14)])
    assert engine.windows[0][:, 0, 0].tolist() == [13, 12, 11, 10, 10, 11, 12, 13]  # nothing from before the gap


def test_hold_fills_a_gap_with_the_frame_before_it():
    info = stream((1, 1, 1))
    engine = SpyEngine(echo_card(8, 2, 2), lambda window: window)
    denoiser = Denoiser(engine, info, gap="hold")
    run(denoiser, [flat_frame(info, n, n) for n in range(9)])
    assert denoiser.skip(2) == []
    outs = denoiser.push(flat_frame(info, 11, 11))
    assert indices(outs) == [6, 7, 8]
    assert engine.windows[-1][:, 0, 0].tolist() == [4, 5, 6, 7, 8, 8, 8, 11]
    assert denoiser.skipped == 2


def test_a_gap_of_a_whole_window_resets_even_with_hold():
    info = stream((1, 1, 1), planes=2)
    denoiser = Denoiser(EchoEngine(echo_card(8, 2, 2)), info, gap="hold")
    run(denoiser, stamped_frames(info, 9))
    assert denoiser.skip(15) == []
    denoiser.reset()
    run(denoiser, stamped_frames(info, 9))
    assert denoiser.inside
    assert indices(denoiser.skip(16))[-1] == 8
    assert denoiser.inside == 0


def test_missing_frames_before_the_first_one_are_only_counted():
    info = stream()
    denoiser = Denoiser(EchoEngine(PAPERS), info)
    assert denoiser.skip(5) == []
    run(denoiser, stamped_frames(info, 3, first=100))
    assert (denoiser.skipped, denoiser.inside) == (5, 3)


# Live equals offline: answers do not depend on frames that come later.


def noisy(info, count):
    rng = np.random.default_rng(0)
    return [Frame(n, rng.normal(500, 50, info.shape).astype(info.dtype), plane=n % info.planes) for n in range(count)]


@pytest.mark.parametrize("scan", [COLLINEAR, ScanGeometry(first="backward", mirrored=False)])
def test_answers_do_not_depend_on_frames_that_come_later(scan):
    """Whatever follows a frame, the answers returned up to it are the same bit for bit."""
    info = stream((1, 6, 4), scan=scan)
    card = echo_card(8, 4, 3, normalization=Normalization(frames=6))
    frames = noisy(info, 40)
    whole = run(Denoiser(SpyEngine(card), info), frames)
    for end in range(0, 40, 3):
        other = [dataclasses.replace(f, pixels=f.pixels + 7000) for f in frames[end:]]
        denoiser = Denoiser(SpyEngine(card), info)
        before = run(denoiser, frames[:end])
        same(before, whole[: len(before)])
        run(denoiser, other)
        same(before, whole[: len(before)])


def test_answers_depend_on_frames_within_the_look_ahead():
    info = stream((1, 1, 1), np.float32)
    card = echo_card(8, 4, 4)
    frames = noisy(info, 8)
    plain = run(Denoiser(SpyEngine(card), info), frames)
    other = [*frames[:7], dataclasses.replace(frames[7], pixels=frames[7].pixels + 1)]
    changed = run(Denoiser(SpyEngine(card), info), other)
    assert indices(plain) == [0, 1, 2, 3]
    assert all((a.pixels != b.pixels).all() for a, b in zip(plain, changed, strict=True))


# Line phase.


@pytest.mark.parametrize("layout", ["collinear", "ordinary"])
@pytest.mark.parametrize("mirrored", [True, False])
def test_backward_lines_are_moved_by_the_measured_line_phase(layout, mirrored):
    info = jagged.info_of(scan=ScanGeometry(layout, mirrored=mirrored))
    straight = jagged.scanned(jagged.tissue((96, 96)), 0.0, ScanGeometry(layout))
    shifted = jagged.scanned(jagged.tissue((96, 96)), 1.3, info.scan).astype(np.float32)[None]
    denoiser = Denoiser(EchoEngine(echo_card()), info, merge="interleave")
    [first], [second] = denoiser.push(Frame(0, shifted)), denoiser.push(Frame(1, shifted))
    assert first.line_phase_px == pytest.approx(1.3, abs=0.03)
    assert first.aligned_px == pytest.approx(1.3, abs=0.03)  # at this rate a frame is a block of the measurement
    assert second.pixels[0, :, 8:-8] == pytest.approx(straight[:, 8:-8], abs=0.05)
    left = Denoiser(EchoEngine(echo_card()), info, merge="interleave", line_phase="off")
    [as_scanned] = left.push(Frame(0, shifted))
    assert np.abs(as_scanned.pixels[0, :, 8:-8] - straight[:, 8:-8]).max() > 0.5
    assert (as_scanned.line_phase_px, as_scanned.aligned_px) == (first.line_phase_px, 0.0)
    given = Denoiser(EchoEngine(echo_card()), info, merge="interleave", line_phase=1.3)
    [at_once] = given.push(Frame(0, np.zeros_like(shifted)))
    assert (at_once.line_phase_px, at_once.aligned_px) == (None, 1.3)


def test_waiting_frames_keep_their_own_line_offset():
    info = jagged.info_of()
    frames = [Frame(n, p) for n, px in enumerate([0.0, 2.0, 2.0, 2.0]) for p in jagged.frames(info, px, 1)]
    denoiser = Denoiser(EchoEngine(echo_card(3, 1, 2)), info)
    outs = run(denoiser, frames) + denoiser.flush()
    assert [out.aligned_px for out in outs] == pytest.approx([0.0, 2.0, 2.0, 2.0], abs=0.05)


def test_a_reset_forgets_the_line_phase():
    info = jagged.info_of()
    frames = [Frame(n, pixels) for n, pixels in enumerate(jagged.frames(info, 2.0, 2))]
    denoiser = Denoiser(EchoEngine(echo_card()), info)
    assert denoiser.push(frames[0])[0].aligned_px
    denoiser.reset()
    assert denoiser.push(dataclasses.replace(frames[1], pixels=frames[1].pixels * 0))[0].aligned_px == 0.0


def test_a_line_phase_beyond_the_range_is_refused():
    with pytest.raises(StreamError, match="a line phase of 99"):
        Denoiser(EchoEngine(echo_card()), jagged.info_of(), line_phase=99.0)


def test_denoisers_of_one_engine_share_no_state():
    info = stream((1, 6, 4))
    card = echo_card(8, 4, 3, normalization=Normalization(frames=6))
    movies = noisy(info, 30), stamped_frames(info, 30)
    alone = []
    for movie in movies:
        denoiser = Denoiser(SpyEngine(card), info)
        alone.append(run(denoiser, movie) + denoiser.flush())
    engine = SpyEngine(card)
    a, b = Denoiser(engine, info), Denoiser(engine, info)
    outs_a, outs_b = [], []
    for frame_a, frame_b in zip(*movies, strict=True):
        outs_a += a.push(frame_a)
        outs_b += b.push(frame_b)
    same(outs_a + a.flush(), alone[0])
    same(outs_b + b.flush(), alone[1])


def test_offset_and_scale_never_change_once_calibrated():
    info = stream((2, 6, 4), scan=COLLINEAR, planes=2)
    card = echo_card(8, 4, 3, normalization=Normalization(frames=6))
    denoiser = Denoiser(SpyEngine(card), info)
    frames = noisy(info, 80)
    run(denoiser, frames[:6])  # 4 of each plane are waited for
    assert denoiser.normalizers == [None, None]
    run(denoiser, frames[6:8])
    calibrated = denoiser.normalizers
    assert None not in calibrated
    assert calibrated[0] != calibrated[1]
    for frame in frames[8:]:
        denoiser.push(dataclasses.replace(frame, pixels=frame.pixels * 3))
        assert denoiser.normalizers == calibrated
    denoiser.skip(100)
    denoiser.flush()
    assert denoiser.normalizers == calibrated
    denoiser.reset()
    assert denoiser.normalizers == [None, None]


# Refusals.


def test_an_engine_trained_for_another_scan_is_refused():
    with pytest.raises(StreamError) as refused:
        Denoiser(EchoEngine(echo_card(scan=("ordinary",))), stream(scan=COLLINEAR))
    assert str(refused.value) == (
        "engine 'small' was trained for ordinary scans and the stream is collinear; "
        "expected an engine trained for the stream's scan; choose another engine, or correct the layout of the scan."
    )


@pytest.mark.parametrize("scan", [COLLINEAR, ScanGeometry()])
def test_an_unknown_merge_is_refused(scan):
    with pytest.raises(RefusedError, match=r"^merge 'median'; expected one of mean, forward, backward, interleave"):
        Denoiser(EchoEngine(), stream(scan=scan), merge="median")


@pytest.mark.parametrize(
    ("pixels", "came"),
    [
        (np.zeros((1, 4, 7), np.int16), "shape (1, 4, 7) and type <i2"),
        (np.zeros((1, 4, 6), np.uint16), "shape (1, 4, 6) and type <u2"),
        (np.zeros((4, 6), np.int16), "shape (4, 6) and type <i2"),
    ],
)
def test_a_frame_of_another_shape_or_type_is_refused_and_changes_nothing(pixels, came):
    info = stream((1, 4, 6))
    denoiser = Denoiser(EchoEngine(PAPERS), info)
    frames = stamped_frames(info, 20)
    outs = run(denoiser, frames[:10])
    with pytest.raises(StreamError) as refused:
        denoiser.push(Frame(10, pixels))
    assert str(refused.value) == (
        f"frame 10 has {came}; expected shape (1, 4, 6) and type <i2 as the series began; "
        "start a new series when the frame size changes."
    )
    same(outs + run(denoiser, frames[10:]) + denoiser.flush(), frames)


@pytest.mark.parametrize("card", [echo_card(), PAPERS], ids=["at-once", "papers"])
@pytest.mark.parametrize("index", [9, 3])
def test_a_frame_number_that_does_not_rise_is_refused_and_changes_nothing(card, index):
    info = stream()
    denoiser = Denoiser(EchoEngine(card), info)
    frames = stamped_frames(info, 20)
    outs = run(denoiser, frames[:10])
    with pytest.raises(StreamError) as refused:
        denoiser.push(frames[index])
    assert str(refused.value) == (
        f"frame {index} after frame 9; expected increasing frame numbers; "
        "start a new series when the numbering starts again."
    )
    same(outs + run(denoiser, frames[10:]) + denoiser.flush(), frames)


@pytest.mark.parametrize("plane", [-1, 2])
def test_an_unknown_plane_is_refused(plane):
    info = stream(planes=2)
    with pytest.raises(StreamError) as refused:
        Denoiser(EchoEngine(), info).push(Frame(4, np.zeros(info.shape, np.int16), plane=plane))
    assert str(refused.value) == (
        f"frame 4 is of plane {plane}; expected planes 0..1; correct the number of planes in the start message."
    )


@pytest.mark.parametrize("card", [echo_card(), PAPERS], ids=["at-once", "papers"])
def test_a_plane_twice_in_a_volume_is_refused(card):
    info = stream(planes=2)
    denoiser = Denoiser(EchoEngine(card), info)
    denoiser.push(Frame(4, np.zeros(info.shape, np.int16)))
    with pytest.raises(StreamError) as refused:
        denoiser.push(Frame(5, np.zeros(info.shape, np.int16)))
    assert str(refused.value) == (
        "frame 5 is the second of plane 0 within 2 frames; expected each plane once in each volume; "
        "correct the number of planes in the start message."
    )


@pytest.mark.parametrize("plane", [0, 3, 99])
def test_flyback_frames_may_have_any_plane_number(plane):
    """Some senders leave it at 0, others count flyback as one more plane."""
    info = stream((1, 2, 2), planes=4)
    frames = [
        dataclasses.replace(f, plane=plane, flags=FrameFlag.FLYBACK) if f.index % 4 == 3 else f
        for f in stamped_frames(info, 80)
    ]
    denoiser = Denoiser(EchoEngine(PAPERS), info)
    delays = [frame.index - out.index for frame in frames for out in denoiser.push(frame)]
    assert max(delays) <= denoiser.delay
    assert len(delays) + len(denoiser.flush()) == 80


def test_flyback_frames_are_not_in_the_windows():
    info = stream((1, 1, 1), planes=2)
    engine = SpyEngine(echo_card(4, 1, 0), lambda window: window + 1)
    denoiser = Denoiser(engine, info)
    frames = [flat_frame(info, n, n, FrameFlag.FLYBACK if n % 2 else FrameFlag.NONE) for n in range(20)]
    outs = run(denoiser, frames)
    assert [int(out.pixels[0, 0, 0]) for out in outs] == [n if n % 2 else n + 1 for n in range(20)]
    assert all(int(window[-1, 0, 0]) % 2 == 0 for window in engine.windows)


def test_the_engine_is_warmed_up_for_the_padded_size():
    engine = SpyEngine(WINDOW_CARD)
    Denoiser(engine, stream((1, 31, 20), scan=COLLINEAR))
    assert engine.warmed == [(40, 16, 24)]
    assert engine.closed == 0
