from __future__ import annotations

import numpy as np
import pytest

from deepbid_rt.viewer.panels import BLINK_S, NOT_DENOISED, NOT_LIVE
from deepbid_rt.viewer.viewer_model import ViewerModel
from deepbid_rt.wire.beat_status import BeatStatus
from tests.viewer.stand_ins import PERIOD_NS, ManualFeed, a_pair, an_info


class Time:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def feed() -> ManualFeed:
    return ManualFeed(an_info())


@pytest.fixture
def model(feed: ManualFeed, time: Time) -> ViewerModel:
    model = ViewerModel(feed, clock=time, wall_ns=lambda: 20 * PERIOD_NS)
    model.size = (804, 400)
    return model


def test_the_newest_pair_is_shown_and_those_before_it_are_not(model: ViewerModel, feed: ManualFeed) -> None:
    assert not model.poll()
    feed.push(*(a_pair(n, n, n) for n in range(5)))
    assert model.poll()
    assert model.facts().frame == 4
    np.testing.assert_array_equal(model.images["denoised"], np.full((1, 4, 6), 4))
    assert not model.poll()
    assert feed.newest.skipped == 4


def test_age_is_the_time_from_microscope_to_screen(model: ViewerModel, feed: ManualFeed, time: Time) -> None:
    feed.push(a_pair(9, 1, 1))
    model.poll()
    model.painted()
    time.s += 0.01
    model.painted()  # the same frame once more must not count
    assert model.displayed == 1
    assert model.facts().age_ms[0] == pytest.approx(10 * PERIOD_NS / 1e6)


def test_pause_step_and_resume(model: ViewerModel, feed: ManualFeed) -> None:
    feed.push(*(a_pair(n, n, n) for n in range(5)))
    model.poll()
    model.act("pause")
    feed.push(a_pair(5, 5, 5))
    assert not model.poll()
    assert model.facts().state == "paused"
    model.act("back")
    assert model.facts().frame == 3
    assert (model.images["raw"] == 3).all()
    model.act("oldest")
    assert model.facts().frame == 0
    model.act("pause")
    assert model.facts().frame == 5


def test_the_average_ends_with_the_shown_frame(model: ViewerModel, feed: ManualFeed) -> None:
    feed.push(*(a_pair(n, n, 0) for n in range(10)))
    model.poll()
    model.act("average")
    assert list(model.images) == ["raw", "average", "denoised"]
    np.testing.assert_allclose(model.images["average"], np.mean(range(2, 10)))
    model.act("back")
    np.testing.assert_allclose(model.images["average"], np.mean(range(1, 9)))
    assert len(model.scene().panels) == 3


def test_a_missing_raw_image_is_named_in_the_title(model: ViewerModel, feed: ManualFeed) -> None:
    feed.push(a_pair(0, 1, 1), a_pair(1, None, 1))
    model.poll()
    assert "raw" not in model.images
    assert model.titles() == ["raw: not received", "denoised"]


