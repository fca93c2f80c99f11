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
        (
            np.zeros((4, 5), "<i2"),
            "an array of shape (4, 5) and type int16 in place of a frame; expected shape (4, 4) and type int16; pass",
        ),
        (np.zeros((2, 4, 4), "<i2"), "an array of shape (2, 4, 4)"),
        (np.zeros((4, 4), "<f4"), "an array of shape (4, 4) and type float32"),
        (np.zeros(4, "<i2"), "an array of shape (4,)"),
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
        (
            {"dtype": "letters"},
            "dtype='letters'; expected uint8, uint16, int16 or float32 of numpy; name one of these.",
        ),
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


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"line_phase": "1.5"},
            "line_phase='1.5'; expected 'auto', 'off' or a number of pixels; write a number without",
        ),
        ({"line_phase": True}, "line_phase=True; expected 'auto', 'off' or a number"),
        ({"gap": "skip"}, "gap='skip'; expected one of 'auto', 'reset', 'hold'"),
        ({"merge": "x"}, "merge='x'; expected one of 'mean', 'forward'"),
        ({"stabilize": "no"}, "stabilize='no'; expected True or False"),
        ({"planes": True}, "planes=True; expected a whole number, at least 1"),
        ({"planes": 1.5}, "planes=1.5; expected a whole number, at least 1"),
        ({"rate_hz": "30"}, "rate_hz='30'; expected a number above 0"),
        ({"rate_hz": float("nan")}, "rate_hz=nan; expected a number above 0"),
        ({"precision": "fp16"}, "precision='fp16'; expected one of 'auto', 'bf16', 'f32'"),
        ({"runtime": "onnx"}, "runtime='onnx'; expected one of 'auto', 'openvino', 'torch'"),
        ({"threads": -1}, "threads=-1; expected a whole number, at least 0"),
        ({"shape": 64}, "shape=64; expected (Y, X) or (C, Y, X), whole numbers"),
        ({"shape": (64.0, 64.0)}, "shape=(64.0, 64.0); expected (Y, X) or (C, Y, X), whole numbers"),
    ],
)
def test_a_value_that_is_none_of_an_argument_is_refused_by_its_name(wrong, message):
    with pytest.raises(StreamError, match=re.escape(message)):
        rt.Denoiser.for_array(**{"engine": "average", "shape": (32, 32), **wrong})


@pytest.mark.parametrize("engine", [None, 3, object()])
def test_what_is_no_engine_is_refused(engine):
    with pytest.raises(
        rt.EngineError, match="expected the name of a shipped engine, the path of an engine file, or an"
    ):
        rt.Denoiser.for_array(engine, shape=(32, 32))


def test_the_folder_of_a_run_is_no_engine(tmp_path):
    with pytest.raises(
        rt.EngineError, match=r"in place of an engine; .* export a run of training with deepbid-rt export"
    ):
        rt.Denoiser.for_array(tmp_path, shape=(32, 32))


def test_a_closed_denoiser_takes_no_frame_and_skips_are_whole_numbers():
    with rt.Denoiser.for_array(SpyEngine(echo_card()), shape=(4, 4)) as denoiser:
        for count in (-1, 1.5, "a"):
            with pytest.raises(StreamError, match="expected a whole number, at least 0"):
                denoiser.skip(count)
    with pytest.raises(StreamError, match="a frame after close; expected frames before it; make another denoiser"):
        denoiser.push(np.zeros((4, 4), "<i2"))
