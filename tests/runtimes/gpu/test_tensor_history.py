"""Motion and temporal averages against the numpy classes: torch on the CPU, and the kernels on the stand-in GPU."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
from deepbid_rt.motion.history import MotionCompensatedHistory  # noqa: E402
from deepbid_rt.motion.rigid import RigidMotionEstimator  # noqa: E402
from deepbid_rt.motion.temporal_averages import TemporalAverages  # noqa: E402  # after the check for torch
from deepbid_rt.runtimes.gpu.motion_numbers import MOTION_STATUSES, STRIPS  # noqa: E402
from deepbid_rt.runtimes.gpu.tensor_averages import TensorTemporalAverages  # noqa: E402
from deepbid_rt.runtimes.gpu.tensor_history import CompensatedTensors, TensorHistory  # noqa: E402
from deepbid_rt.runtimes.gpu.tensor_rigid import TensorRigidMotionEstimator  # noqa: E402
from tests.stand_in_cuda.history import StandInHistory  # noqa: E402

CPU = torch.device("cpu")
GAINS = (0.4, 0.15, 0.05)


def tissue(size, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0] + 80, : size[1] + 80]
    image = np.zeros(y.shape)
    for _ in range(60):
        cy, cx, width = rng.uniform(0, y.shape[0]), rng.uniform(0, y.shape[1]), rng.uniform(2, 6)
        image += rng.uniform(0.5, 2) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * width**2))
    return image


def wavy_cut(image, size, place, amplitude, phase=0.0):
    """Cut `size` out of an image at `place`; lines are displaced along waves of `amplitude` px, bilinear."""
    lines, pixels = size
    wave = amplitude * np.sin(2 * np.pi * np.arange(lines) / lines + phase)
    y, x = place[0] + np.arange(lines) - wave, place[1] + 0.7 * wave[::-1]
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    down, right = (y - top)[:, None], (x - left)[:, None]
    columns = left[:, None] + np.arange(pixels)
    corner = [[image[(top + i)[:, None], columns + j] for j in range(2)] for i in range(2)]
    upper, lower = ((1 - right) * a + right * b for a, b in corner)
    return (1 - down) * upper + down * lower


def movie(size, frames, channels=1, views=2, seed=0, drift=0.0, wave_px=0.0):
    """Frames (C, V, Y, X) that move by whole pixels, with noise of 1 and lines displaced by up to `wave_px`."""
    rng = np.random.default_rng(seed)
    image = tissue(size, seed)
    place = np.full(2, 40.0)
    for n in range(frames):
        place += rng.normal(0, 1, 2) + drift
        place = np.clip(place, 12, 68)
        y, x = np.rint(place).astype(int)
        cut = wavy_cut(image, size, (y, x), wave_px, 1.3 * n) if wave_px else image[y : y + size[0], x : x + size[1]]
        noise = rng.normal(0, 1, (channels, views, *size))
        yield n, (cut * np.arange(1, channels + 1)[:, None, None, None] + noise).astype(np.float32)


def disturb(n, frame):
    """Disturb some frames: dark, saturated, one NaN, and 14 frames of another place."""
    if n == 14:
        return np.zeros_like(frame)
    if n == 17:
        return np.full_like(frame, 5000)
    if n == 20:
        broken = frame.copy()
        broken[..., 3, 4] = np.nan
        return broken
    if 26 <= n < 40:
        return frame[..., ::-1, ::-1].copy() + np.float32(3)
    return frame


@pytest.mark.parametrize(
    ("size", "disturbed"),
    [((64, 80), False), ((64, 80), True), ((50, 33), False), ((24, 40), True), ((257, 260), False)],
)
def test_rigid_shifts_and_statuses_equal_numpy(size, disturbed):
    plain, device = RigidMotionEstimator(size), TensorRigidMotionEstimator(size, CPU)
    statuses = set()
    for n, views in movie(size, 48):
        image = (disturb(n, views) if disturbed else views)[0].mean(axis=0)
        expected = plain.push(image)
        dy, dx, confidence, status = (float(v) for v in device.push(torch.from_numpy(image)))
        assert MOTION_STATUSES[int(status)] == expected.status, n
        statuses.add(expected.status)
        assert (dy, dx) == pytest.approx((expected.dy, expected.dx), abs=2e-3), n
        assert confidence == pytest.approx(expected.confidence, rel=1e-2, abs=1e-2), n
    if disturbed and min(size) >= 32:
        assert statuses == {"tracked", "foreign", "restarted"}


class TorchHistory(TensorHistory):
    """`TensorHistory` with numpy arrays."""

    def __init__(self, gains, channels, _views, size):
        super().__init__(gains, channels, size, CPU)

    def push(self, units):
        return CompensatedTensors(*(tensor.numpy() for tensor in super().push(torch.from_numpy(units))))


@pytest.fixture(params=[TorchHistory, StandInHistory], ids=["torch", "kernels"])
def device_history(request):
    return request.param


@pytest.mark.parametrize(
    ("size", "channels", "views", "drift", "wave_px", "disturbed"),
    [
        ((64, 72), 1, 2, 0.0, 0.0, True),
        ((64, 72), 1, 2, 0.0, 2.5, True),
        ((64, 72), 2, 1, 0.0, 2.5, False),
        ((128, 120), 1, 1, 1.2, 2.5, False),
        ((48, 72), 1, 1, 0.0, 0.0, False),
    ],
)
def test_motion_and_averages_equal_numpy(device_history, size, channels, views, drift, wave_px, disturbed):
    plain, device = MotionCompensatedHistory(GAINS, channels, size), device_history(GAINS, channels, views, size)
    rebased, ranges = [], []
    rebase = plain._rigid.rebase
    plain._rigid.rebase = lambda dy, dx: (rebased.append((dy, dx)), rebase(dy, dx))
    for n, given in movie(size, 45, channels, views, seed=3, drift=drift, wave_px=wave_px):
        frame = disturb(n, given) if disturbed else given
        if n == 30:
            plain.skip(4)
            device.skip(4)
        motion, expected = plain.push(frame)
        found = device.push(frame)
        assert MOTION_STATUSES[int(found.motion[3])] == motion.status, n
        assert found.motion[:2] == pytest.approx([motion.dy, motion.dx], abs=5e-3), n
        strips = np.array([motion.strip_dy, motion.strip_dx]) if motion.strip_dy else np.zeros((2, STRIPS))
        assert np.abs(found.strips - strips).max() < 1e-2, n
        ranges.append(np.ptp(strips))
        got = found.averages
        assert np.mean((got == 0) != (expected == 0)) < 0.03, n
        both = (got != 0) & (expected != 0)
        # A line whose shift is next to a rounding limit may enter one pixel away, which is rare.
        difference = np.abs(got - expected)[both]
        assert np.count_nonzero(difference > 0.02) <= 5e-3 * difference.size, n
        assert np.sum(difference**2) <= 5e-3**2 * difference.size, n
    assert bool(rebased) == bool(drift)
    assert (max(ranges) > 1.5) == bool(wave_px)
    assert device.rigid == (min(size) < 64)


@pytest.mark.parametrize("seed", range(8))
def test_each_line_enters_and_is_recalled_at_its_own_shift(seed):
    """Lines that show the same place enter one after the other, and none is left out."""
    size, rng = (64, 20), np.random.default_rng(seed)
    plain, device = TemporalAverages(GAINS, size), TensorTemporalAverages(GAINS, 1, size, CPU)
    shifts = rng.uniform(-20, 20, (2, 1)) + np.cumsum(rng.uniform(-0.45, 0.45, (2, 64)), axis=1)
    shifts[0, 20:40] += 0.45 * np.arange(20)  # some places are shown twice
    assert np.unique(np.floor(shifts[0] + 0.5) - np.arange(64)).size < 64
    for number in range(3):
        frame = rng.normal(size=size).astype(np.float32)
        moved = shifts if number % 2 else shifts[:, ::-1].copy()
        plain.update(frame, moved)
        device.update(torch.from_numpy(frame)[None], torch.from_numpy(moved), torch.tensor(True))
        expected = np.empty((4, *size), np.float32)
        for place in (moved, np.rint(moved)):
            plain.recall(place, expected)
            got = device.recall(torch.from_numpy(place))[0].numpy()
            assert np.abs(got - expected).max() < 1e-4
            assert np.array_equal(device.recall(torch.from_numpy(place), depth=1)[0].numpy(), got[2:])
    assert np.abs(device._means[0].numpy() - plain.means).max() < 1e-5
    assert np.abs(device._weights.numpy() - plain.weights).max() < 1e-6


def test_averages_whose_weight_is_0_are_not_recalled():
    size = (64, 20)
    device, shifts = TensorTemporalAverages(GAINS, 1, size, CPU), torch.full((2, 64), 0.25, dtype=torch.float64)
    device.update(torch.ones(1, *size), torch.zeros(2, 64, dtype=torch.float64), torch.tensor(True))
    assert device.recall(shifts).any()
    device.skip(10_000)
    assert not device.recall(shifts).any()


def test_reset_forgets_all_frames(device_history):
    size = (40, 40)
    device = device_history(GAINS, 1, 2, size)
    frames = [frame for _, frame in movie(size, 6)]
    first = [device.push(frame).averages.copy() for frame in frames]
    device.reset()
    again = [device.push(frame).averages.copy() for frame in frames]
    assert np.array_equal(first, again)
    assert not first[0].any()
    assert first[-1].any()


def test_tracing_keeps_writes_in_place():
    """Traced as torch.compile does for a GPU, without code generation."""
    size = (40, 48)
    plain, traced = (TensorHistory(GAINS, 1, size, CPU) for _ in range(2))
    push = torch.compile(traced.push, backend="aot_eager")
    for _, views in movie(size, 5):
        frame = torch.from_numpy(views)
        with torch.no_grad():
            expected, got = plain.push(frame), push(frame)
        assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))
