from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.viewer.controls import AVERAGES, MAX_MERGED, Controls
from deepbid_rt.viewer.keys import KEYS, help_text


def test_defaults_suit_one_channel_and_one_plane() -> None:
    controls = Controls()
    assert (controls.mode, controls.drawn, controls.maps, controls.average) == ("side", [0], ["gray"], 1)


def test_modes_tools_and_help() -> None:
    controls = Controls()
    for mode in ("swipe", "blink", "difference", "side"):
        assert controls.act(mode)
        assert controls.mode == mode
    controls.act("ellipse")
    assert controls.tool == "ellipse"
    controls.act("ellipse")
    assert controls.tool is None
    controls.act("help")
    assert controls.help


def test_the_average_is_chosen_in_steps_and_shown_when_chosen() -> None:
    controls = Controls()
    for _ in range(20):
        controls.act("more")
    assert controls.average == AVERAGES[-1]
    for _ in range(20):
        controls.act("fewer")
    assert controls.average == AVERAGES[0]
    controls.act("average")
    assert controls.average == 1


def test_channels_are_merged_shown_one_by_one_and_merged_again() -> None:
    controls = Controls()
    controls.start_series(3, 1)
    drawn = []
    for _ in range(5):
        drawn.append(controls.drawn)
        controls.act("channel")
    assert drawn == [[0, 1, 2], [0], [1], [2], [0, 1, 2]]
    controls.start_series(8, 1)
    assert controls.drawn == list(range(MAX_MERGED))


def test_a_map_belongs_to_its_channel() -> None:
    controls = Controls()
    controls.start_series(2, 1)
    controls.act("channel")
    controls.act("channel")
    controls.act("map")
    assert controls.maps == ["green", "fire"]


def test_choices_stay_when_a_new_series_has_the_same_channels() -> None:
    controls = Controls()
    controls.start_series(2, 4)
    controls.act("channel")
    controls.act("plane")
    controls.act("map")
    kept = (controls.channel, controls.maps, controls.plane)
    controls.start_series(2, 4)
    assert (controls.channel, controls.maps, controls.plane) == kept
    controls.start_series(1, 1)
    assert (controls.drawn, controls.maps, controls.plane) == ([0], ["gray"], 0)


@given(st.lists(st.sampled_from([key.action for key in KEYS] + [1, 2, 5, 8]), max_size=60))
def test_channel_and_plane_always_exist_whatever_the_user_does(actions: list) -> None:
    controls = Controls()
    for action in actions:
        if isinstance(action, int):
            controls.start_series(action, action)
        else:
            controls.act(action)
        assert all(0 <= channel < controls.channels for channel in controls.drawn)
        assert 0 <= controls.plane < controls.planes
        assert len(controls.maps) == controls.channels


def test_every_key_is_unique_and_listed() -> None:
    assert len({key.key for key in KEYS}) == len({key.action for key in KEYS}) == len(KEYS)
    assert len(help_text().splitlines()) == len(KEYS)
