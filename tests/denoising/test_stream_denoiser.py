"""`StreamDenoiser`: one answer per frame, from the frames that the card allows, after the calibration."""

import numpy as np
import pytest

from deepbid_rt.card import ModelCard, Normalization
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.denoising.network_inputs import padded_size
from deepbid_rt.denoising.stream_denoiser import StreamDenoiser
from deepbid_rt.errors import EngineError, StageError
from deepbid_rt.frame import Frame, FrameFlag, ScanGeometry
from deepbid_rt.scan.normalizer import calibrate
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings
from tests.fakes import FIXED, SpyEngine, echo_card, pairs, stream

SIZE = (40, 44)


def stream_card(grid=8, normalization=FIXED, views="each", look_ahead=0):
    return ModelCard(
        name="small",
        kind="stream",
        look_ahead=look_ahead,
        memories=(0.4, 0.1),
        views=views,
        grid=grid,
        normalization=normalization,
    )


def average(inputs):
    """Stands for a network: the mean of the view, the temporal averages and the later frames."""
    return inputs[[0, *range(3, len(inputs))]].mean(axis=0, keepdims=True)


def make_denoiser(card=None, size=SIZE, channels=1, views=2, answer=average, **options):
    engine = SpyEngine(card or stream_card(), answer)
    engine.warm_up((engine.card.depth, *padded_size(size, engine.card.grid)))
    return StreamDenoiser(engine, channels, views, size, **options), engine


def frames_of(count, size=SIZE, channels=1, views=2, seed=0):
    rng = np.random.default_rng(seed)
    scene = 5 * rng.standard_normal(size)
    return (scene + rng.standard_normal((count, channels, views, *size))).astype(np.float32)


def answers_of(denoiser, frames):
    return [
        answer for plane_frame, frame in enumerate(frames) for answer in denoiser.push(plane_frame, frame)
    ] + denoiser.flush()


def test_without_look_ahead_every_frame_is_answered_at_once():
    denoiser, engine = make_denoiser(channels=2)
    for plane_frame, frame in enumerate(frames_of(10, channels=2)):
        [(answered, image)] = pairs(denoiser.push(plane_frame, frame))
        assert answered == plane_frame
        assert image.shape == (2, 2, *SIZE)
    assert denoiser.flush() == []
    assert len(engine.windows) == 10 * 2 * 2


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
@pytest.mark.parametrize("views", ["each", "mean"])
def test_an_answer_depends_on_earlier_frames_and_on_look_ahead_later_ones_only(look_ahead, views):
    """All frames from number 13 on are changed; answers that do not use them stay equal bit for bit."""
    card = stream_card(look_ahead=look_ahead, views=views)
    frames, other = frames_of(30), frames_of(30)
    other[13:] *= -3
    ours, theirs = (answers_of(make_denoiser(card)[0], movie) for movie in (frames, other))
    same = [np.array_equal(a, b) for (_, a), (_, b) in zip(pairs(ours), pairs(theirs), strict=True)]
    assert same == [plane_frame < 13 - look_ahead for plane_frame in range(30)]


@pytest.mark.parametrize("look_ahead", [1, 2])
def test_an_engine_with_look_ahead_answers_that_many_frames_later(look_ahead):
    card = stream_card(look_ahead=look_ahead)
    assert card.delay == look_ahead
    denoiser, engine = make_denoiser(card, channels=2)
    frames = frames_of(12, channels=2)
    for plane_frame, frame in enumerate(frames):
        answers = denoiser.push(plane_frame, frame)
        expected = [plane_frame - look_ahead] if plane_frame >= look_ahead else []
        assert [answer.plane_frame for answer in answers if answer.motion] == expected
    assert [answer.plane_frame for answer in denoiser.flush() if answer.motion] == list(range(12 - look_ahead, 12))
    assert {window.shape[0] for window in engine.windows} == {card.depth} == {5 + look_ahead}


