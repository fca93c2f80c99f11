import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepbid_rt.card import Normalization
from deepbid_rt.denoising.network_inputs import padded_size
from deepbid_rt.denoising.window_denoiser import WindowDenoiser
from deepbid_rt.errors import StageError
from deepbid_rt.scan.normalizer import Normalizer, calibrate
from tests.fakes import WINDOW_CARD, SpyEngine, echo_card, mixing_answer, pairs
from tests.window_denoiser_model import WindowDenoiserModel

SIZE = (2, 3)
CARDS = st.tuples(st.integers(1, 4), st.integers(0, 4), st.integers(0, 5)).map(
    lambda n: echo_card(n[0] + n[1] + n[2], n[0], n[1])
)


def make_denoiser(card, size=SIZE, channels=1, views=1, answer=None):
    engine = SpyEngine(card, answer)
    engine.warm_up((card.window, *padded_size(size, card.grid)))
    return WindowDenoiser(engine, channels, views, size), engine


def views_of(number, size=SIZE, channels=1, views=1):
    rng = np.random.default_rng(number)
    return rng.integers(-2000, 2000, (channels, views, *size)).astype(np.int16)


def same(answers, expected):
    assert [answer.plane_frame for answer in answers] == [plane_frame for plane_frame, _ in expected]
    for (_, got), (_, want) in zip(pairs(answers), expected, strict=True):
        assert np.array_equal(got[0, 0], want)


@given(CARDS, st.integers(0, 30), st.lists(st.integers(1, 7), min_size=1, max_size=40))
@settings(max_examples=80)
def test_answers_equal_those_of_the_model(card, first, jumps):
    """For any window, hop, look-ahead and first frame number, with missing frames."""
    denoiser, _ = make_denoiser(card)
    model = WindowDenoiserModel(card, mixing_answer)
    plane_frame = first
    for jump in jumps:
        frame = views_of(plane_frame)
        same(denoiser.push(plane_frame, frame), model.push(plane_frame, frame[0, 0].astype(np.float32)))
        plane_frame += jump if jump > 5 else 1
    same(denoiser.flush(), model.flush())


@pytest.mark.parametrize("first", [0, 3, 7, 8, 41])
def test_windows_end_on_a_fixed_grid_of_frame_numbers(first):
    """Each window ends at a frame e with (e + 1) % hop == 0 and holds the 40 frames up to it, in order."""
    card = echo_card(40, 8, 8)
    denoiser, engine = make_denoiser(card, (1, 1))
    for plane_frame in range(first, first + 70):
        denoiser.push(plane_frame, np.full((1, 1, 1, 1), plane_frame, np.int16))
    ends = [int(window[-1, 0, 0]) for window in engine.windows]
    assert ends == [e for e in range(first + 8, first + 70) if (e + 1) % 8 == 0]
    for window, end in zip(engine.windows, ends, strict=True):
        pushed = np.arange(max(first, end - 39), end + 1)
        assert window[:, 0, 0].tolist() == np.pad(pushed, (40 - len(pushed), 0), mode="symmetric").tolist()


def test_a_flush_mirrors_time_after_the_last_frame():
    denoiser, engine = make_denoiser(echo_card(24, 8, 8), (1, 1))
    for plane_frame in range(11):
        denoiser.push(plane_frame, np.full((1, 1, 1, 1), plane_frame, np.int16))
    assert engine.windows == []
    denoiser.flush()
    mirrored = [*range(11), *range(10, -1, -1)]
    assert [window[:, 0, 0].tolist() for window in engine.windows] == [
        [*mirrored[7::-1], *mirrored[:16]],
        [*mirrored[:22], 0, 1],
    ]


def test_after_a_flush_windows_hold_new_frames_only():
    denoiser, engine = make_denoiser(echo_card(16, 8, 8), (1, 1))
    for plane_frame in range(5):
        denoiser.push(plane_frame, np.full((1, 1, 1, 1), 1000, np.int16))
    denoiser.flush()
    engine.windows.clear()
    for plane_frame in range(5, 32):
        denoiser.push(plane_frame, np.full((1, 1, 1, 1), plane_frame, np.int16))
    assert engine.windows[0][:, 0, 0].tolist() == [9, 8, 7, 6, 5, *range(5, 16)]
    assert engine.windows[1][:, 0, 0].tolist() == list(range(8, 24))


def test_a_flush_without_frames_returns_nothing():
    denoiser, engine = make_denoiser(WINDOW_CARD)
    assert denoiser.flush() == []
    assert engine.windows == []


