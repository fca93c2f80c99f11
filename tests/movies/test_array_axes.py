from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepbid_rt.errors import StreamError
from deepbid_rt.movies.array_axes import named_axes, plain_axes
from deepbid_rt.movies.wanted import Wanted

U2 = np.dtype("<u2")


def axes(*shape: int, dtype: Any = U2, **wanted: Any) -> str:
    return plain_axes(shape, np.dtype(dtype), Wanted(**wanted), "it").letters


@pytest.mark.parametrize(
    ("shape", "wanted", "letters"),
    [
        ((100, 512, 512), {}, "TYX"),
        ((512, 512, 512), {}, "TYX"),
        ((100, 512, 796), {}, "TYX"),
        ((512, 512, 1000), {"shape": (512, 512)}, "YXT"),
        ((256, 256, 512), {"shape": (256, 512)}, "TYX"),
        ((10, 796, 512), {"shape": (512, 796)}, "TXY"),
        ((100, 2, 512, 512), {}, "TCYX"),
        ((100, 2, 512, 512), {"channels": 2}, "TCYX"),
        ((100, 3, 512, 512), {"planes": 3}, "TZYX"),
        ((100, 4, 512, 512), {"planes": 3, "flyback": 1}, "TZYX"),
        ((100, 30, 512, 512), {"planes": 30}, "TZYX"),
        ((100, 512, 512, 2), {}, "TYXC"),
        ((100, 3, 2, 512, 512), {}, "TZCYX"),
        ((100, 2, 3, 512, 512), {"channels": 2}, "TCZYX"),
        ((100, 2, 3, 512, 512), {"planes": 3}, "TCZYX"),
        ((100, 2, 30, 512, 512), {}, "TCZYX"),
        ((100, 3, 512, 512, 2), {}, "TZYXC"),
    ],
)
def test_axes(shape: tuple[int, ...], wanted: dict[str, Any], letters: str) -> None:
    assert axes(*shape, **wanted) == letters


@pytest.mark.parametrize(
    ("shape", "wanted", "match"),
    [
        ((512, 512, 1000), {}, r"last axis looks like time.*--shape \(512,512 when time is last"),
        ((400, 512, 9000), {}, "last axis looks like time"),
        ((100, 30, 512, 512), {}, "too long for channels.*--planes 30"),
        ((100, 30, 40, 512, 512), {}, "no axis can be channels"),
        ((512, 512), {}, "3 to 5 axes"),
        ((1, 2, 3, 4, 5, 6), {}, "3 to 5 axes"),
        ((100, 512, 512), {"shape": (300, 200)}, "--shape 300,200"),
    ],
)
def test_what_is_no_movie_is_refused(shape: tuple[int, ...], wanted: dict[str, Any], match: str) -> None:
    with pytest.raises(StreamError, match=match):
        axes(*shape, **wanted)


def test_colour_pictures_are_refused_and_channels_last_are_not() -> None:
    with pytest.raises(StreamError, match="colour"):
        axes(100, 64, 64, 3, dtype="u1")
    assert axes(100, 64, 64, 3) == "TYXC"


def test_a_guess_is_said_and_a_wish_is_not() -> None:
    assert "taken as channels" in plain_axes((9, 2, 64, 64), U2, Wanted(), "it").warnings[0]
    assert not plain_axes((9, 2, 64, 64), U2, Wanted(channels=2), "it").warnings
    assert "taken as planes" in plain_axes((9, 3, 2, 64, 64), U2, Wanted(), "it").warnings[0]


def test_named_axes() -> None:
    assert named_axes(["Time", "c", "height", "width"], 4) == "TCYX"
    assert named_axes(["t", "y", "x"], 4) is None
    assert named_axes(["t", "t", "y", "x"], 4) is None
    assert named_axes(["t", None, "y", "x"], 4) is None
    assert named_axes(["t", "c", "z"], 3) is None
