from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.viewer.panels import BLINK_S
from deepbid_rt.viewer.view import View
from tests.viewer.stand_ins import PERIOD_NS, StillFeed, a_pair, an_info


class Time:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def feed() -> StillFeed:
    return StillFeed(an_info())


@pytest.fixture
def view(feed: StillFeed, time: Time) -> View:
    view = View(feed, clock=time, wall_ns=lambda: 20 * PERIOD_NS)
    view.size = (804, 400)
    return view


def test_the_newest_pair_is_shown_and_those_before_it_are_not(view: View, feed: StillFeed) -> None:
    assert not view.tick()
    feed.give(*(a_pair(n, n, n) for n in range(5)))
    assert view.tick()
    assert view.facts().frame == 4
    np.testing.assert_array_equal(view.images["denoised"], np.full((1, 4, 6), 4))
    assert not view.tick()
    assert feed.newest.skipped == 4


def test_age_is_from_the_microscope_to_the_screen(view: View, feed: StillFeed, time: Time) -> None:
    feed.give(a_pair(9, 1, 1))
    view.tick()
    view.painted()
    time.s += 0.01
    view.painted()  # a second painting of the same frame tells nothing
    assert view.displayed == 1
    assert view.facts().age_ms[0] == pytest.approx(10 * PERIOD_NS / 1e6)


def test_pause_stands_still_steps_back_and_goes_on(view: View, feed: StillFeed) -> None:
    feed.give(*(a_pair(n, n, n) for n in range(5)))
    view.tick()
    view.act("pause")
    feed.give(a_pair(5, 5, 5))
    assert not view.tick()
    assert view.facts().state == "paused"
    view.act("back")
    assert view.facts().frame == 3
    assert (view.images["raw"] == 3).all()
    view.act("oldest")
    assert view.facts().frame == 0
    view.act("pause")
    assert view.facts().frame == 5


def test_the_average_ends_with_the_frame_that_is_shown(view: View, feed: StillFeed) -> None:
    feed.give(*(a_pair(n, n, 0) for n in range(10)))
    view.tick()
    view.act("average")
    assert list(view.images) == ["raw", "average", "denoised"]
    np.testing.assert_allclose(view.images["average"], np.mean(range(2, 10)))
    view.act("back")
    np.testing.assert_allclose(view.images["average"], np.mean(range(1, 9)))
    assert len(view.scene().panels) == 3


def test_what_was_not_received_is_said_not_replaced(view: View, feed: StillFeed) -> None:
    feed.give(a_pair(0, 1, 1), a_pair(1, None, 1))
    view.tick()
    assert "raw" not in view.images
    assert view.titles() == ["raw: not received", "denoised"]


