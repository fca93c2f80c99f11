"""The contract of all engines. To test a new engine, add it to the `any_engine` fixture of ``tests/conftest.py``."""

import numpy as np
import pytest

from deepbid_rt.card import STREAMING, ModelCard
from deepbid_rt.denoising.denoiser import Denoiser
from tests.fakes import stamped_frames, stream


def shape_of(engine, rows=2, columns=3):
    card = engine.card
    return card.depth, rows * max(card.grid, 8), columns * max(card.grid, 8)


def answer_shape(engine, shape):
    return (1, *shape[1:]) if engine.card.kind in STREAMING else shape


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def test_it_has_a_card_and_a_description(any_engine):
    assert isinstance(any_engine.card, ModelCard)
    assert any_engine.description


def test_the_output_has_the_shape_of_its_kind_and_is_finite_float32(any_engine):
    shape = shape_of(any_engine)
    any_engine.warm_up(shape)
    answer = any_engine.infer(noise(shape))
    assert answer.shape == answer_shape(any_engine, shape)
    assert answer.dtype == np.float32
    assert np.isfinite(answer).all()


def test_it_keeps_no_state_between_calls(any_engine):
    shape = shape_of(any_engine)
    any_engine.warm_up(shape)
    first = any_engine.infer(noise(shape)).copy()
    other = any_engine.infer(noise(shape, seed=1)).copy()
    again = any_engine.infer(noise(shape)).copy()
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_it_does_not_write_to_its_input(any_engine):
    shape = shape_of(any_engine)
    any_engine.warm_up(shape)
    window = noise(shape)
    any_engine.infer(window)
    assert np.array_equal(window, noise(shape))


def test_it_reads_its_input_at_each_call(any_engine):
    """A window is a view of a ring buffer that changes; the engine must not use an earlier copy of it."""
    shape = shape_of(any_engine)
    any_engine.warm_up(shape)
    ring = np.zeros((2 * shape[0] + 3, *shape[1:]), np.float32)
    window = ring[3 : 3 + shape[0]]
    for seed in range(3):
        window[:] = noise(shape, seed)
        got = any_engine.infer(window).copy()
        assert np.array_equal(got, any_engine.infer(noise(shape, seed)))


def test_it_can_be_warmed_up_for_one_size_after_another(any_engine):
    answers = []
    for rows in (1, 2, 1):
        shape = shape_of(any_engine, rows)
        any_engine.warm_up(shape)
        any_engine.warm_up(shape)
        answers.append(any_engine.infer(noise(shape)).copy())
    assert np.array_equal(answers[0], answers[2])


def test_it_may_be_closed_twice_and_without_use(any_engine):
    any_engine.close()
    any_engine.close()


def test_shifting_the_input_along_the_grid_shifts_the_output(any_engine):
    """The property that `ModelCard.grid` states, away from the borders (44 lines for the network of the papers)."""
    grid, rows, border = any_engine.card.grid, 128, 48
    shape = any_engine.card.depth, rows, 8
    any_engine.warm_up(shape)
    tall = noise((shape[0], rows + grid, shape[2]))
    upper = any_engine.infer(np.ascontiguousarray(tall[:, :rows])).copy()
    lower = any_engine.infer(np.ascontiguousarray(tall[:, grid:])).copy()
    inner = slice(border, rows - border)
    difference = np.abs(np.roll(upper, -grid, axis=1)[:, inner] - lower[:, inner]).max()
    tolerance = 0.05 if "bf16" in any_engine.description else 0.01  # 8 bits of mantissa, summed in another order
    assert difference <= tolerance * upper[:, inner].std()


def test_every_frame_comes_out_once_in_order_after_the_stated_delay(any_engine):
    info = stream((1, 12, 20), np.uint16)
    denoiser = Denoiser(any_engine, info)
    frames = stamped_frames(info, 60)
    delays, numbers = [], []
    for frame in frames:
        for out in denoiser.push(frame):
            delays.append(frame.index - out.index)
            numbers.append(out.index)
        assert len(numbers) + denoiser.inside == frame.index + 1
    numbers += [out.index for out in denoiser.flush()]
    assert numbers == list(range(60))
    calibration = any_engine.card.normalization
    first = calibration.frames - 1 if calibration.rule == "calibrate" else 0
    assert max(delays) == max(denoiser.delay, first)
    assert set(delays[-20:]) <= set(range(denoiser.delay + 1))


def test_the_same_movie_gives_the_same_pixels_again(any_engine):
    info = stream((2, 9, 11))
    movies = []
    for _ in range(2):
        denoiser = Denoiser(any_engine, info)
        outs = [out for frame in stamped_frames(info, 30) for out in denoiser.push(frame)] + denoiser.flush()
        movies.append(np.stack([out.pixels for out in outs]))
    assert np.array_equal(*movies)


@pytest.mark.parametrize("size", [(1, 1), (3, 17)])
def test_any_frame_size_goes_through(any_engine, size):
    info = stream((1, *size), np.uint8)
    denoiser = Denoiser(any_engine, info)
    outs = [out for frame in stamped_frames(info, 18) for out in denoiser.push(frame)] + denoiser.flush()
    assert [out.pixels.shape for out in outs] == [info.shape] * 18
