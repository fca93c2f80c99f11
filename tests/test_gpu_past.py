"""The stabilizer and the memories on the device against the numpy classes, here with torch on the CPU."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
from deepbid_rt.past import Past  # noqa: E402  # after the check for torch
from deepbid_rt.runtimes.gpu.past import GpuPast  # noqa: E402
from deepbid_rt.runtimes.gpu.stabilizer import VERDICTS, GpuStabilizer  # noqa: E402
from deepbid_rt.stabilizer import Stabilizer  # noqa: E402

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


def movie(size, frames, channels=1, views=2, seed=0, drift=0.0):
    """Frames (C, V, Y, X) that wander by whole pixels, with noise of 1."""
    rng = np.random.default_rng(seed)
    image = tissue(size, seed)
    place = np.full(2, 40.0)
    for n in range(frames):
        place += rng.normal(0, 1, 2) + drift
        place = np.clip(place, 12, 68)
        y, x = np.rint(place).astype(int)
        cut = image[y : y + size[0], x : x + size[1]]
        noise = rng.normal(0, 1, (channels, views, *size))
        yield n, (cut * np.arange(1, channels + 1)[:, None, None, None] + noise).astype(np.float32)


def disturb(n, frame):
    """What happens to frames of a session: dark, saturated, broken, and for long another place."""
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
def test_the_stabilizer_finds_the_same_shifts_and_verdicts(size, disturbed):
    plain, device = Stabilizer(size), GpuStabilizer(size, CPU)
    verdicts = set()
    for n, views in movie(size, 48):
        image = (disturb(n, views) if disturbed else views)[0].mean(axis=0)
        expected = plain.estimate(image)
        dy, dx, confidence, verdict = (float(v) for v in device.estimate(torch.from_numpy(image)))
        assert VERDICTS[int(verdict)] == expected.verdict, n
        verdicts.add(expected.verdict)
        assert (dy, dx) == pytest.approx((expected.dy, expected.dx), abs=2e-3), n
        assert confidence == pytest.approx(expected.confidence, rel=1e-2, abs=1e-2), n
    if disturbed and min(size) >= 32:
        assert verdicts == {"tracked", "foreign", "restarted"}


@pytest.mark.parametrize(
    ("channels", "views", "drift", "disturbed"), [(1, 2, 0.0, True), (2, 1, 0.0, False), (1, 1, 1.2, False)]
)
def test_the_past_remembers_the_same(channels, views, drift, disturbed):
    size = (128, 120) if drift else (64, 72)
    plain, device = Past(GAINS, channels, size), GpuPast(GAINS, channels, size, CPU)
    plain._line_shifts.rigid = True  # the device follows whole frames only
    rebased = []
    rebase = plain._stabilizer.rebase
    plain._stabilizer.rebase = lambda dy, dx: (rebased.append((dy, dx)), rebase(dy, dx))
    for n, given in movie(size, 45, channels, views, seed=3, drift=drift):
        frame = disturb(n, given) if disturbed else given
        if n == 30:
            plain.skip(4)
            device.skip(4)
        origin = plain._origin.copy()  # the device counts from where the origin is now
        motion, expected = plain.see(frame)
        found, remembered = device.see(torch.from_numpy(frame))
        assert VERDICTS[int(found[3])] == motion.verdict, n
        assert found[:2].numpy() == pytest.approx([motion.dy, motion.dx] - origin, abs=5e-3), n
        got = remembered.numpy()
        assert np.array_equal(got == 0, expected == 0) or np.mean((got == 0) != (expected == 0)) < 0.03, n
        both = (got != 0) & (expected != 0)
        assert np.abs(got - expected)[both].max(initial=0) < 0.02, n
    assert bool(rebased) == bool(drift)


def test_forgetting_begins_anew():
    size = (40, 40)
    device = GpuPast(GAINS, 1, size, CPU)
    frames = [torch.from_numpy(frame) for _, frame in movie(size, 6)]
    first = [device.see(frame)[1].clone() for frame in frames]
    device.reset()
    again = [device.see(frame)[1].clone() for frame in frames]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not first[0].any()
    assert first[-1].any()


def test_a_compiler_keeps_what_is_written_in_place():
    """Traced as torch.compile does for a GPU, without its code generation."""
    size = (40, 48)
    plain, traced = (GpuPast(GAINS, 1, size, CPU) for _ in range(2))
    see = torch.compile(traced.see, backend="aot_eager")
    for _, views in movie(size, 5):
        frame = torch.from_numpy(views)
        with torch.no_grad():
            expected, got = plain.see(frame), see(frame)
        assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))