@pytest.mark.parametrize(("size", "padded"), [((1, 1), (8, 8)), ((8, 16), (8, 16)), ((9, 7), (16, 8))])
def test_sizes_are_padded_to_multiples_of_the_grid(size, padded):
    assert padded_size(size, 8) == padded
    assert padded_size(size, 1) == size


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 9), (8, 8), (3, 17)])
def test_padding_is_mirrored_and_cropped_from_the_answers(size):
    card = echo_card(8, 8, 0, grid=8)
    denoiser, engine = make_denoiser(card, size, answer=lambda window: window)
    frames = [views_of(n, size) for n in range(8)]
    answers = [answer for n, frame in enumerate(frames) for answer in denoiser.push(n, frame)]
    assert [plane_frame for plane_frame, _ in pairs(answers)] == list(range(8))
    for (_, got), frame in zip(pairs(answers), frames, strict=True):
        assert got.shape == (1, 1, *size)
        assert np.array_equal(got, frame)
    rows, columns = padded_size(size, 8)
    assert engine.windows[0].shape == (8, rows, columns)
    mirrored = np.pad(frames[3][0, 0], [(0, rows - size[0]), (0, columns - size[1])], mode="symmetric")
    assert np.array_equal(engine.windows[0][3], mirrored)


def test_channels_and_views_are_not_mixed():
    denoiser, engine = make_denoiser(echo_card(4, 2, 1), (2, 2), channels=2, views=2, answer=lambda window: window)
    frames = [views_of(n, (2, 2), 2, 2) for n in range(12)]
    answers = [answer for n, frame in enumerate(frames) for answer in denoiser.push(n, frame)] + denoiser.flush()
    assert [plane_frame for plane_frame, _ in pairs(answers)] == list(range(12))
    for plane_frame, got in pairs(answers):
        assert np.array_equal(got, frames[plane_frame])
    assert len(engine.windows) % 4 == 0


def calibrating(frames, **rest):
    return echo_card(16, 8, 8, normalization=Normalization(frames=frames), **rest)


def test_the_calibration_uses_the_first_frames_only():
    denoiser, _ = make_denoiser(calibrating(6), channels=2, views=2)
    frames = [views_of(n, SIZE, 2, 2) + 100 * n for n in range(60)]
    for plane_frame, frame in enumerate(frames[:5]):
        assert denoiser.push(plane_frame, frame) == []
        assert denoiser.normalizers is None
    denoiser.push(5, frames[5])
    expected = tuple(calibrate(np.stack(frames[:6])[:, channel]) for channel in range(2))
    assert denoiser.normalizers == expected
    for plane_frame, frame in enumerate(frames[6:], start=6):
        denoiser.push(plane_frame, frame)
        assert denoiser.normalizers == expected
    denoiser.flush()
    denoiser.push(60, frames[0])
    assert denoiser.normalizers == expected


def test_a_fixed_normalization_is_used_as_it_is():
    card = echo_card(normalization=Normalization("fixed", offset=100.0, scale=4.0))
    denoiser, engine = make_denoiser(card, (1, 1), channels=2)
    denoiser.push(0, np.full((2, 1, 1, 1), 120, np.int16))
    assert denoiser.normalizers == (Normalizer(100.0, 4.0),) * 2
    assert [float(window[0, 0, 0]) for window in engine.windows] == [5.0, 5.0]


@pytest.mark.parametrize("frames", [1, 3, 16])
@pytest.mark.parametrize("first", [0, 5])
def test_a_calibration_no_longer_than_the_delay_adds_no_delay(frames, first):
    card = calibrating(frames)
    denoiser, _ = make_denoiser(card, answer=lambda window: window)
    for plane_frame in range(first, first + 50):
        for answered, _ in pairs(denoiser.push(plane_frame, views_of(plane_frame))):
            assert plane_frame - answered <= card.delay


def test_a_reset_forgets_frames_that_wait_for_the_calibration():
    denoiser, _ = make_denoiser(calibrating(4))
    for plane_frame in range(3):
        denoiser.push(plane_frame, views_of(plane_frame) + 5000)
    denoiser.reset()
    assert denoiser.flush() == []
    for plane_frame in range(10, 14):
        denoiser.push(plane_frame, views_of(plane_frame))
    assert denoiser.normalizers == (calibrate(np.stack([views_of(plane_frame) for plane_frame in range(10, 14)])),)


