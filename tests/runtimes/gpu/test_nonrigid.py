"""Motion within a frame on the device against the numpy class, here with torch on the CPU."""

import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
from deepbid_rt.motion.nonrigid import NonrigidMotionEstimator, _hats  # noqa: E402  # after the check for torch
from deepbid_rt.runtimes.gpu.nonrigid import STRIPS, GpuNonrigidMotionEstimator  # noqa: E402
from tests.runtimes.gpu.test_history import bent_tissue, tissue  # noqa: E402

CPU = torch.device("cpu")
YES = torch.tensor(True)


def pair(size, seed=0, amplitude=2.0, noise=1.0):
    """A frame whose lines lie off along waves, and what is remembered of it."""
    rng = np.random.default_rng(seed)
    image = tissue(size, seed)
    frame = bent_tissue(image, size, (40.0, 40.0), amplitude, phase=seed) + rng.normal(0, noise, size)
    averages = image[40 : 40 + size[0], 40 : 40 + size[1]] + rng.normal(0, 0.2, size)
    return frame.astype(np.float32), averages.astype(np.float32)


@pytest.mark.parametrize("size", [(64, 80), (65, 131), (300, 280), (63, 200)])
def test_the_same_shifts_are_found_and_the_same_variance_is_learned(size):
    plain, device = NonrigidMotionEstimator(size), GpuNonrigidMotionEstimator(size, CPU)
    assert device.rigid == plain.rigid
    if plain.rigid:
        return
    bends = []
    for seed in range(5):
        frame, averages = pair(size, seed)
        start = np.array([[0.3], [-0.4]])
        expected = plain.push(frame, averages, start)
        got = device.push(*(torch.from_numpy(a) for a in (frame, averages, start)), YES).numpy()
        assert np.abs(got - expected).max() < 2e-3
        assert float(device._variance) == pytest.approx(plain._variance, rel=1e-3)
        bends.append(np.ptp(expected))
    assert min(bends) > 1


def test_a_frame_that_is_not_to_be_learned_from_leaves_no_trace():
    device = GpuNonrigidMotionEstimator((64, 64), CPU)
    before = float(device._variance)
    frame, averages = (torch.from_numpy(a) for a in pair((64, 64)))
    device.push(frame * float("nan"), averages, torch.zeros(2, 1, dtype=torch.float64), ~YES)
    assert float(device._variance) == before
    device.push(frame, averages, torch.zeros(2, 1, dtype=torch.float64), YES)
    assert float(device._variance) != before
    device.reset()
    assert float(device._variance) == before


def test_a_frame_that_is_what_is_remembered_is_answered_with_the_start():
    frame, _ = (torch.from_numpy(a) for a in pair((64, 64)))
    device, start = GpuNonrigidMotionEstimator((64, 64), CPU), torch.tensor([[0.25], [-0.5]], dtype=torch.float64)
    before = float(device._variance)
    assert torch.equal(device.push(frame, frame, start, YES), start.expand(2, STRIPS))
    assert float(device._variance) == before


def test_a_picture_without_slopes_tells_nothing():
    frame, _ = pair((64, 64))
    flat, start = np.zeros_like(frame), np.array([[0.3], [-0.4]])
    expected = NonrigidMotionEstimator((64, 64)).push(frame, flat, start)
    got = GpuNonrigidMotionEstimator((64, 64), CPU).push(*(torch.from_numpy(a) for a in (frame, flat, start)), YES)
    assert np.allclose(got.numpy(), expected)
    assert np.isfinite(expected).all()


def test_strips_are_spread_over_lines_as_on_the_host():
    strips = np.random.default_rng(0).normal(size=(2, STRIPS))
    got = GpuNonrigidMotionEstimator((70, 64), CPU).spread(torch.from_numpy(strips))
    assert np.allclose(got.numpy(), strips @ _hats(STRIPS, 70), atol=1e-12)


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="no C++ compiler, which torch.compile needs")
def test_what_is_learned_is_kept_when_compiled(tmp_path, monkeypatch):
    """The part whose result was lost once; `tests.runtimes.gpu.test_pipeline.compiled_error` compares all, in a minute."""
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plain, device = (GpuNonrigidMotionEstimator((64, 64), CPU) for _ in range(2))
    rng = np.random.default_rng(0)
    strips, covariance = torch.from_numpy(rng.normal(size=(STRIPS, 2))), torch.eye(2 * STRIPS, dtype=torch.float64)
    with config.patch(compile_threads=1), torch.inference_mode():  # no processes of torch's own
        learn = torch.compile(device._learn)
        for when in (YES, ~YES, YES):
            learn(strips, covariance, when)
            plain._learn(strips, covariance, when)
    torch.compiler.reset()
    assert float(device._variance) == pytest.approx(float(plain._variance))
    assert float(device._variance) != pytest.approx(0.1)