@pytest.mark.parametrize("look_ahead", [1, 2])
def test_the_input_contains_the_next_frames(look_ahead):
    """On frames too small for motion. The last frames get the slowest average instead."""
    size = (16, 24)
    denoiser, engine = make_denoiser(stream_card(look_ahead=look_ahead, views="mean"), size)
    frames = frames_of(10, size)
    answers_of(denoiser, frames)
    means = frames[:, 0].mean(axis=1)
    for plane_frame, given in enumerate(engine.windows):
        for k in range(look_ahead):
            later = plane_frame + 1 + k
            assert np.allclose(given[5 + k], means[later] if later < 10 else given[4], atol=1e-6)


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_a_gap_releases_frames_that_wait_for_later_ones(look_ahead):
    denoiser, engine = make_denoiser(stream_card(look_ahead=look_ahead, views="mean"), (16, 24))
    frames = frames_of(8, (16, 24))
    plane_frames = [
        [plane_frame for plane_frame, _ in pairs(denoiser.push(n, frame))]
        for n, frame in zip((0, 1, 2, 3, 7, 8, 9, 10), frames, strict=True)
    ]
    waited = list(range(4 - look_ahead, 4))
    assert plane_frames[4] == (waited or [7])
    assert np.array_equal(engine.windows[3][-1], engine.windows[3][4])


def test_frames_wait_for_the_calibration_and_for_later_frames():
    card = stream_card(normalization=Normalization(frames=8), views="mean", look_ahead=1)
    size = (16, 24)
    frames = 100 + 20 * frames_of(12, size)
    denoiser, engine = make_denoiser(card, size)
    pushed = [
        [plane_frame for plane_frame, _ in pairs(denoiser.push(plane_frame, frame))]
        for plane_frame, frame in enumerate(frames)
    ]
    assert pushed == [[]] * 7 + [list(range(7))] + [[plane_frame] for plane_frame in range(7, 11)]
    units = denoiser.normalizers[0].apply(frames[:, 0].mean(axis=1))
    for plane_frame, given in enumerate(engine.windows):
        assert np.allclose(given[0], units[plane_frame], atol=1e-4)
        assert np.allclose(given[5], units[plane_frame + 1], atol=1e-4)
    assert [plane_frame for plane_frame, _ in pairs(denoiser.flush())] == [11]


def test_a_reset_forgets_waiting_frames():
    denoiser, _ = make_denoiser(stream_card(look_ahead=2))
    for plane_frame, frame in enumerate(frames_of(4)):
        denoiser.push(plane_frame, frame)
    denoiser.reset()
    assert denoiser.flush() == []


def test_the_other_view_of_a_frame_is_not_in_the_input_of_a_view():
    """Only the motion estimate uses both views; these frames are too small for motion."""
    size = (16, 24)
    frames = frames_of(12, size)
    other = frames.copy()
    other[11, :, 1] += 9
    engines = []
    for movie in (frames, other):
        denoiser, engine = make_denoiser(size=size)
        answers_of(denoiser, movie)
        engines.append(engine)
    ours, theirs = (engine.windows[-2:] for engine in engines)
    assert np.array_equal(ours[0], theirs[0])
    assert not np.array_equal(ours[1], theirs[1])


def test_the_mean_of_the_views_takes_one_inference():
    denoiser, engine = make_denoiser(stream_card(views="mean"), answer=lambda inputs: inputs[:1])
    for plane_frame, frame in enumerate(frames_of(4)):
        [(_, image)] = pairs(denoiser.push(plane_frame, frame))
        assert np.allclose(image[0], frame[0].mean(axis=0), atol=1e-5)
        assert np.array_equal(image[0, 0], image[0, 1])
    assert len(engine.windows) == 4
    assert (engine.windows[-1][1] == 1).all()


def test_separate_views_take_one_inference_each():
    denoiser, engine = make_denoiser(stream_card(views="mean"), answer=lambda inputs: inputs[:1], separate_views=True)
    for plane_frame, frame in enumerate(frames_of(3)):
        [(_, image)] = pairs(denoiser.push(plane_frame, frame))
        assert np.allclose(image, frame)
    assert len(engine.windows) == 6