def test_a_flush_calibrates_on_the_waiting_frames_and_later_frames_calibrate_anew():
    denoiser, _ = make_denoiser(calibrating(16), answer=lambda window: window)
    frames = [views_of(n) for n in range(5)]
    for plane_frame, frame in enumerate(frames):
        denoiser.push(plane_frame, frame)
    answers = denoiser.flush()
    assert [plane_frame for plane_frame, _ in pairs(answers)] == [0, 1, 2, 3, 4]
    for plane_frame, got in pairs(answers):
        assert np.allclose(got, frames[plane_frame], atol=0.01)
    assert denoiser.normalizers is None
    later = [views_of(n) for n in range(20, 36)]
    for plane_frame, frame in enumerate(later, start=20):
        denoiser.push(plane_frame, frame)
    assert denoiser.normalizers == (calibrate(np.stack(later)),)


def test_pushed_arrays_are_not_kept():
    denoiser, _ = make_denoiser(calibrating(4), answer=lambda window: window)
    array = np.empty((1, 1, *SIZE), np.int16)
    answers = []
    for plane_frame in range(20):
        array[:] = views_of(plane_frame)
        answers += denoiser.push(plane_frame, array)
        array[:] = -999
    for plane_frame, got in pairs(answers + denoiser.flush()):
        assert np.allclose(got, views_of(plane_frame), atol=0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_answers_that_are_not_finite_are_an_error(value):
    def broken(window):
        answer = window.copy()
        answer[-1, 0, 0] = value
        return answer

    denoiser, _ = make_denoiser(echo_card(4, 2, 0), answer=broken)
    denoiser.push(6, views_of(6))
    with pytest.raises(StageError) as failed:
        denoiser.push(7, views_of(7))
    assert str(failed.value) == (
        "engine 'small' returned values that are not finite, before frame 8 of the plane; "
        "expected finite numbers; run the engine with precision f32, or train it again."
    )


def test_very_large_answers_count_as_finite():
    denoiser, _ = make_denoiser(echo_card(), (4, 4), answer=lambda window: window)
    [(_, got)] = pairs(denoiser.push(0, np.full((1, 1, 4, 4), 1e38, np.float32)))
    assert np.array_equal(got, np.full((1, 1, 4, 4), 1e38, np.float32))


def test_the_bias_of_each_channel_is_measured_at_the_first_inference_and_subtracted():
    errors = iter([0.5, -2.0, 0.5, -2.0, 0.5, -2.0, 0.9, -2.0])
    denoiser, _ = make_denoiser(calibrating(16), (8, 8), channels=2, answer=lambda window: window + next(errors))
    rng = np.random.default_rng(0)
    frames = [rng.normal(500, 20, (2, 1, 8, 8)).astype(np.float32) for _ in range(40)]
    answers = [answer for plane_frame, frame in enumerate(frames) for answer in denoiser.push(plane_frame, frame)]
    assert [plane_frame for plane_frame, _ in pairs(answers)] == list(range(32))
    scales = [normalizer.scale for normalizer in denoiser.normalizers]
    for plane_frame, got in pairs(answers):
        late = 0.4 * scales[0] if plane_frame >= 24 else 0.0
        assert np.allclose(got[0], frames[plane_frame][0] + late, atol=0.01)
        assert np.allclose(got[1], frames[plane_frame][1], atol=0.01)


def test_the_measured_bias_is_kept_over_a_flush():
    errors = iter([0.5, 0.9, 0.9, 0.9])
    denoiser, _ = make_denoiser(calibrating(4), (4, 4), answer=lambda window: window + next(errors))
    frames = [views_of(plane_frame, (4, 4)) for plane_frame in range(24)]
    answers = [
        answer for plane_frame, frame in enumerate(frames[:5]) for answer in denoiser.push(plane_frame, frame)
    ] + denoiser.flush()
    answers += [
        answer for plane_frame, frame in enumerate(frames[5:], 5) for answer in denoiser.push(plane_frame, frame)
    ]
    late = 0.4 * denoiser.normalizers[0].scale
    assert [plane_frame for plane_frame, _ in pairs(answers)] == list(range(16))
    for plane_frame, got in pairs(answers):
        assert np.allclose(got, frames[plane_frame] + (late if plane_frame > 4 else 0), atol=0.05)


def test_with_a_fixed_normalization_no_bias_is_subtracted():
    denoiser, _ = make_denoiser(echo_card(4, 1, 0), answer=lambda window: window + 3)
    [(_, got)] = pairs(denoiser.push(0, views_of(0)))
    assert np.array_equal(got, views_of(0) + 3)
