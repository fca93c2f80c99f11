"""`TensorNonrigidMotionEstimator` with torch on the CPU against the numpy class."""

import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
from deepbid_rt.motion.nonrigid import NonrigidMotionEstimator, strip_weights  # noqa: E402  # after the check for torch
from deepbid_rt.runtimes.gpu.motion_numbers import STRIPS  # noqa: E402
from deepbid_rt.runtimes.gpu.tensor_nonrigid import TensorNonrigidMotionEstimator  # noqa: E402
from tests.runtimes.gpu.test_tensor_history import tissue, wavy_cut  # noqa: E402

CPU = torch.device("cpu")
YES = torch.tensor(True)


def pair(size, seed=0, amplitude=2.0, noise=1.0):
    """A frame whose lines are displaced along waves, and the average of its place."""
    rng = np.random.default_rng(seed)
    image = tissue(size, seed)
    frame = wavy_cut(image, size, (40.0, 40.0), amplitude, phase=seed) + rng.normal(0, noise, size)
    averages = image[40 : 40 + size[0], 40 : 40 + size[1]] + rng.normal(0, 0.2, size)
    return frame.astype(np.float32), averages.astype(np.float32)


@pytest.mark.parametrize("size", [(64, 80), (65, 131), (300, 280), (63, 200)])
def test_shifts_and_learned_variance_equal_numpy(size):
    plain, device = NonrigidMotionEstimator(size), TensorNonrigidMotionEstimator(size, CPU)
    assert device.rigid == plain.rigid
    if plain.rigid:
        return
    ranges = []
    for seed in range(5):
        frame, averages = pair(size, seed)
        start = np.array([[0.3], [-0.4]])
        expected = plain.push(frame, averages, start)
        got = device.push(*(torch.from_numpy(a) for a in (frame, averages, start)), YES).numpy()
        assert np.abs(got - expected).max() < 2e-3
        assert float(device._variance) == pytest.approx(plain._variance, rel=1e-3)
        ranges.append(np.ptp(expected))
    assert min(ranges) > 1


def test_variance_stays_unless_learning_is_asked_for():
    device = TensorNonrigidMotionEstimator((64, 64), CPU)
    before = float(device._variance)
    frame, averages = (torch.from_numpy(a) for a in pair((64, 64)))
    device.push(frame * float("nan"), averages, torch.zeros(2, 1, dtype=torch.float64), ~YES)
    assert float(device._variance) == before
    device.push(frame, averages, torch.zeros(2, 1, dtype=torch.float64), YES)
    assert float(device._variance) != before
    device.reset()
    assert float(device._variance) == before


def test_frame_equal_to_the_average_returns_the_start():
    frame, _ = (torch.from_numpy(a) for a in pair((64, 64)))
    device, start = TensorNonrigidMotionEstimator((64, 64), CPU), torch.tensor([[0.25], [-0.5]], dtype=torch.float64)
    before = float(device._variance)
    assert torch.equal(device.push(frame, frame, start, YES), start.expand(2, STRIPS))
    assert float(device._variance) == before


def test_average_without_slopes_gives_finite_shifts():
    frame, _ = pair((64, 64))
    flat, start = np.zeros_like(frame), np.array([[0.3], [-0.4]])
    expected = NonrigidMotionEstimator((64, 64)).push(frame, flat, start)
    got = TensorNonrigidMotionEstimator((64, 64), CPU).push(*(torch.from_numpy(a) for a in (frame, flat, start)), YES)
    assert np.allclose(got.numpy(), expected)
    assert np.isfinite(expected).all()


def test_spread_equals_strip_weights():
    strips = np.random.default_rng(0).normal(size=(2, STRIPS))
    got = TensorNonrigidMotionEstimator((70, 64), CPU).spread(torch.from_numpy(strips))
    assert np.allclose(got.numpy(), strips @ strip_weights(STRIPS, 70), atol=1e-12)


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="no C++ compiler, which torch.compile needs")
def test_compiled_learning_keeps_the_variance(tmp_path, monkeypatch):
    """torch 2.13 can lose the result of this part. `test_slot_pipeline.compiled_error` compares all parts."""
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plain, device = (TensorNonrigidMotionEstimator((64, 64), CPU) for _ in range(2))
    rng = np.random.default_rng(0)
    strips, covariance = torch.from_numpy(rng.normal(size=(STRIPS, 2))), torch.eye(2 * STRIPS, dtype=torch.float64)
    with config.patch(compile_threads=1), torch.inference_mode():  # no compile processes
        learn = torch.compile(device._learn)
        for when in (YES, ~YES, YES):
            learn(strips, covariance, when)
            plain._learn(strips, covariance, when)
    torch.compiler.reset()
    assert float(device._variance) == pytest.approx(float(plain._variance))
    assert float(device._variance) != pytest.approx(0.1)
