"""The picture that browsers get: the same treatment of both sides, and a picture for every kind of frame."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deepbid_rt.frame import DTYPES, Frame, FrameFlag, Motion, ScanGeometry, StreamInfo
from deepbid_rt.web.latest_frames import LatestPair
from deepbid_rt.web.pair_picture import MAX_PANEL_SIDE, PairPainter
from tests.fakes import stream


def pixels_of(picture):
    return np.asarray(Image.open(io.BytesIO(picture.jpeg)))


def pair_of(raw, denoised=None, info: StreamInfo | None = None, serial=1, **more):
    raw = np.asarray(raw)
    info = info or stream(raw.shape, raw.dtype)
    denoised = raw if denoised is None else np.asarray(denoised)
    return LatestPair(serial, info, Frame(3, raw), Frame(3, denoised, **more), arrived_s=1.5)


def ramp(dtype=np.int16, size=(16, 40)):
    return np.linspace(0, 200, size[0] * size[1]).reshape(1, *size).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_raw_is_left_of_denoised_with_the_same_limits(dtype):
    picture = PairPainter("mean").paint(pair_of(ramp(dtype)[..., ::-1], ramp(dtype)))
    grey = pixels_of(picture).astype(int)
    assert grey.shape == (16, 80)
    assert (picture.index, picture.serial) == (3, 1)
    assert 0 <= picture.black < 200 < picture.white < 270
    left, right = grey[:, :40], grey[:, 40:]
    assert np.abs(left[:, ::-1] - right).mean() < 6  # JPEG blurs the border of the two
    assert 175 < right[-1, -1] < 215
    assert right[0, 0] < 15


@pytest.mark.parametrize(
    "frame",
    [
        np.full((1, 9, 7), np.nan, np.float32),
        np.full((1, 9, 7), np.inf, np.float32),
        np.full((1, 9, 7), 3e38, np.float32),
        np.full((1, 9, 7), 77, np.int16),
        np.full((1, 9, 7), -32768, np.int16),
        np.full((1, 9, 7), 65535, np.uint16),
        np.zeros((1, 1, 1), np.uint8),
        np.zeros((1, 1, 3000), np.int16),
    ],
    ids=["nan", "infinite", "huge", "constant", "lowest", "saturated", "one-pixel", "one-line"],
)
def test_every_frame_gives_a_picture(frame):
    painter = PairPainter("mean")
    for serial in range(3):
        grey = pixels_of(painter.paint(pair_of(frame, serial=serial)))
        assert grey.shape[1] % 2 == 0


def test_pixels_that_are_not_finite_are_black_and_do_not_affect_the_contrast():
    frame = ramp(np.float32)
    frame[0, 3:9, 8:24] = np.nan
    frame[0, 12:, 8:24] = -np.inf
    picture = PairPainter("mean").paint(pair_of(frame))
    assert 200 < picture.white < 270
    assert pixels_of(picture)[5, 12] < 30


def test_the_contrast_follows_slowly():
    painter, info = PairPainter("mean"), stream((1, 16, 40))
    first = painter.paint(pair_of(ramp(), info=info))
    second = painter.paint(pair_of(ramp() * 10, info=info, serial=2))
    assert first.white < second.white < 3 * first.white
    later = [painter.paint(pair_of(ramp() * 10, info=info, serial=n)) for n in range(3, 60)][-1]
    assert later.white == pytest.approx(10 * first.white, rel=0.01)


def test_a_new_series_has_its_own_contrast_at_once():
    painter = PairPainter("mean")
    painter.paint(pair_of(ramp()))
    other = pair_of(ramp() * 10)
    assert painter.paint(replace(other, info=stream((1, 16, 40)))).white > 2000


@pytest.mark.parametrize(("merge", "rows"), [("mean", 4), ("forward", 4), ("interleave", 8)])
def test_raw_lines_are_merged_as_the_denoised_were(merge, rows):
    raw = np.zeros((1, 8, 40), np.int16)
    raw[:, 0::2], raw[:, 1::2] = 100, 50
    info = stream((1, 8, 40), scan=ScanGeometry("collinear"))
    shown = np.zeros((1, rows, 40), np.int16)
    shown[..., 1:] = 200
    grey = pixels_of(PairPainter(merge).paint(pair_of(raw, shown, info)))[:, 4:36].astype(int)
    expected = {"mean": [75], "forward": [100], "interleave": [100, 50]}[merge]
    for row in range(rows):
        assert grey[row].mean() == pytest.approx(expected[row % len(expected)] * 255 / 260, abs=20)


def test_raw_frames_are_registered_as_the_denoised_were():
    raw = np.zeros((1, 32, 32), np.int16)
    raw[0, 20:, :] = 100
    more = {"motion": Motion(8.0, 0.0, 9.0, "tracked"), "flags": FrameFlag.MOTION_CORRECTED}
    shown = np.zeros((1, 32, 32), np.int16)
    shown[0, 12:, :] = 100
    grey = pixels_of(PairPainter("mean").paint(pair_of(raw, shown, **more))).astype(int)
    assert np.abs(grey[:, :32] - grey[:, 32:]).max() < 20
    grey = pixels_of(PairPainter("mean").paint(pair_of(raw, shown, motion=more["motion"]))).astype(int)
    assert np.abs(grey[:, :32] - grey[:, 32:]).max() > 150


def test_large_frames_are_shown_smaller_and_a_channel_can_be_chosen():
    raw = np.zeros((2, 2000, 1000), np.int16)
    raw[1, :, 500:] = 100
    picture = PairPainter("mean", channel=1).paint(pair_of(raw))
    grey = pixels_of(picture)
    assert max(grey.shape[0], grey.shape[1] // 2) <= MAX_PANEL_SIDE
    assert grey[:, grey.shape[1] * 7 // 8].mean() > 170
    assert pixels_of(PairPainter("mean").paint(pair_of(raw))).mean() < 5
    assert pixels_of(PairPainter("mean", channel=9).paint(pair_of(raw))).mean() > 60  # the last channel


def red(image):
    """Return where a picture is red."""
    red, green, blue = (image[..., n].astype(int) for n in range(3))
    return (red > 120) & (green < 90) & (blue < 90)


@pytest.mark.parametrize("size", [(16, 40), (256, 256), (2000, 1000), (64, 64)])
def test_a_frame_that_was_not_denoised_is_framed_and_says_so(size):
    pair = pair_of(ramp(size=size), flags=FrameFlag.NOT_DENOISED)
    picture = PairPainter("mean").paint(pair)
    image = pixels_of(picture)
    assert picture.not_denoised
    lines, pixels = image.shape[0], image.shape[1] // 2
    marked = red(image)
    assert not marked[:, : pixels - 16].any()  # the raw side, but for what JPEG blurs
    for edge in (marked[0, pixels:], marked[-1, pixels:], marked[:, -1]):
        assert edge.mean() > 0.9
    assert (image[:, pixels:].min(axis=2) > 180)[: lines // 3].sum() > 50  # the words are white
    assert pixels >= 240


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 2), (4, 6)])
def test_frames_of_any_shape_can_carry_the_mark(shape):
    picture = PairPainter("mean").paint(pair_of(np.zeros((1, *shape), np.int16), flags=FrameFlag.NOT_DENOISED))
    image = pixels_of(picture)
    assert red(image)[0, image.shape[1] // 2 :].any()
    assert max(image.shape[0], image.shape[1] // 2) <= MAX_PANEL_SIDE


def test_the_next_denoised_frame_has_no_mark():
    painter = PairPainter("mean")
    painter.paint(pair_of(ramp(), flags=FrameFlag.NOT_DENOISED))
    after = painter.paint(pair_of(ramp(), serial=2, flags=FrameFlag.MOTION_CORRECTED))
    assert not after.not_denoised
    assert pixels_of(after).ndim == 2