def test_lines_of_an_ordinary_scan_are_visible_in_one_of_two_inferences():
    """With an engine that returns its view, each line is in one of the two outputs, so the mean has half its value."""
    denoiser, engine = make_denoiser(views=1, answer=lambda inputs: inputs[:1])
    for plane_frame, frame in enumerate(frames_of(3, views=1)):
        [(_, image)] = pairs(denoiser.push(plane_frame, frame))
        assert np.allclose(image, frame / 2)
    masks = [window[1, : SIZE[0], 0] for window in engine.windows[-2:]]
    assert np.array_equal(masks[0], np.arange(SIZE[0]) % 2 == 0)
    assert np.array_equal(masks[1], np.arange(SIZE[0]) % 2 == 1)


def test_with_the_mean_of_views_all_lines_of_an_ordinary_scan_are_visible():
    denoiser, engine = make_denoiser(stream_card(views="mean"), views=1, answer=lambda inputs: inputs[:1])
    for plane_frame, frame in enumerate(frames_of(3, views=1)):
        [(_, image)] = pairs(denoiser.push(plane_frame, frame))
        assert np.allclose(image, frame)
    assert len(engine.windows) == 3


def test_missing_frames_make_the_averages_older():
    size = (16, 16)
    frames = frames_of(6, size)
    denoiser, engine = make_denoiser(size=size)
    for plane_frame, frame in zip((0, 1, 5), frames, strict=False):
        denoiser.push(plane_frame, frame)
    weight = engine.windows[-1][2]
    assert np.allclose(weight, (1 - 0.9**2) * 0.9**3, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 9), (33, 41)])
def test_padding_is_mirrored_and_cropped_from_the_answers(size):
    denoiser, engine = make_denoiser(size=size, answer=lambda inputs: inputs[:1])
    for plane_frame, frame in enumerate(frames_of(4, size)):
        [(_, image)] = pairs(denoiser.push(plane_frame, frame))
        assert np.allclose(image, frame)
    rows, columns = padded_size(size, 8)
    mirrored = np.pad(frame[0, 1], [(0, rows - size[0]), (0, columns - size[1])], mode="symmetric")
    assert np.allclose(engine.windows[-1][0], mirrored)


def test_the_calibration_delays_only_the_first_frames():
    denoiser, _ = make_denoiser(stream_card(normalization=Normalization(frames=4)))
    frames = 100 + 20 * frames_of(12)
    counts = [len(denoiser.push(plane_frame, frame)) for plane_frame, frame in enumerate(frames)]
    assert counts == [0, 0, 0, 4] + [1] * 8
    assert denoiser.normalizers == (calibrate(frames[:4, 0]),)


def test_frames_of_the_calibration_get_averages_of_each_other():
    card, size = stream_card(normalization=Normalization(frames=4), views="mean"), (16, 24)
    frames = frames_of(6, size)
    denoiser, engine = make_denoiser(card, size)
    answers = [answer for plane_frame, frame in enumerate(frames) for answer in denoiser.push(plane_frame, frame)]
    assert [plane_frame for plane_frame, _ in pairs(answers)] == list(range(6))
    for k, given in enumerate(engine.windows):
        assert given[2] == pytest.approx(1 - 0.9 ** (3 if k < 4 else k), abs=1e-6)
    units = denoiser.normalizers[0].apply(frames[:, 0].mean(axis=1))
    expected = (units[3] * 0.81 + units[2] * 0.9 + units[1]) / 2.71
    assert engine.windows[0][4] == pytest.approx(expected, abs=1e-5)


def test_a_single_frame_is_answered_without_averages():
    denoiser, engine = make_denoiser(stream_card(normalization=Normalization(frames=8), views="mean"))
    assert denoiser.push(0, frames_of(1)[0]) == []
    assert len(denoiser.flush()) == len(engine.windows) == 1
    assert not engine.windows[0][2].any()


