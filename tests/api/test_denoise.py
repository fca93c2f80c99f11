"""Array in, array out; and wrong use answered by one clear sentence."""

import ast
import re

import numpy as np
import pytest

import deepbid_rt as rt
from deepbid_rt.errors import EngineError, StreamError
from tests import ROOT
from tests.fakes import SpyEngine, echo_card

RNG = np.random.default_rng(0)


def movie_of(shape, dtype="<i2"):
    return RNG.poisson(20, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i2", "<f4", ">u2", ">f4"])
@pytest.mark.parametrize("shape", [(12, 24, 32), (12, 1, 24, 32), (12, 2, 24, 32), (1, 24, 32)])
def test_the_answer_has_the_axes_and_type_of_the_movie(shape, dtype):
    movie = movie_of(shape, dtype)
    denoised = rt.denoise(movie, engine="average")
    assert (denoised.shape, denoised.dtype) == (movie.shape, movie.dtype)
    assert denoised.std() < movie.std()


@pytest.mark.parametrize(("merge", "lines"), [("mean", 12), ("forward", 12), ("interleave", 24)])
def test_a_collinear_movie_has_half_its_lines(merge, lines):
    movie = movie_of((12, 24, 32))
    assert rt.denoise(movie, "average", scan="collinear", merge=merge).shape == (12, lines, 32)


def test_the_pixels_are_those_of_the_core_denoiser():
    movie = movie_of((20, 2, 24, 32))
    info = rt.StreamInfo((2, 24, 32), np.dtype("<i2"), 30.0)
    engine = rt.load_engine("average")
    from deepbid_rt.denoising.denoiser import Denoiser

    core = Denoiser(engine, info)
    frames = [done for n, pixels in enumerate(movie) for done in core.push(rt.Frame(n, pixels))] + core.flush()
    assert np.array_equal(rt.denoise(movie, engine=engine), np.stack([frame.pixels for frame in frames]))


def test_every_second_frame_may_be_another_plane():
    movie = movie_of((20, 24, 32))
    both = rt.denoise(movie, "average", planes=2)
    alone = [rt.denoise(movie[plane::2], "average", rate_hz=15.0) for plane in range(2)]
    # Not equal: both planes together wait for as many frames as one alone, so each is calibrated on half of them.
    apart = [[np.abs(both[plane::2][4:] - one[4:].astype(int)).mean() for one in alone] for plane in range(2)]
    assert max(apart[0][0], apart[1][1]) < 0.3 * min(apart[0][1], apart[1][0])


def test_an_engine_that_was_passed_in_stays_open():
    engine = SpyEngine(echo_card(), lambda window: window)
    movie = movie_of((3, 8, 8))
    rt.denoise(movie, engine=engine)
    assert np.array_equal(rt.denoise(movie, engine=engine), movie)


def test_a_movie_is_read_frame_by_frame():
    class Lazy:
        shape, dtype = (4, 8, 8), np.dtype("<i2")

        def __init__(self):
            self.read = []

        def __getitem__(self, t):
            self.read.append(t)
            return np.full((8, 8), t, "<i2")

    lazy = Lazy()
    assert rt.denoise(lazy, engine="echo")[:, 0, 0].tolist() == lazy.read == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("movie", "message"),
    [
        (np.zeros((8, 8), "<i2"), "an array of shape (8, 8); expected (T, Y, X), or (T, C, Y, X)"),
        (np.zeros((1, 1, 1, 8, 8), "<i2"), "an array of shape (1, 1, 1, 8, 8); expected (T, Y, X)"),
        (np.zeros((0, 8, 8), "<i2"), "an array of shape (0, 8, 8); expected at least one frame"),
        (np.zeros((2, 8, 8)), "pixels of type float64; expected uint8, uint16, int16 or float32; convert them with"),
        (np.zeros((2, 8, 8), bool), "pixels of type bool; expected uint8"),
        (np.zeros((2, 8, 8), complex), "pixels of type complex128; expected uint8"),
        (np.zeros((2, 9, 8, 8), "<i2"), "frames of shape (C, Y, X) = (9, 8, 8); expected 1..8 channels"),
        (np.zeros((2, 0, 8), "<i2"), "frames of shape (C, Y, X) = (1, 0, 8); expected"),
        (
            np.zeros((5, 64, 64, 2), "<i2"),
            "an array of shape (5, 64, 64, 2), whose last axis looks like channels; expected",
        ),
        ([[1, 2], [3, 4]], "a list in place of a movie; expected an array (T, Y, X)"),
        ("movie.tif", "a str in place of a movie; expected an array (T, Y, X) or (T, C, Y, X); pass a numpy array, or"),
    ],
)
def test_what_is_no_movie_is_refused_in_one_sentence(movie, message):
    with pytest.raises(StreamError, match=re.escape(message)) as refused:
        rt.denoise(movie, engine="echo")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        ({"engine": "nobody"}, EngineError, "no engine named 'nobody'; expected a path to an .onnx file, or one of"),
        ({"engine": "nobody.onnx"}, EngineError, "no engine file at nobody.onnx"),
        ({"scan": "sideways"}, StreamError, "scan='sideways'; expected 'ordinary', 'collinear' or a ScanGeometry"),
        ({"rate_hz": 0}, StreamError, "rate_hz=0; expected a number above 0"),
        ({"planes": 0}, StreamError, "planes=0; expected a whole number, at least 1"),
        ({"engine": "window", "stabilize": True}, EngineError, "registration with engine 'window'"),
        ({"line_phase": 99.0}, StreamError, "a line phase of 99.0 px"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(wrong, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        rt.denoise(movie_of((2, 16, 32)), **{"engine": "average", **wrong})


def test_a_torch_tensor_is_refused_with_the_way_out():
    torch = pytest.importorskip("torch", reason="the train extra is not installed")
    with pytest.raises(StreamError, match=r"dtype=torch.int16; .* pass tensor.numpy\(\)"):
        rt.denoise(torch.zeros((2, 8, 8), dtype=torch.int16), engine="echo")


def test_type_checkers_see_the_public_names():
    stub = ast.parse((ROOT / "deepbid_rt" / "__init__.pyi").read_text(encoding="utf-8"))
    imported = {a.asname or a.name for node in stub.body if isinstance(node, ast.ImportFrom) for a in node.names}
    [names] = [node.value for node in stub.body if isinstance(node, ast.Assign)]
    assert imported | {"__version__"} == set(ast.literal_eval(names)) == set(rt.__all__)


def test_every_public_name_can_be_used_and_is_documented():
    for name in rt.__all__:
        assert getattr(rt, name) is not None
        assert name == "__version__" or getattr(rt, name).__doc__, name
    assert set(rt.__all__) <= set(dir(rt))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = rt.nothing
