"""What the picture watch says about good and about wrong pictures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from deepbid_rt.frame import Frame, FrameFlag, Gap, StreamEnd
from deepbid_rt.live.alarms import Alarms
from deepbid_rt.live.picture_watch import MAX_WATCHED, NO_PICTURE, PictureWatch
from tests.fakes import stream
from tests.live.pictures import scene, shots

RATE_HZ = 15
OPEN = 300 + 100 * shots(scene(), 150, seed=1)
"""(T, C, Y, X) counts of a good movie of ten seconds."""


def counts(photons: NDArray[np.float64], dtype: str = "<i2") -> NDArray[np.float64]:
    limits = np.iinfo(dtype)
    return np.clip(np.rint(photons), limits.min, limits.max).astype(dtype)


def dark(count: int, seed: int = 5) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(300, 20, (count, *OPEN.shape[1:]))


class Watched:
    """A watch whose clock runs with the frames, and what it said."""

    def __init__(self, movie: NDArray[np.generic], planes: int = 1) -> None:
        self.said: list[str] = []
        self.alarms = Alarms(lambda part, alarm: self.said.append(alarm.text if alarm else f"over: {part}"))
        self.now_s = 0.0
        self.watch = PictureWatch(self.alarms, clock=lambda: self.now_s)
        self.info = stream(movie.shape[1:], movie.dtype, planes=planes)
        self.watch.start(self.info)
        self._index = 0
        self.put(movie)

    def put(self, movie: Iterable[NDArray[np.generic]], flags: FrameFlag = FrameFlag.NONE) -> Watched:
        for pixels in movie:
            stamp = 1_800_000_000_000_000_000 + self._index * 66_000_000
            self.watch.put(
                Frame(self._index, pixels, stamp, stamp + 10**6, plane=self._index % self.info.planes, flags=flags)
            )
            self._index += 1
            self.now_s += 1 / RATE_HZ
        return self

    @property
    def now(self) -> list[str]:
        return [alarm.text for alarm in self.alarms.current()]


@pytest.mark.parametrize("dtype", ["<u2", "<i2", "<f4"])
def test_a_good_movie_raises_nothing(dtype: str) -> None:
    watched = Watched(np.rint(OPEN).astype(dtype))
    assert watched.said == []
    reading = watched.watch.reading
    assert (reading.frames, reading.problems, reading.dark_start) == (150, (), False)
    assert reading.noise_ratio == pytest.approx(1, abs=0.05)


def test_a_saturated_picture_is_said_until_it_is_over() -> None:
    bright = counts(np.minimum(300 + 100 * shots(scene() * 30, 60), 4095), "<u2")
    watched = Watched(bright)
    share = np.mean(bright == 4095)
    assert share > 0.01
    (text,) = (text for text in watched.now if "saturated" in text)
    assert text.endswith(
        "of the pixels are saturated at 4095: lower the gain of the detector or the power of the laser"
    )
    assert watched.watch.reading.saturated_share == pytest.approx(share, rel=0.1)
    watched.put(counts(OPEN, "<u2"))
    assert not any("saturated" in text for text in watched.now)
    assert "over: the picture (saturated)" in watched.said


def test_a_flash_is_no_alarm() -> None:
    movie = counts(OPEN, "<u2")
    movie[40:44] = 65535
    assert Watched(movie).said == []


def test_constant_frames_are_said() -> None:
    watched = Watched(np.zeros((60, 1, 64, 64), "<u2"))
    assert watched.now == ["all pixels are 0: check shutter, detector and sender"]
    assert watched.watch.reading.constant_looks == 4


def test_an_unused_channel_beside_others_is_no_alarm() -> None:
    movie = np.concatenate([counts(OPEN), np.zeros_like(counts(OPEN))], axis=1)
    assert Watched(movie).said == []


def test_a_channel_that_goes_dead_is_named() -> None:
    good = np.concatenate([counts(OPEN), counts(OPEN)[::-1]], axis=1)
    dead = good.copy()
    dead[:, 1] = 0
    watched = Watched(good).put(dead[:60])
    assert "all pixels of channel 1 are 0: check shutter, detector and sender" in watched.now


def test_repeated_frames_are_said() -> None:
    movie = counts(OPEN)
    watched = Watched(np.repeat(movie[:60], 2, axis=0))
    (text,) = watched.now
    assert text == (
        "frames have the same pixels as the frame before: check that the microscope scans and that the sender sends "
        "each frame once"
    )
    assert watched.watch.reading.repeated_frames == 60
    watched.put(movie)
    assert watched.now == []


def test_a_frozen_picture_is_repeated_and_not_constant() -> None:
    watched = Watched(np.repeat(counts(OPEN)[:1], 90, axis=0))
    assert watched.watch.reading.problems == ("repeated",)
    assert watched.watch.reading.repeated_frames == 89


def test_frames_that_differ_outside_the_sample_are_not_repeated() -> None:
    movie = np.repeat(counts(OPEN)[:1], 90, axis=0)
    movie[:, 0, 1, 1] = np.arange(90)
    assert Watched(movie).watch.reading.problems == ()


def test_pixels_that_are_no_numbers_are_said() -> None:
    movie = OPEN.astype("<f4")
    movie[:, :, :3] = np.nan
    watched = Watched(movie)
    (text,) = watched.now
    assert text == (
        "2.3 % of the pixels are NaN, infinite or absurdly large, and are denoised as if they had the mean of the "
        "picture: correct what computes them, or send counts"
    )
    assert watched.watch.reading.not_finite_share == pytest.approx(3 / 128)


@pytest.mark.parametrize("length", [6, 12, 16, 24])
def test_a_series_that_begins_in_darkness_is_said_to_the_end(length: int) -> None:
    watched = Watched(counts(np.concatenate([dark(length), OPEN])))
    assert watched.watch.reading.dark_start
    assert any("the series began in darkness (shutter closed?)" in text for text in watched.now)


def test_a_closed_shutter_is_said_until_it_opens() -> None:
    watched = Watched(counts(np.concatenate([OPEN, dark(60)])))
    assert watched.now == ["the picture has become dark (shutter closed?): begin a new series"]
    assert not watched.watch.reading.dark_start
    watched.put(counts(OPEN))
    assert watched.now == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda movie: 300 + (movie - 300) * 3, "the noise is 3 times that of the first frames"),
        (lambda movie: 300 + (movie - 300) / 3, "the noise is 0.3"),
        (lambda movie: movie + 400, "the dark level has moved by +400 counts"),
    ],
)
def test_another_gain_or_offset_is_said(change, text: str) -> None:
    watched = Watched(counts(np.concatenate([OPEN, change(OPEN)])))
    assert [said[: len(text)] for said in watched.now] == [text]


def test_a_brighter_picture_of_the_same_gain_is_no_alarm() -> None:
    brighter = 300 + 100 * shots(scene() * 2, 150, seed=2)
    assert Watched(counts(np.concatenate([OPEN, brighter]))).said == []


def test_a_flickering_laser_is_said() -> None:
    gains = 1 + 0.06 * np.random.default_rng(3).standard_normal(150)
    movie = np.concatenate([300 + 100 * shots(3 * scene() * gain, seed=n) for n, gain in enumerate(gains)])
    watched = Watched(counts(movie))
    assert "flicker" in watched.watch.reading.problems
    assert any(text.startswith("the brightness of the whole picture changes by") for text in watched.said)


def test_two_channels_sent_as_one_are_said() -> None:
    movie = counts(OPEN)
    movie[1::2] += 300
    watched = Watched(movie)
    assert any("channels or planes are not mixed" in text for text in watched.now)


def test_planes_are_watched_apart_and_named() -> None:
    movie = np.repeat(counts(OPEN), 2, axis=0)
    movie[1::2] += 3000
    assert Watched(movie, planes=2).said == []
    movie[1::2] = 5
    assert not Watched(movie, planes=2).now, "plane 1 was dark from the start: as an unused channel"
    later = Watched(np.repeat(counts(OPEN), 2, axis=0), planes=2).put(movie)
    assert any(text.startswith("all pixels of plane 1 are 5") for text in later.now)


def test_flyback_frames_are_not_watched() -> None:
    watched = Watched(counts(OPEN)).put(np.zeros((60, 1, 128, 128), "<i2"), FrameFlag.FLYBACK)
    assert watched.said == []
    assert watched.watch.reading.frames == 150


def test_many_planes_take_bounded_memory() -> None:
    watched = Watched(np.zeros((2 * MAX_WATCHED, 1, 8, 8), "<i2"), planes=2 * MAX_WATCHED)
    assert len(watched.watch._channels) == MAX_WATCHED


def test_all_pixels_are_looked_at_once_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepbid_rt.live import picture_watch

    looks = []
    real = picture_watch.look_at
    monkeypatch.setattr(picture_watch, "look_at", lambda image: looks.append(1) or real(image))
    Watched(counts(OPEN))
    assert len(looks) == 10


def test_slow_looks_are_followed_by_a_pause() -> None:
    movie, looks = counts(OPEN), []

    class Slow(Watched):
        def __init__(self) -> None:
            super().__init__(movie[:0])

    watched = Slow()
    from deepbid_rt.live import picture_watch

    real = picture_watch.look_at

    def slow(image):
        looks.append(watched.now_s)
        watched.now_s += 0.5
        return real(image)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture_watch, "look_at", slow)
        watched.put(movie)
    assert np.diff(looks).min() >= 5


@pytest.mark.parametrize("shift_ns", [3 * 3600 * 10**9, -3 * 3600 * 10**9])
def test_clocks_that_differ_are_said_until_they_agree(shift_ns: int) -> None:
    watched = Watched(counts(OPEN)[:0])
    image, now = counts(OPEN)[0], 1_800_000_000_000_000_000
    for n in range(20):
        watched.watch.put(Frame(n, image + n, now + n * 10**8 + shift_ns, now + n * 10**8))
    (alarm,) = watched.alarms.current()
    assert alarm.kind == "clock"
    assert "3.0 h: latencies are counted from the arrival of each frame; set both clocks by" in alarm.text
    for n in range(20, 40):
        watched.watch.put(Frame(n, image + n, now + n * 10**8 - 10**6, now + n * 10**8))
    assert not watched.alarms.current()


def test_alarms_end_with_the_series_and_the_reading_stays() -> None:
    watched = Watched(np.zeros((60, 1, 64, 64), "<u2"))
    assert watched.now
    watched.watch.skip(Gap(60, 3, "sink"))
    watched.watch.end(StreamEnd("done"))
    assert watched.now == []
    assert watched.watch.reading.problems == ("constant",)
    assert watched.watch.reading.summary()["problems"] == ["constant"]
    watched.watch.put(Frame(0, np.zeros((1, 64, 64), "<u2")))
    watched.watch.start(watched.info)
    assert watched.watch.reading == NO_PICTURE
    watched.watch.close()
    watched.watch.close()