def test_a_constant_bias_is_subtracted():
    denoiser, _ = make_denoiser(stream_card(normalization=Normalization(frames=4)), answer=lambda x: x[:1] + 0.5)
    frames = 100 + 20 * frames_of(12)
    for plane_frame, image in pairs(answers_of(denoiser, frames)):
        assert np.allclose(image, frames[plane_frame], atol=0.01)


def test_a_flush_answers_the_waiting_frames_and_later_frames_calibrate_anew():
    denoiser, _ = make_denoiser(stream_card(normalization=Normalization(frames=8)))
    frames = frames_of(3)
    assert [plane_frame for plane_frame, _ in pairs(answers_of(denoiser, frames))] == [0, 1, 2]
    assert denoiser.normalizers is None


def test_a_reset_forgets_the_frames_and_keeps_the_calibration():
    denoiser, engine = make_denoiser(stream_card(normalization=Normalization(frames=4)))
    for plane_frame, frame in enumerate(frames_of(8)):
        denoiser.push(plane_frame, frame)
    calibrated = denoiser.normalizers
    denoiser.reset()
    denoiser.push(20, frames_of(1)[0])
    assert denoiser.normalizers == calibrated
    assert not engine.windows[-1][2].any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_not_finite_are_an_error(value):
    denoiser, _ = make_denoiser(answer=lambda inputs: np.full_like(inputs[:1], value))
    with pytest.raises(
        StageError,
        match=r"^engine 'small' returned values that are not finite, before frame 8 of the plane",
    ):
        denoiser.push(7, frames_of(1)[0])


@pytest.mark.parametrize("layout", ["collinear", "ordinary"])
@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_live_equals_offline_bit_for_bit(layout, look_ahead):
    scan = ScanGeometry(layout)
    source = SyntheticSource(SceneSettings(seed=1, motion_px=2.0), ScanSettings(size=(48, 52), seed=1, scan=scan), 40)
    frames = [Frame(n, source.render(n)[0]) for n in range(40)]
    movies = []
    for chunk in (1, 40):
        card = stream_card(normalization=Normalization(frames=8), look_ahead=look_ahead)
        denoiser = Denoiser(SpyEngine(card, average), source.info)
        out = []
        for first in range(0, 40, chunk):
            out += [done for frame in frames[first : first + chunk] for done in denoiser.push(frame)]
        movies.append(np.stack([f.pixels for f in out + denoiser.flush()]))
    assert np.array_equal(*movies)
    assert len(movies[0]) == 40


def test_every_answer_has_the_motion_of_its_own_frame():
    """Also the answers that waited for the calibration."""
    denoiser, _ = make_denoiser(stream_card(normalization=Normalization(frames=4)))
    for plane_frame, frame in enumerate(frames_of(6)):
        answers = denoiser.push(plane_frame, frame)
        plane_frames = [answer.plane_frame for answer in answers]
        assert plane_frames == ([] if plane_frame < 3 else list(range(4)) if plane_frame == 3 else [plane_frame])
        if plane_frame == 3:
            assert [answer.motion.status for answer in answers] == ["restarted", "tracked", "tracked", "tracked"]
    assert denoiser.flush() == []


@pytest.mark.parametrize("stabilize", [False, True])
def test_every_denoised_frame_carries_its_motion(stabilize):
    source = SyntheticSource(SceneSettings(seed=1, motion_px=2.0), ScanSettings(size=(48, 52), seed=1), 30)
    spy = SpyEngine(stream_card(normalization=Normalization(frames=8)), average)
    denoiser = Denoiser(spy, source.info, stabilize=stabilize)
    out = [done for n in range(30) for done in denoiser.push(Frame(n, source.render(n)[0]))]
    assert [frame.motion.status for frame in out] == ["restarted"] + ["tracked"] * 29
    assert {bool(frame.flags & FrameFlag.MOTION_CORRECTED) for frame in out} == {stabilize}
    assert denoiser.info.user.get("stabilized", False) is stabilize


