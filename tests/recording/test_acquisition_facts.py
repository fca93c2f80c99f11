from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepbid_rt.frame import StreamInfo
from deepbid_rt.recording.acquisition_facts import page_facts, user_facts


def stated(user: dict[str, Any]) -> dict[str, object]:
    return page_facts(StreamInfo((2, 4, 6), np.dtype("<i2"), 30.0, user=user))


def test_what_a_recording_states_comes_back() -> None:
    assert user_facts(None, ()) == {}
    user = user_facts((0.8, 0.4), ("green", 'µ "red"\n'))
    assert user == {"pixel_um": [0.8, 0.4], "channels": [{"name": "green"}, {"name": 'µ "red"\n'}]}
    assert stated(user) == {
        "pixel_um_y": 0.8,
        "pixel_um_x": 0.4,
        "channel_names": '["green", "\\u00b5 \\"red\\"\\n"]',
    }
    assert stated({"channels": ["green", "red"]}) == {"channel_names": '["green", "red"]'}


@pytest.mark.parametrize("size", [0.5, [0.5], [0.5, 0], [0.5, -1], [True, 1], ["1", 1], [float("nan"), 1], "ab", {}])
def test_a_size_that_is_none_is_left_out(size: Any) -> None:
    assert stated({"pixel_um": size}) == {}


@pytest.mark.parametrize("names", ["ab", ["green"], [{"name": "g"}, {"id": 2}], ["g", ""], [1, 2], 3, {"name": "g"}])
def test_names_that_are_none_are_left_out(names: Any) -> None:
    assert stated({"channels": names}) == {}


def test_a_name_that_is_a_book_is_cut() -> None:
    assert stated({"channels": ["g" * 5000, "r"]}) == {"channel_names": f'["{"g" * 40}", "r"]'}