UNUSUAL = {
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


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_frames_are_shown(model: ViewerModel, feed: ManualFeed, name: str) -> None:
    pixels = UNUSUAL[name]
    model.size = (4000, 2000)
    feed._start_series(an_info(pixels.shape, pixels.dtype))
    feed.push(a_pair(0, pixels, pixels))
    assert model.poll()
    scene = model.scene()
    assert set(model.images) == {"raw", "denoised"}
    assert all(picture.shape == (*pixels.shape[1:], 4) for picture in scene.pictures.values())
    assert scene.pictures.keys() == {"raw", "denoised"}
    for channel in range(min(len(pixels), 4)):
        black, white = model.levels.of("raw", channel)
        assert white > black
    assert model.facts().not_finite == (~np.isfinite(pixels.astype(float))).sum()


def test_a_change_of_size_during_a_session_is_shown(model: ViewerModel, feed: ManualFeed) -> None:
    for shape in ((1, 4, 6), (2, 9, 5), (1, 1, 1)):
        feed._start_series(an_info(shape))
        feed.push(a_pair(0, np.zeros(shape, np.int16), np.zeros(shape, np.int16)))
        model.act("average")
        model.poll()
        scene = model.scene()
        assert model.facts().shape == shape
        assert {picture.shape for picture in scene.pictures.values()} == {(*shape[1:], 4)}
        assert scene.camera.center == (shape[2] / 2, shape[1] / 2)


def test_a_held_frame_stays_when_a_series_with_other_channels_begins(model: ViewerModel, feed: ManualFeed) -> None:
    for channels, chosen in ((8, 5), (1, 0)):
        feed._start_series(an_info((channels, 4, 6)))
        pixels = np.zeros((channels, 4, 6), np.int16)
        feed.push(a_pair(0, pixels, pixels))
        model.poll()
        for _ in range(chosen + 1):
            model.act("channel")
        if channels == 1:
            model.act("pause")
    feed._start_series(an_info((8, 4, 6)))
    model.poll()
    for _ in range(9):
        model.act("channel")
        assert len(model.images["raw"]) == 1
        assert model.scene().pictures["raw"].shape == (4, 6, 4)


def test_the_chosen_channels_and_plane_are_shown(model: ViewerModel, feed: ManualFeed) -> None:
    feed._start_series(an_info((2, 4, 6), planes=2))
    both = np.stack([np.zeros((4, 6)), np.ones((4, 6))]).astype(np.int16)
    feed.push(a_pair(0, both, both), a_pair(1, both + 5, both + 5, plane=1))
    model.poll()
    np.testing.assert_array_equal(model.scene().pictures["raw"][0, 0], (0, 0, 0, 255))
    model.levels.set_manual(0, -1, 0)
    model.levels.set_manual(1, 1, 3)
    np.testing.assert_array_equal(model.scene().pictures["raw"][0, 0], (0, 255, 0, 255))
    model.levels.set_manual(1, 0, 1)
    np.testing.assert_array_equal(model.scene().pictures["raw"][0, 0], (255, 255, 255, 255))
    model.levels.automatic()
    model.act("channel")
    model.act("channel")
    np.testing.assert_array_equal(model.images["raw"], np.ones((1, 4, 6)))
    model.act("plane")
    assert feed.plane == 1
    feed.push(a_pair(3, both + 5, both + 5, plane=1))
    model.poll()
    np.testing.assert_array_equal(model.images["raw"], np.full((1, 4, 6), 6))


def test_blink_draws_only_when_the_picture_changes(model: ViewerModel, feed: ManualFeed, time: Time) -> None:
    feed.push(a_pair(0, 1, 2))
    model.poll()
    model.act("blink")
    model.poll()
    drawn = 0
    for _ in range(100):
        time.s += BLINK_S / 10
        drawn += model.poll()
    assert 9 <= drawn <= 11


def test_regions_are_drawn_deleted_and_set(model: ViewerModel, feed: ManualFeed) -> None:
    feed.push(a_pair(0, 1, 2))
    model.poll()
    model.add_region("rectangle", ((1, 1), (3, 3)))
    model.add_region("ellipse", ((1, 1), (3, 3)))
    regions = model.regions()
    assert [roi.name for roi in regions] == ["roi 1", "roi 2"]
    assert len(model.scene().outlines) == 2
    model.act("delete")
    assert len(model.regions()) == 1
    model.set_regions(regions)
    assert model.regions() == regions
    model.act("delete")
    model.act("delete")
    model.act("delete")
    model.add_region("rectangle", ((0, 0), (1, 1)))
    assert model.regions()[0].name == "roi 3"


def test_contrast_keys_lock_separate_and_reset(model: ViewerModel, feed: ManualFeed) -> None:
    feed.push(a_pair(0, 1, 2))
    model.poll()
    model.act("lock")
    model.act("independent")
    assert model.levels.locked
    assert model.levels.independent
    model.act("automatic")
    assert not model.levels.locked


def test_a_failed_feed_is_shown_as_lost(model: ViewerModel, feed: ManualFeed) -> None:
    assert model.facts().state == "live"
    feed.failure = ZeroDivisionError()
    assert model.facts().state == "lost"


def test_actions_of_the_window_are_left_to_it(model: ViewerModel) -> None:
    for action in ("snapshot", "export", "save", "load", "fullscreen", "quit"):
        assert not model.act(action)


def test_a_frame_that_was_not_denoised_is_marked_also_when_looking_back(model: ViewerModel, feed: ManualFeed) -> None:
    feed.push(*(a_pair(n, n, n, not_denoised=n in (1, 2)) for n in range(4)))
    model.poll()
    assert (model.facts().not_denoised, model.scene().marks) == (False, {})
    model.act("back")
    assert model.facts().not_denoised
    assert model.scene().marks == {"denoised": NOT_DENOISED}
    assert model.titles() == ["raw", f"denoised ({NOT_DENOISED})"]
    for action, marks in (("difference", {"difference": NOT_DENOISED}), ("swipe", {"denoised": NOT_DENOISED})):
        model.act(action)
        assert model.scene().marks == marks
        assert NOT_DENOISED in model.titles()[0]
    model.act("oldest")
    assert (model.facts().not_denoised, model.scene().marks) == (False, {})


def test_a_picture_ages_from_the_arrival_of_its_raw_frame_and_is_then_not_live(
    model: ViewerModel, feed: ManualFeed, time: Time
) -> None:
    assert model.facts().picture_ms is None
    feed.push(a_pair(9, 1, 1, arrived_ns=20 * PERIOD_NS - 150_000_000, raw_seen=True))
    model.poll()
    facts = model.facts()
    assert (facts.picture_ms, facts.picture_exact) == (pytest.approx(150), True)
    assert not model.scene().marks
    time.s += 3.0
    assert model.facts().picture_ms == pytest.approx(3150)
    assert model.frozen
    assert model.scene().marks == {"raw": NOT_LIVE, "denoised": NOT_LIVE}
    model.act("pause")  # who looks back knows that the picture is old
    assert model.facts().picture_ms is None
    assert not model.scene().marks
    model.act("pause")
    feed.push(a_pair(10, 1, 1, arrived_ns=20 * PERIOD_NS, raw_seen=True))
    model.poll()
    assert model.facts().picture_ms == pytest.approx(0)
    assert not model.scene().marks


def test_a_pair_that_came_while_paused_does_not_look_new_later(
    model: ViewerModel, feed: ManualFeed, time: Time
) -> None:
    feed.push(a_pair(9, 1, 1))
    model.poll()
    model.act("pause")
    time.s += 50
    feed.push(a_pair(10, 1, 1, arrived_ns=20 * PERIOD_NS, raw_seen=True))
    model.poll()
    time.s += 1
    model.act("pause")
    assert model.facts().picture_ms == pytest.approx(1000)


def test_without_the_raw_frame_the_age_counts_from_sending_or_is_a_lower_bound(
    model: ViewerModel, feed: ManualFeed
) -> None:
    feed.push(a_pair(9, None, 1, arrived_ns=20 * PERIOD_NS - 10_000_000))
    model.poll()
    facts = model.facts()
    assert (facts.picture_ms, facts.picture_exact) == (pytest.approx(10 * PERIOD_NS / 1e6), True)
    feed._clock_check.problem = "the clocks differ"
    feed.push(a_pair(9, None, 1, arrived_ns=20 * PERIOD_NS - 10_000_000))
    model.poll()
    facts = model.facts()
    assert (facts.picture_ms, facts.picture_exact) == (pytest.approx(10), False)
    assert not facts.clocks_agree


def test_no_latency_is_shown_while_the_clocks_differ(model: ViewerModel, feed: ManualFeed) -> None:
    feed._clock_check.problem = "the clocks differ"
    feed.push(a_pair(9, 1, 1))
    model.poll()
    model.painted()
    assert model.facts().age_ms == (None, None)
    assert model.all_ages.count == 0


def test_the_rule_of_the_session_decides_when_a_picture_is_late(model: ViewerModel, feed: ManualFeed) -> None:
    assert model.facts().late_ms == pytest.approx(1000 + 1000 / 30 + 50)
    report = BeatStatus(max_latency_ms=200.0, delay_frames=2)
    feed.denoised._receiver._sender_status = report.to_map()
    assert model.facts().late_ms == pytest.approx(200 + 3000 / 30 + 50)


def test_only_known_causes_of_loss_are_kept(model: ViewerModel, feed: ManualFeed) -> None:
    hostile = {"skipped": 3, "\x1b[2J": 5, **{str(n): n for n in range(20)}}
    feed.denoised._receiver._sender_status = {"lost": hostile}
    assert model.facts().lost == {"skipped": 3, "viewer": 0}