@pytest.mark.parametrize("merge", ["mean", "interleave"])
@pytest.mark.parametrize("look_ahead", [0, 1])
def test_a_registered_movie_stands_still_and_is_reproducible(merge, look_ahead):
    source = SyntheticSource(SceneSettings(seed=1, motion_px=2.0), ScanSettings(size=(48, 52), seed=1), 40)
    movies = []
    for stabilize in (False, True, True):
        spy = SpyEngine(stream_card(normalization=Normalization(frames=8), look_ahead=look_ahead), average)
        denoiser = Denoiser(spy, source.info, merge=merge, stabilize=stabilize)
        out = [done for n in range(40) for done in denoiser.push(Frame(n, source.render(n)[0]))]
        movies.append(np.stack([f.pixels for f in out + denoiser.flush()]))
    moving, still, again = movies
    assert np.array_equal(still, again)
    assert np.array_equal(still[0], moving[0])
    inner = np.s_[10:, 0, 6:-6, 6:-6]
    assert still[inner].std(axis=0).mean() < 0.85 * moving[inner].std(axis=0).mean()


def test_registration_with_a_window_engine_is_refused():
    with pytest.raises(
        EngineError, match=r"^registration with engine 'small' of kind echo, which does not estimate motion"
    ):
        Denoiser(SpyEngine(echo_card()), stream(), stabilize=True)


def test_a_missing_frame_makes_the_averages_older_by_default():
    source = SyntheticSource(SceneSettings(seed=1), ScanSettings(size=(16, 16), seed=1), 30)
    engine = SpyEngine(stream_card(), average)
    denoiser = Denoiser(engine, source.info)
    for n in (*range(20), 21):
        denoiser.push(Frame(n, source.render(n)[0]))
    assert engine.windows[-1][2].max() == pytest.approx((1 - 0.9**20) * 0.9, abs=1e-5)


def test_hold_keeps_the_averages_over_short_gaps_and_reset_does_not():
    source = SyntheticSource(SceneSettings(seed=1), ScanSettings(size=(16, 16), seed=1), 30)
    weights = {}
    for policy in ("hold", "reset"):
        engine = SpyEngine(stream_card(), average)
        denoiser = Denoiser(engine, source.info, gap=policy)
        for n in (*range(20), 22):
            denoiser.push(Frame(n, source.render(n)[0]))
        weights[policy] = engine.windows[-1][2].max()
    assert weights["hold"] == pytest.approx((1 - 0.9**20) * 0.9**2, abs=1e-5)
    assert weights["reset"] == 0


@pytest.mark.parametrize("kind", ["dark", "saturated"])
def test_foreign_frames_are_denoised_without_averages_and_later_frames_recover_at_once(kind):
    scene = SceneSettings(seed=3, motion_px=1.0)
    source = SyntheticSource(scene, ScanSettings(size=(64, 64), seed=3), 60)
    value = {"dark": 90, "saturated": 4095}[kind]
    movies, spies = [], []
    for foreign in (True, False):
        spies.append(SpyEngine(stream_card(normalization=Normalization(frames=8)), average))
        denoiser = Denoiser(spies[-1], source.info)
        out = []
        for n in range(60):
            pixels, _ = source.render(n)
            if foreign and 30 <= n < 34:
                pixels = np.full_like(pixels, value) + np.random.default_rng(n).integers(0, 2, pixels.shape, np.int16)
            out += denoiser.push(Frame(n, pixels))
        movies.append(np.stack([f.pixels for f in out])[:, 0].astype(float))
    assert not any(window[2].any() for window in spies[0].windows[60:68])
    difference = np.abs(movies[0] - movies[1]).mean(axis=(1, 2))
    noise = np.abs(np.diff(movies[1], axis=0)).mean()
    assert difference[:30].max() == 0
    assert difference[34:].max() < noise
    assert difference[50:].max() < 0.3 * noise
