"""Frames one by one: numpy in, numpy out."""

import re

import numpy as np
import pytest

import deepbid_rt as rt
from deepbid_rt.errors import StreamError
from tests.fakes import SpyEngine, echo_card


def frames_of(count, shape=(24, 32), dtype="<i2"):
    return np.random.default_rng(1).poisson(20, (count, *shape)).astype(dtype)


def test_frames_give_what_the_whole_movie_gives():
    movie = frames_of(30)
    with rt.Denoiser.for_array("average", shape=(24, 32)) as denoiser:
        out = [done for frame in movie for done in denoiser.push(frame)] + denoiser.flush()
    assert [frame.index for frame in out] == list(range(30))
    assert np.array_equal(np.stack([frame.pixels[0] for frame in out]), rt.denoise(movie, "average"))
    assert out[20].motion is not None


def test_a_camera_may_reuse_its_buffer():
    movie = frames_of(20)
    buffer = np.empty((24, 32), "<i2")
    with rt.Denoiser.for_array("average", shape=(24, 32)) as denoiser:
        out = []
        for frame in movie:
            buffer[:] = frame
            out += denoiser.push(buffer)
        out += denoiser.flush()
    assert np.array_equal(np.stack([frame.pixels[0] for frame in out]), rt.denoise(movie, "average"))


def test_numbers_go_on_after_a_gap_and_begin_anew_after_a_reset():
    with rt.Denoiser.for_array(SpyEngine(echo_card()), shape=(4, 4)) as denoiser:
        first = denoiser.push(np.zeros((4, 4), "<i2"))
        denoiser.skip(3)
        later = denoiser.push(np.zeros((1, 4, 4), "<i2"))
        assert [frame.index for frame in first + later] == [0, 4]
        assert denoiser.skipped == 3
        denoiser.reset()
        assert [frame.index for frame in denoiser.push(np.zeros((4, 4), "<i2"))] == [0]


def test_frames_with_a_number_of_their_own_count_what_is_missing():
    with rt.Denoiser.for_array(SpyEngine(echo_card()), shape=(4, 4)) as denoiser:
        denoiser.push(rt.Frame(10, np.zeros((1, 4, 4), "<i2")))
        [after] = denoiser.push(rt.Frame(13, np.zeros((1, 4, 4), "<i2")))
        assert (after.index, denoiser.skipped) == (13, 2)
        [array] = denoiser.push(np.zeros((4, 4), "<i2"))
        assert array.index == 14


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((4, 5), "<i2"), "frame 0 has shape (1, 4, 5) and type <i2; expected shape (1, 4, 4) and type <i2"),
        (np.zeros((2, 4, 4), "<i2"), "frame 0 has shape (2, 4, 4)"),
        (np.zeros((4, 4), "<f4"), "frame 0 has shape (1, 4, 4) and type <f4"),
        (np.zeros(4, "<i2"), "frame 0 has shape (4,)"),
    ],
)
def test_a_frame_of_another_shape_or_type_is_refused_and_the_next_one_taken(frame, message):
    with rt.Denoiser.for_array(SpyEngine(echo_card()), shape=(4, 4)) as denoiser:
        with pytest.raises(StreamError, match=re.escape(message)):
            denoiser.push(frame)
        assert [done.index for done in denoiser.push(np.ones((4, 4), "<i2"))] == [0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"shape": (4,)},
            "frames of shape (4,); expected (Y, X), or (C, Y, X) with channels first; reshape",
        ),
        ({"shape": (2, 3, 4, 4)}, "frames of shape (2, 3, 4, 4); expected (Y, X)"),
        ({"dtype": "float64"}, "pixels of type float64; expected uint8, uint16, int16 or float32"),
        ({"dtype": "letters"}, "dtype='letters'; expected uint8, uint16, int16 or float32; name one of these."),
    ],
)
def test_impossible_frames_are_refused_before_the_engine_opens(wrong, message):
    with pytest.raises(StreamError, match=re.escape(message)):
        rt.Denoiser.for_array(**{"engine": "average", "shape": (4, 4), **wrong})


def test_an_engine_that_cannot_serve_is_closed_again(monkeypatch):
    closed = []
    engine = SpyEngine(echo_card(scan=("collinear",)))
    monkeypatch.setattr(engine, "close", lambda: closed.append(True))
    monkeypatch.setattr("deepbid_rt.api.arguments.load_engine", lambda *_, **__: engine)
    with pytest.raises(StreamError, match="was trained for collinear scans"):
        rt.Denoiser.for_array("mine.onnx", shape=(4, 4))
    assert closed == [True]