ODD = {
    "int16, negative": np.array([[[-16384, -5], [0, 32767]]], np.int16),
    "12 bit": np.array([[[0, 4095], [17, 2048]]], np.uint16),
    "saturated": np.full((1, 3, 4), 65535, np.uint16),
    "uint8": np.full((1, 3, 4), 255, np.uint8),
    "nan": np.array([[[np.nan, 1.0], [np.inf, -np.inf]]], np.float32),
    "all nan": np.full((1, 3, 4), np.nan, np.float32),
    "1 pixel": np.full((1, 1, 1), 7, np.int16),
    "wide": np.zeros((1, 256, 1024), np.int16),
    "tall": np.zeros((1, 1024, 256), np.int16),
    "8 channels": np.zeros((8, 3, 4), np.int16),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_frames_are_shown_or_reported(view: View, feed: StillFeed, name: str) -> None:
    pixels = ODD[name]
    view.size = (4000, 2000)
    feed._begin(an_info(pixels.shape, pixels.dtype))
    feed.give(a_pair(0, pixels, pixels))
    assert view.tick()
    scene = view.scene()
    assert set(view.images) == {"raw", "denoised"}
    assert all(picture.shape == (*pixels.shape[1:], 4) for picture in scene.pictures.values())
    assert scene.pictures.keys() == {"raw", "denoised"}
    for channel in range(min(len(pixels), 4)):
        black, white = view.levels.of("raw", channel)
        assert white > black
    assert view.facts().not_finite == (~np.isfinite(pixels.astype(float))).sum()


def test_a_change_of_size_in_mid_session(view: View, feed: StillFeed) -> None:
    for shape in ((1, 4, 6), (2, 9, 5), (1, 1, 1)):
        feed._begin(an_info(shape))
        feed.give(a_pair(0, np.zeros(shape, np.int16), np.zeros(shape, np.int16)))
        view.act("average")
        view.tick()
        scene = view.scene()
        assert view.facts().shape == shape
        assert {picture.shape for picture in scene.pictures.values()} == {(*shape[1:], 4)}
        assert scene.camera.center == (shape[2] / 2, shape[1] / 2)


def test_a_held_frame_outlives_a_series_with_other_channels(view: View, feed: StillFeed) -> None:
    for channels, chosen in ((8, 5), (1, 0)):
        feed._begin(an_info((channels, 4, 6)))
        pixels = np.zeros((channels, 4, 6), np.int16)
        feed.give(a_pair(0, pixels, pixels))
        view.tick()
        for _ in range(chosen + 1):
            view.act("channel")
        if channels == 1:
            view.act("pause")
    feed._begin(an_info((8, 4, 6)))
    view.tick()
    for _ in range(9):
        view.act("channel")
        assert len(view.images["raw"]) == 1
        assert view.scene().pictures["raw"].shape == (4, 6, 4)


def test_channels_and_planes(view: View, feed: StillFeed) -> None:
    feed._begin(an_info((2, 4, 6), planes=2))
    both = np.stack([np.zeros((4, 6)), np.ones((4, 6))]).astype(np.int16)
    feed.give(a_pair(0, both, both), a_pair(1, both + 5, both + 5, plane=1))
    view.tick()
    np.testing.assert_array_equal(view.scene().pictures["raw"][0, 0], (0, 0, 0, 255))
    view.levels.set_manual(0, -1, 0)
    view.levels.set_manual(1, 1, 3)
    np.testing.assert_array_equal(view.scene().pictures["raw"][0, 0], (0, 255, 0, 255))
    view.levels.set_manual(1, 0, 1)
    np.testing.assert_array_equal(view.scene().pictures["raw"][0, 0], (255, 255, 255, 255))
    view.levels.automatic()
    view.act("channel")
    view.act("channel")
    np.testing.assert_array_equal(view.images["raw"], np.ones((1, 4, 6)))
    view.act("plane")
    assert feed.plane == 1
    feed.give(a_pair(3, both + 5, both + 5, plane=1))
    view.tick()
    np.testing.assert_array_equal(view.images["raw"], np.full((1, 4, 6), 6))


def test_blinking_draws_at_each_turn_only(view: View, feed: StillFeed, time: Time) -> None:
    feed.give(a_pair(0, 1, 2))
    view.tick()
    view.act("blink")
    view.tick()
    drawn = 0
    for _ in range(100):
        time.s += BLINK_S / 10
        drawn += view.tick()
    assert 9 <= drawn <= 11


def test_regions_are_drawn_deleted_and_set(view: View, feed: StillFeed) -> None:
    feed.give(a_pair(0, 1, 2))
    view.tick()
    view.add_region("rectangle", ((1, 1), (3, 3)))
    view.add_region("ellipse", ((1, 1), (3, 3)))
    regions = view.regions()
    assert [roi.name for roi in regions] == ["roi 1", "roi 2"]
    assert len(view.scene().outlines) == 2
    view.act("delete")
    assert len(view.regions()) == 1
    view.set_regions(regions)
    assert view.regions() == regions
    view.act("delete")
    view.act("delete")
    view.act("delete")
    view.add_region("rectangle", ((0, 0), (1, 1)))
    assert view.regions()[0].name == "roi 3"


def test_contrast_keys(view: View, feed: StillFeed) -> None:
    feed.give(a_pair(0, 1, 2))
    view.tick()
    view.act("lock")
    view.act("independent")
    assert view.levels.locked
    assert view.levels.independent
    view.act("automatic")
    assert not view.levels.locked


def test_a_feed_that_broke_is_lost(view: View, feed: StillFeed) -> None:
    assert view.facts().state == "live"
    feed.failure = ZeroDivisionError()
    assert view.facts().state == "lost"


def test_what_is_the_windows_business_is_left_to_it(view: View) -> None:
    for action in ("snapshot", "export", "save", "load", "fullscreen", "quit"):
        assert not view.act(action)
